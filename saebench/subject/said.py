"""What a clean pass says, kept so that a single unembedding tells how far another pass is from it.

KL(p || q) of the softmaxes of logits is what log-sum-exp leaves over its tangent (Bregman divergence; Banerjee et al.
2005, JMLR 6): lse(q) - lse(p) - E_p[q - p]. Where logits are products of the rows of a matrix with what is unembedded, the
expected difference is the product of the row that p expects with the difference of what is unembedded.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from saebench.subject.subject import Subject

SAME = 1e-5
"""Largest difference of logits, as a share of the largest, between an architecture's own and products with rows."""


@dataclass(frozen=True)
class Said:
    """Of positions (…) of a clean pass."""

    hidden: Tensor
    """(…, d) what is unembedded."""
    mass: Tensor
    """(…) log-sum-exp of the logits."""
    expected: Tensor | None = None
    """(…, d) mean row of the unembedding, by the probabilities of the next token; None where logits are no products."""

    def at(self, rows: slice) -> "Said":
        """Of some rows of positions."""
        expected = None if self.expected is None else self.expected[rows]
        return Said(self.hidden[rows], self.mass[rows], expected)

    def flat(self, like: Tensor) -> "Said":
        """With positions in one row, on the device of a tensor."""
        expected = None if self.expected is None else self.expected.flatten(0, -2).to(like)
        return Said(self.hidden.flatten(0, -2).to(like), self.mass.flatten().to(like), expected)


def stored(said: Said) -> dict[str, Tensor]:
    """What there is, by name, on the CPU."""
    return {name: value.cpu() for name, value in vars(said).items() if value is not None}


def rows_of(subject: Subject, hidden: Tensor, logits: Callable[[Tensor], Tensor]) -> Tensor | None:
    """(vocabulary, d) rows whose products with what is unembedded (position, d) are the logits, but for a constant each.

    None where logits are capped or scaled on top, or are of lower precision, in which small differences drown.
    """
    head = subject.bridge.unembed.original_component
    if not isinstance(head, nn.Linear) or head.weight.dtype != torch.float32:
        return None
    own, products = logits(hidden), nn.functional.linear(hidden.to(head.weight), head.weight, head.bias)
    return head.weight if bool(((own - products).abs() <= SAME * own.abs().max()).all()) else None


def losses_from(clean: Said, spliced: Tensor, logits: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of spliced logits (position, vocabulary) and KL(clean || spliced), each (position,) in nats.

    `spliced` (position, d) is what they are of, `following` (position,) the tokens that come next.
    """
    assert clean.expected is not None
    mass = logits.logsumexp(-1)
    along = (clean.expected * (spliced - clean.hidden)).sum(-1)
    return mass - logits.gather(-1, following[:, None])[:, 0], (mass - clean.mass - along).clamp(min=0)
