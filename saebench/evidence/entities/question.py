"""One sentence that asks for an attribute: passes that begin where activations are patched, at the name and after it.

What stands before the name is the same for all entities, and its keys and values are computed once.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from saebench.subject.partial import agrees, skipping, unembedding
from saebench.subject.prefix import remember, repeated
from saebench.subject.subject import Subject, layer_of

BATCH = 256
"""Prompts per pass; scores do not depend on it."""
PAD = -1
"""Stands before the tokens of a name that has fewer than the longest."""
LEAST = 16
"""Prompts per pass of a large model: no fewer are tried before memory says so."""
WIDE = 192
"""Dimensions of a model of which `BATCH` prompts go through at a time; of wider ones, fewer."""


@dataclass(frozen=True, eq=False)
class Question:
    """A template's prompts, which differ in the name alone.

    Names are tokens with `PAD` before those that have fewer than the longest, so that all end at one position.
    """

    subject: Subject
    hook: str
    """Where activations are put in."""
    prefix: Int[Tensor, " before"]
    """Token ids before the name."""
    suffix: Int[Tensor, " after"]
    """Token ids after it."""
    answers: Int[Tensor, " value"]
    """First token of each value of the attribute."""
    sites: int
    """Positions that are patched, from the name's last token on: that alone, or all."""
    memory: dict[str, Any] = field(default_factory=dict)
    """Keys and values of what stands before the name."""

    def read(
        self, names: Int[Tensor, "n longest"], *hooks: str
    ) -> tuple[Float[Tensor, "n position d"], ...]:  # fmt: skip
        """Activations at hooks from each name's first token on, with zeros before those of shorter names."""
        rows = by_length(names)
        parts = [self._read_alike(names[at], hooks) for at in rows]
        back = torch.argsort(torch.cat(rows))
        return tuple(torch.cat(each)[back] for each in zip(*parts, strict=True))

    def _read_alike(self, names: Tensor, hooks: tuple[str, ...]) -> tuple[Tensor, ...]:
        """Of names of one length."""
        short = names.shape[1] - int((names[0] != PAD).sum())
        found = self.subject.batch.over(len(names), lambda rows: self._read(names[rows, short:], hooks), self.batch)
        return tuple(pad(torch.cat(each), (0, 0, short, 0)) for each in zip(*found, strict=True))

    @torch.no_grad()
    def _read(self, names: Tensor, hooks: tuple[str, ...]) -> tuple[Tensor, ...]:
        _, cache = self.subject.bridge.run_with_cache(
            self._tokens(names), names_filter=list(hooks), stop_at_layer=max(map(layer_of, hooks)) + 1,
            past_key_values=self._memory(len(names)), use_cache=True,
        )  # fmt: skip
        return tuple(self.subject.seen(cache[hook], hook).cpu() for hook in hooks)

    def logits(
        self, names: Int[Tensor, "n longest"], entering: Float[Tensor, "n position d"], x: Float[Tensor, "n site d"]
    ) -> Float[Tensor, "n value"]:
        """Logits of the attribute's values after each prompt, with x at its patched positions.

        `entering` is what was read at `entry`. Names of one length go through the model together.
        """
        rows = by_length(names)
        found = [part for at in rows for part in self._logits(names[at], entering[at], x[at])]
        return torch.cat(found)[torch.argsort(torch.cat(rows))]

    def _logits(self, names: Tensor, entering: Tensor, x: Tensor) -> list[Tensor]:
        """Of names of one length."""
        short = names.shape[1] - int((names[0] != PAD).sum())
        own, entered = names[:, short:], entering[:, short:]

        def part(rows: slice) -> Tensor:
            return self._pass(own[rows], entered[rows], x[rows], short=self._short).float().cpu()

        return self.subject.batch.over(len(own), part, self.batch)

    @property
    def batch(self) -> int:
        return max(LEAST, BATCH * WIDE // int(self.subject.bridge.cfg.d_model))

    @property
    def start(self) -> int:
        """First layer that runs."""
        layer, last = layer_of(self.hook), len(self.subject.bridge.blocks) - 1
        return layer + 1 if self.hook.endswith("hook_resid_post") and layer < last else layer

    @property
    def entry(self) -> str:
        """Hook whose activations a pass begins with."""
        return self.hook if self.direct else f"blocks.{self.start}.hook_resid_pre"

    @property
    def direct(self) -> bool:
        """Whether what is put in is itself what the first layer is given."""
        return self.start > layer_of(self.hook) or self.hook == f"blocks.{self.start}.hook_resid_pre"

    @cached_property
    def _short(self) -> bool:
        """Whether a pass from the first layer that matters, to the values' logits alone, gives what a whole one gives."""
        names = self.suffix[:1].expand(1, 2)  # any tokens will do
        entering, x = self._read(names, (self.entry, self.hook))
        half = 0.5 * x[:, 1 : 1 + self.sites]
        with torch.no_grad():
            whole = self._pass(names, entering, half, short=False)
            return agrees(lambda: self._pass(names, entering, half, short=True), whole)

    def _pass(self, names: Tensor, entering: Tensor, x: Tensor, *, short: bool) -> Tensor:
        put = self._put(x, names.shape[1] - 1)
        hooks = self.subject.splices(self.hook, put)
        if not short:
            return self._run(names, hooks)[:, self.answers]
        if self.direct:
            hooks = [(f"blocks.{self.start}.hook_resid_pre", lambda _, hook: put(entering.to(x)))]
        else:
            hooks = [(self.entry, lambda activation, hook: entering.to(activation)), *hooks]
        with skipping(self.subject, self.start), unembedding(self.subject, self.answers):
            return self._run(names, hooks)

    def _run(self, names: Tensor, hooks: list[tuple[str, Any]]) -> Tensor:
        """Logits at the last token of each prompt."""
        logits = self.subject.bridge.run_with_hooks(
            self._tokens(names), return_type="logits", fwd_hooks=hooks, past_key_values=self._memory(len(names)),
            use_cache=True,
        )  # fmt: skip
        return (logits[0] if isinstance(logits, tuple) else logits)[:, -1]  # type: ignore[no-any-return]

    def _put(self, x: Tensor, first: int) -> Callable[[Tensor], Tensor]:
        """What puts x (n, site, d) in the place of activations of each prompt, from position `first` on."""

        def put(activation: Tensor) -> Tensor:
            here = x.to(activation).reshape(*x.shape[:2], *activation.shape[2:])
            return torch.cat([activation[:, :first], here, activation[:, first + x.shape[1] :]], dim=1)

        return put

    def _tokens(self, names: Tensor) -> Tensor:
        whole = torch.cat([names, self.suffix.expand(len(names), -1)], dim=1)
        return whole.to(self.subject.device)

    def _memory(self, times: int) -> Any:
        if "prefix" not in self.memory:
            self.memory["prefix"] = remember(self.subject, self.prefix[None])
        return repeated(self.memory["prefix"], times)


def by_length(names: Int[Tensor, "n longest"]) -> list[Int[Tensor, " _"]]:
    """Rows of names of as many tokens, for each such number."""
    tokens = (names != PAD).sum(1)
    return [torch.nonzero(tokens == length)[:, 0] for length in sorted(set(tokens.tolist()))]
