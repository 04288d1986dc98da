"""What the model answers when the last position's activation at a hook is moved: forward passes from the hook's layer."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from saebench.evidence.game.responses import Response
from saebench.subject.partial import agrees, skipping
from saebench.subject.prefix import abreast, is_worthwhile, remember, repeated
from saebench.subject.subject import Subject, layer_of

BATCH, ABREAST = 1024, 256
"""Moved activations per forward pass, and how many of them go beside each other; results do not depend on it."""


@dataclass
class Perturber:
    """A language model at the last token of some prompts.

    The tokens before the last one are run once per prompt; layers before the hook's are never run again. Where an
    architecture does not take that, which is tried on the first prompt, whole passes over the last token are made.
    """

    subject: Subject
    hook: str
    prompts: Sequence[Sequence[int]]
    """Token ids; the last one's activation is moved."""
    x: Float[Tensor, "prompt d"] = field(init=False)
    start: int = field(init=False)
    """The first layer that is run."""
    abreast: bool = field(init=False, default=False)
    """Whether points go beside each other in one sequence, and not each in one of its own."""
    _held: "dict[int, _Prompt]" = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.subject.check_hook(self.hook)
        if min(map(len, self.prompts), default=0) < 2:
            raise ValueError("a prompt needs a token before its last one, and there must be a prompt")
        self.start = layer_of(self.hook)
        entry, last = f"blocks.{self.start}.hook_resid_pre", f"blocks.{self.subject.bridge.cfg.n_layers - 1}"
        # Names are looked up once: the bridge takes milliseconds for it.
        self._known = self.subject.bridge.hook_dict
        self._points = [self._known[name] for name in (entry, f"{last}.hook_resid_post")]
        found = [self._read(ids, entry) for ids in self.prompts]
        self.x, self._entry = (torch.stack([pair[i] for pair in found]) for i in (0, 1))
        if not self._same_as_whole():
            self.start = 0
            if not self._same_as_whole():
                raise ValueError(f"{self.subject.name} does not give the same logits from remembered keys and values")
        self.abreast = is_worthwhile(self._prompt(0).memory)
        self.abreast = self.abreast and self._same_as_whole()  # which runs them so

    def __call__(
        self, prompt: int, points: Float[Tensor, "point d"], centre: Float[Tensor, " d"] | None = None
    ) -> Response:
        """Answers to points (point, d), against that to the prompt's own activation or to another `centre` (d,)."""
        held = self._prompt(prompt)
        clean = held.clean if centre is None else self._clean(held, centre)
        parts = self.subject.batch.over(
            len(points), lambda at: self._batch(held, points[at], *clean), ABREAST if self.abreast else BATCH
        )
        kl, l2 = (torch.cat([part[i] for part in parts]).cpu() for i in (0, 1))
        return Response(kl, l2)

    def some(self, prompts: Sequence[int]) -> "Perturber":
        """The same at some of the prompts; what is kept of them is shared."""
        other = copy.copy(self)
        rows = list(prompts)
        other.prompts, other.x, other._entry = [self.prompts[i] for i in rows], self.x[rows], self._entry[rows]
        other._held = {k: self._held[i] for k, i in enumerate(prompts) if i in self._held}
        return other

    def _read(self, ids: Sequence[int], entry: str) -> tuple[Tensor, Tensor]:
        """Activations (d,) at the hook and at the input of its layer."""
        with torch.no_grad():
            _, found = self.subject.bridge.run_with_cache(
                torch.tensor([list(ids)]).to(self.subject.device), names_filter=[self.hook, entry],
                stop_at_layer=self.start + 1,
            )  # fmt: skip
        return self.subject.seen(found[self.hook], self.hook)[0, -1].cpu(), found[entry][0, -1].float().cpu()

    def _prompt(self, prompt: int) -> "_Prompt":
        """Keys, values and clean answer of one prompt, which are kept."""
        if prompt not in self._held:
            ids = self.prompts[prompt]
            memory = remember(self.subject, torch.tensor([list(ids[:-1])]))
            held = _Prompt(ids[-1], self._entry[prompt], memory)
            held.clean = self._clean(held, self.x[prompt])
            self._held[prompt] = held
        return self._held[prompt]

    def _clean(self, held: "_Prompt", x: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities (vocabulary,) and last residual stream (d,)."""
        logits, stream = self._run(held, x[None])
        return logits[0].double().log_softmax(-1), stream[0]

    def _batch(self, held: "_Prompt", points: Tensor, log_p: Tensor, clean: Tensor) -> tuple[Tensor, Tensor]:
        logits, stream = self._run(held, points)
        logits, p = logits.double(), log_p.exp()  # small answers are differences of large numbers
        # Sum of p (log p - log q) without a second table of log-probabilities.
        kl = (p * log_p).sum() - logits @ p + logits.logsumexp(-1)
        return kl.clamp(min=0), (stream - clean).norm(dim=-1)

    @torch.no_grad()
    def _run(self, held: "_Prompt", points: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (point, vocabulary) and last residual stream (point, d)."""
        n, seen = len(points), list[Tensor]()
        tokens = torch.full((1, n) if self.abreast else (n, 1), held.token, device=self.subject.device)
        put = {self._points[0]: held.entry.expand(n, -1)} if self.start else {}
        handles = [point.register_forward_hook(_putting(value)) for point, value in put.items()]
        # After the entry, which may be the same place.
        handles += [self._known[name].register_forward_hook(_with(change)) for name, change in self._splices(points)]
        handles.append(self._points[1].register_forward_hook(lambda _, __, out: seen.append(out.flatten(0, 1).float())))
        try:
            with skipping(self.subject, self.start):
                out = self.subject.bridge(tokens, return_type="logits", **self._after(held.memory, n))
        finally:
            for handle in handles:
                handle.remove()
        return (out[0] if isinstance(out, tuple) else out).flatten(0, 1).float(), seen[-1]

    def _after(self, memory: Any, count: int) -> dict[str, Any]:
        if self.abreast:
            return abreast(self.subject, memory, count)
        return {"past_key_values": repeated(memory, count), "use_cache": True}

    def _splices(self, points: Tensor) -> list[tuple[str, Any]]:
        return self.subject.splices(self.hook, lambda seen: points.to(seen).reshape(seen.shape))

    def _same_as_whole(self) -> bool:
        """Whether a pass from the hook's layer gives the first prompt's logits, also beside something else."""
        whole = self.subject.logits(torch.tensor([list(self.prompts[0])]))[0, -1].float().cpu()
        points = torch.stack([self.x[0], -self.x[0], self.x[0]])
        same = agrees(lambda: self._run(self._prompt(0), points)[0][::2].cpu(), whole)
        self._held.clear()
        return same


def _putting(value: Tensor) -> Any:
    """A hook of torch's that puts a value (point, d) in the place of an activation."""
    return lambda _, __, activation: value.to(activation).reshape(activation.shape)


def _with(change: Any) -> Any:
    """A hook of torch's that changes an activation."""
    return lambda _, __, activation: change(activation, hook=None)


@dataclass
class _Prompt:
    token: int
    entry: Tensor
    memory: Any
    clean: tuple[Tensor, Tensor] = field(init=False)
