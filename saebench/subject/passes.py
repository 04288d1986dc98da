"""Passes with something spliced in, which begin where it is put; and losses, a few positions at a time.

What comes before the splice is the same for every SAE, and so is what the clean pass ends with: both are kept with the
activations. The vocabulary is large: logits of more positions than are looked at never exist.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from saebench.subject.partial import agrees, before_unembedding, skipping, unembedding_of
from saebench.subject.said import Said, losses_from, rows_of
from saebench.subject.subject import Subject, layer_of

TABLE = {"cpu": 64 << 20, "cuda": 2 << 30}
"""Bytes of logits that are looked at at a time: on a CPU, more no longer fit into its caches."""
CHECKED = 8
"""Positions on which it is found out whether passes may leave out what they do."""


@dataclass(frozen=True)
class Passes:
    """Passes of one model, where something is put in at one hook."""

    subject: Subject
    hook: str
    start: int
    """The first layer that runs where something is put in."""

    @property
    def entry(self) -> str | None:
        """Hook whose activations a pass begins with; None where it begins with what is put in, or with the tokens."""
        return f"blocks.{self.start}.hook_resid_pre" if self.start and not self.direct else None

    @property
    def direct(self) -> bool:
        """Whether what is put in is itself what the first layer is given."""
        before, after = f"blocks.{self.start}.hook_resid_pre", f"blocks.{self.start - 1}.hook_resid_post"
        return self.start > 0 and self.hook in (before, after)

    @torch.no_grad()
    def last(self, tokens: Tensor) -> Tensor:
        """What the clean pass over token ids (context, position) unembeds: (context, position, d)."""
        with before_unembedding(self.subject) as seen:
            self.subject.logits(tokens)
        return seen[-1]

    @torch.no_grad()
    def spliced(self, tokens: Tensor, replacement: Tensor, entering: Tensor | None) -> Tensor:
        """The same with `replacement` (context, position, d) at the hook; `entering` is what is read at `entry`."""
        entry = replacement if self.direct else entering
        put = None if self.direct else replacement
        with skipping(self.subject, self.start), before_unembedding(self.subject) as seen:
            if self.start == 0 or entry is None:
                self.subject.logits(tokens, self.hook, replacement)
            else:
                self._continued(tokens, entry, put)
        return seen[-1]

    def _continued(self, tokens: Tensor, entry: Tensor, replacement: Tensor | None) -> None:
        """Run from the first layer on, which is given `entry` (context, position, d)."""
        subject, fired = self.subject, list[str]()

        def enter(activation: Tensor, hook: Any) -> Tensor:
            fired.append(hook.name)
            return entry.to(activation)

        def put(activation: Tensor) -> Tensor:
            fired.append(self.hook)
            assert replacement is not None
            return replacement.to(activation).reshape(activation.shape)

        splices = subject.splices(self.hook, put) if replacement is not None else []
        hooks = [(f"blocks.{self.start}.hook_resid_pre", enter), *splices]
        subject.bridge.run_with_hooks(tokens.to(subject.device), return_type="logits", fwd_hooks=hooks)
        if len(fired) < 1 + (replacement is not None):
            raise ValueError(f"{subject.name}: nothing passed through hook {self.hook!r}")

    @torch.no_grad()
    def logits(self, hidden: Tensor) -> Tensor:
        """Logits (position, vocabulary), in float32, of what is unembedded (position, d)."""
        tokens = torch.zeros(1, len(hidden), dtype=torch.long)
        with skipping(self.subject, self.layers), unembedding_of(self.subject, hidden[None]):
            return self.subject.logits(tokens)[0].float()

    @cached_property
    def layers(self) -> int:
        return len(self.subject.bridge.blocks)

    @property
    def positions(self) -> int:
        """How many are unembedded at a time."""
        bytes_each = 4 * self.subject.n_vocab * 2
        fit = TABLE[torch.device(self.subject.device).type] // bytes_each
        return max(1, min(self.subject.n_ctx, fit))

    def said(self, hidden: Tensor) -> Said:
        """What a clean pass says, of what it unembeds (context, position, d)."""
        rows = rows_of(self.subject, hidden.flatten(0, 1)[:CHECKED], self.logits)
        parts = [self._said(hidden.flatten(0, 1)[at], rows) for at in self._some(hidden.shape[0] * hidden.shape[1])]
        mass = torch.cat([mass for mass, _ in parts]).view(hidden.shape[:2])
        return Said(hidden, mass, None if rows is None else torch.cat([row for _, row in parts]).view(hidden.shape))

    def _said(self, hidden: Tensor, rows: Tensor | None) -> tuple[Tensor, Tensor]:
        logits = self.logits(hidden)
        mass = logits.logsumexp(-1)
        return mass, hidden if rows is None else (logits - mass[:, None]).exp() @ rows

    def losses(self, clean: Said, spliced: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy of the spliced pass and KL(clean || spliced), each (context, position) in nats.

        `spliced` (context, position, d) is what is unembedded. Cross-entropy at the last position, which predicts nothing, is 0.
        """
        following = torch.nn.functional.pad(tokens[:, 1:], (0, 1)).flatten().to(spliced.device)
        ce, kl = (torch.empty(following.shape, device=spliced.device) for _ in range(2))
        clean, spliced = clean.flat(spliced), spliced.flatten(0, 1)
        for at in self._some(len(following)):
            ce[at], kl[at] = self._losses(clean.at(at), spliced[at], following[at])
        ce, kl = ce.view(tokens.shape), kl.view(tokens.shape)
        ce[:, -1] = 0
        return ce, kl

    def _losses(self, clean: Said, spliced: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.logits(spliced)
        if clean.expected is not None:
            return losses_from(clean, spliced, logits, following)
        return losses_against(self.logits(clean.hidden), logits, following)

    def _some(self, count: int) -> Iterator[slice]:
        """All positions, as many at a time as are unembedded."""
        return (slice(start, start + self.positions) for start in range(0, count, self.positions))


def passes_of(subject: Subject, hook: str, tokens: Tensor) -> Passes:
    """Passes that begin as late as they can: from the first layer where a shorter one does not give the same.

    `tokens` (context, position) are what that is found out on.
    """
    layer, layers = layer_of(hook), len(subject.bridge.blocks)
    after = hook == f"blocks.{layer}.hook_resid_post" and layer + 1 < layers
    shortest = Passes(subject, hook, layer + 1 if after else layer)
    return shortest if _same(shortest, tokens[:1, :CHECKED]) else replace(shortest, start=0)


def _same(passes: Passes, tokens: Tensor) -> bool:
    """Whether a pass with zeros in the place of the activation, but for the first one, gives what a whole one gives."""
    subject, activation = passes.subject, passes.subject.residual(tokens, passes.hook)
    other = torch.cat([activation[:, :1], torch.zeros_like(activation[:, 1:])], dim=1)
    entering = subject.residual(tokens, passes.entry) if passes.entry else None
    whole = subject.logits(tokens, passes.hook, other)[0].float()
    return agrees(lambda: passes.logits(passes.spliced(tokens, other, entering)[0]), whole)


def losses_against(clean: Tensor, spliced: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the spliced logits and KL(clean || spliced), each (position,) in nats.

    `clean` and `spliced` are (position, vocabulary), `following` (position,) the tokens that come next.
    """
    log_q, log_p = spliced.log_softmax(-1), clean.log_softmax(-1)
    kl = (log_p.exp() * (log_p - log_q)).sum(-1).clamp(min=0)
    return -log_q.gather(-1, following[:, None])[:, 0], kl
