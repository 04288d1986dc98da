"""Passes of a model that leave out what they need not: its first blocks, its unembedding, most of the vocabulary."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import linear

from saebench.subject.subject import Subject

CLOSE = 1e-3
"""Largest difference of logits, as a share of their spread, between a pass that leaves something out and a whole one."""


def agrees(shorter: Callable[[], Tensor], whole: Tensor) -> bool:
    """Whether a pass that leaves something out gives what a whole one gave; one that raises anything does not."""
    try:
        found = shorter()
    except Exception:  # whatever the architecture's own code raises
        return False
    return bool(((found - whole).abs() <= CLOSE * whole.std()).all())


@contextmanager
def skipping(subject: Subject, layers: int) -> Iterator[None]:
    """The first blocks hand on what they are given, so that only the others cost anything."""
    blocks, tuples = subject.bridge.blocks[:layers], layers > 0 and subject.tuples

    def hand_on(*args: Any, **kwargs: Any) -> Any:
        hidden = args[0] if args else kwargs["hidden_states"]
        return (hidden,) if tuples else hidden

    for block in blocks:  # past __setattr__, which would set it on the wrapped block
        vars(block)["forward"] = hand_on
    try:
        yield
    finally:
        for block in blocks:
            del vars(block)["forward"]


@contextmanager
def _head(subject: Subject, forward: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Something else in the place of the unembedding; what an architecture does to its logits is done to this too."""
    head = subject.bridge.unembed.original_component
    vars(head)["forward"] = forward
    try:
        yield
    finally:
        del vars(head)["forward"]


@contextmanager
def unembedding(subject: Subject, tokens: Tensor) -> Iterator[None]:
    """Logits are those of some tokens of the vocabulary only."""
    head, rows = subject.bridge.unembed.original_component, tokens.to(subject.device)
    if not isinstance(head, nn.Linear):
        raise TypeError(f"{subject.name} unembeds with a {type(head).__name__}, which has no rows to choose from")
    weight, bias = head.weight[rows], None if head.bias is None else head.bias[rows]
    with _head(subject, lambda hidden: linear(hidden, weight, bias)):
        yield


@contextmanager
def before_unembedding(subject: Subject) -> Iterator[list[Tensor]]:
    """Nothing is unembedded: what would be, (context, position, d), is put into the list."""
    seen = list[Tensor]()

    def keep(hidden: Tensor) -> Tensor:
        seen.append(hidden)
        return hidden[..., :1]

    with _head(subject, keep):
        yield seen


@contextmanager
def unembedding_of(subject: Subject, hidden: Tensor) -> Iterator[None]:
    """Whatever runs, what is unembedded is `hidden` (context, position, d)."""
    head = subject.bridge.unembed.original_component
    with _head(subject, lambda _: type(head).forward(head, hidden)):
        yield
