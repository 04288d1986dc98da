"""Whether the model can spell, and what an edit of the activation at a word does to its spelling."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from saebench.evidence.words.probes import Probe
from saebench.evidence.words.readings import Keeping, Readings, inputs_of, tokens_around
from saebench.evidence.words.vocabulary import EDITED, Split, in_turn, turn
from saebench.stats.statistics import Ints
from saebench.subject.cache import Inputs
from saebench.subject.partial import agrees, skipping, unembedding
from saebench.subject.prefix import remember, repeated
from saebench.subject.subject import Subject, layer_of

BATCH = 64
"""Words per forward pass; results do not depend on it. More are no faster, and take a gigabyte of keys and values."""
ASKED = 2
"""Prefixes that words are asked for after, in turn: fewer than they are read after, so that batches are larger."""
ROUNDS = 4
"""How often as many words of a concept are asked for as are edited, until so many are spelled rightly."""
VERSION = 2
"""Of how the model is asked: another one where margins would change."""


@dataclass(frozen=True)
class Speller:
    """Reads off the model's answer to a word's prompt, with the activation at the word replaced.

    A word is asked for after one prefix, that of its `row`. The margin of an answer is the logit of the word's own
    concept minus the mean logit of the others, as in Chanin et al. 2024 (arXiv 2409.14507).
    """

    subject: Subject
    readings: Readings
    suffix: tuple[int, ...]
    """Tokens between the word and the answer."""
    answers: Int[Tensor, " concept"]
    """First token of each concept's answer."""
    margin: Float[Tensor, " word"]
    """Margin with nothing replaced; NaN for words that were not asked for."""
    right: Bool[np.ndarray, " word"]
    """Whether the word's own concept has the largest logit of all; not where it was not asked for."""
    erased: Float[Tensor, " word"]
    """Margin with the mean activation of all words in place of the word's own."""
    moved: Float[Tensor, " word"]
    """Margin with the activation moved along the concept's probe to where train words of others lie."""
    _memories: dict[int, Any] = field(default_factory=dict)
    _entries: dict[int, Tensor] = field(default_factory=dict)
    """By word, (position, d) what the hook's layer is given at the word and the tokens after it."""

    def row(self, words: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """Rows of a `Study` at which some words are asked for."""
        rows: Ints = words * len(self.readings.prefix_tokens) + self._prefix(words)
        return rows

    def _prefix(self, words: Ints) -> Ints:
        """(n,) prefix after which each word is asked for."""
        asked = min(ASKED, len(self.readings.prefix_tokens))
        return np.array([turn(self.readings.words[word].text, asked) for word in words], dtype=np.intp)

    def margins(self, words: Int[np.ndarray, " n"], x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Margins (n,) of some words (n,) with activations x (n, d) at them."""
        with torch.no_grad():
            return self._grouped(words, x, lambda logits, concept, _: _margin(logits, concept))

    def gradients(self, words: Int[np.ndarray, " n"], x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Gradients (n, d) of the margins by the activations."""

        def gradient(logits: Tensor, concept: Tensor, at: Tensor) -> Tensor:
            return torch.autograd.grad(_margin(logits, concept).sum(), at)[0]

        with torch.enable_grad():
            return self._grouped(words, x, gradient)

    def logits(self, words: Int[np.ndarray, " n"], x: Float[Tensor, "n d"]) -> Float[Tensor, "n concept"]:
        """Logits (n, concept) of the answers."""
        with torch.no_grad():
            return self._grouped(words, x, lambda logits, _, __: logits)

    def _grouped(self, words: Ints, x: Tensor, read: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        """Run the words batch by batch, those of one prefix together."""
        concepts = torch.from_numpy(self.readings.member[words].argmax(axis=1))
        prefix = self._prefix(words)
        order, parts = list[Ints](), list[Tensor]()
        for index in np.unique(prefix).tolist():
            of_prefix = np.flatnonzero(prefix == index)

            def ask(rows: slice, index: int = index, of_prefix: Ints = of_prefix) -> Tensor:
                at = of_prefix[rows]
                here = x[at].to(self.subject.device).requires_grad_(torch.is_grad_enabled())
                logits = self._pass(index, words[at], here, short=self._short)
                return read(logits, concepts[at], here).detach().cpu()

            order.append(of_prefix)
            parts += self.subject.batch.over(len(of_prefix), ask, BATCH)
        return torch.cat(parts)[torch.from_numpy(np.concatenate(order)).argsort()] if parts else x.new_zeros(0)

    @cached_property
    def _short(self) -> bool:
        """Whether a pass from the hook's layer, to the logits of the answers alone, gives what a whole pass gives."""
        first = np.zeros(1, dtype=np.intp)
        prefix, x = int(self._prefix(first)[0]), self.readings.x[0, :1].to(self.subject.device)
        with torch.no_grad():
            whole = self._pass(prefix, first, x, short=False)
            return agrees(lambda: self._pass(prefix, first, x, short=True), whole)

    def _pass(self, prefix: int, words: Ints, x: Tensor, *, short: bool) -> Tensor:
        """Logits (n, concept) after the prompt, with x (n, d) at the word."""
        memory, hooks, tokens = self._memory(prefix, len(words)), self._splices(x), self._tokens(words)
        if not short:
            return self._run(tokens, memory, hooks)[:, self.answers]
        start = layer_of(self.readings.hook)
        hooks = [*self._entering(start, words), *hooks]
        with skipping(self.subject, start), unembedding(self.subject, self.answers):  # after all that runs every layer
            return self._run(tokens, memory, hooks)

    def _run(self, tokens: Tensor, memory: Any, hooks: list[tuple[str, Any]]) -> Tensor:
        """Logits (n, vocabulary) at the last token of the prompt."""
        logits = self.subject.bridge.run_with_hooks(
            tokens, return_type="logits", fwd_hooks=hooks, past_key_values=memory, use_cache=True
        )
        return (logits[0] if isinstance(logits, tuple) else logits)[:, -1].float()  # type: ignore[no-any-return]

    def _splices(self, x: Tensor) -> list[tuple[str, Any]]:
        """Hooks that put x (n, d) in the place of the activation at the word."""

        def put(activation: Tensor) -> Tensor:
            rest = activation[:, 1:]
            return torch.cat([x.view(len(x), 1, *activation.shape[2:]).to(activation.dtype), rest], dim=1)

        return self.subject.splices(self.readings.hook, put)

    def _entering(self, start: int, words: Ints) -> list[tuple[str, Any]]:
        """A hook that puts what layer `start` is given in place of what skipped layers hand on; none at the first."""
        if not start:
            return []
        lacking = words[[word not in self._entries for word in words.tolist()]]
        self._entries.update(zip(lacking.tolist(), self._read(start, lacking), strict=True))
        entry = torch.stack([self._entries[word] for word in words.tolist()])
        return [(f"blocks.{start}.hook_resid_pre", lambda activation, hook: entry)]

    @torch.no_grad()
    def _read(self, start: int, words: Ints) -> Tensor:
        """(n, position, d) what layer `start` is given at words and the tokens after them."""
        if not len(words):
            return torch.empty(0)
        memory, name = self._memory(int(self._prefix(words)[0]), len(words)), f"blocks.{start}.hook_resid_pre"
        _, found = self.subject.bridge.run_with_cache(
            self._tokens(words), names_filter=[name], stop_at_layer=start + 1, past_key_values=memory, use_cache=True
        )
        return found[name]  # type: ignore[no-any-return]

    def _tokens(self, words: Ints) -> Tensor:
        """(n, position) the words, each with what is between it and the answer."""
        rows = [[self.readings.words[word].token, *self.suffix] for word in words]
        return torch.tensor(rows, device=self.subject.device)

    def _memory(self, prefix: int, times: int) -> Any:
        """Keys and values of a prefix for so many words; they are computed once."""
        if prefix not in self._memories:
            self._memories[prefix] = remember(self.subject, torch.tensor([self.readings.prefix_tokens[prefix]]))
        return repeated(self._memories[prefix], times)


def make_speller(subject: Subject, readings: Readings, probe: Probe, cache: Keeping) -> Speller:
    """Ask for some test words of every concept, through the cache: as they are, erased, and moved along the probe.

    Raises Unscored for a concept set whose template asks for no answer or whose answers begin alike.
    """
    suffix, answers = tokens_around(subject, readings)
    nothing = torch.full((len(readings.words),), float("nan"))
    empty = np.zeros(len(readings.words), dtype=bool)
    speller = Speller(subject, readings, suffix, answers, nothing, empty, nothing, nothing)
    inputs: Inputs = {**inputs_of(subject, readings.hook, readings.plan), "what": "spelling", "spelling": VERSION}
    found = cache.get(inputs, lambda: _baseline(speller, probe))
    values = {name: nothing.clone() for name in ("margin", "erased", "right", "moved")}
    for name, value in values.items():
        value[found["word"]] = found[name]
    right = values["right"].numpy() == 1.0
    return replace(speller, margin=values["margin"], right=right, erased=values["erased"], moved=values["moved"])


def _baseline(speller: Speller, probe: Probe) -> dict[str, Tensor]:
    words, logits = _asked(speller)
    x, concept = speller.readings.x, _concept(speller.readings, words)
    own = x.flatten(0, 1)[speller.row(words)]
    erased = speller.margins(words, x.mean(dim=(0, 1)).expand_as(own).clone())
    moved = speller.margins(words, own + _shift(speller.readings, probe, own, concept))
    right = (logits.argmax(dim=1) == concept).float()
    return {
        "word": torch.from_numpy(words), "margin": _margin(logits, concept), "right": right, "erased": erased,
        "moved": moved,
    }  # fmt: skip


def _asked(speller: Speller) -> tuple[Ints, Tensor]:
    """Test words that are asked for, and the answers' logits (n, concept).

    Of every concept as many as are edited, and more, in the order of `in_turn`, until so many are spelled rightly.
    """
    readings, x = speller.readings, speller.readings.x.flatten(0, 1)
    texts, test = [word.text for word in readings.words], readings.split == Split.TEST
    left = [in_turn(texts, np.flatnonzero(test & of_concept)) for of_concept in readings.member.T]
    spelled, no_words = np.zeros(len(left), dtype=np.intp), np.empty(0, dtype=np.intp)
    asked, answers = list[Ints](), list[Tensor]()
    for start in range(0, ROUNDS * EDITED, EDITED):
        some = [words[start : start + EDITED] for words, count in zip(left, spelled, strict=True) if count < EDITED]
        words = np.concatenate([no_words, *some])
        if not len(words):
            break
        logits, concept = speller.logits(words, x[speller.row(words)]), _concept(readings, words)
        spelled += np.bincount(concept[logits.argmax(dim=1) == concept], minlength=len(left))
        asked, answers = [*asked, words], [*answers, logits]
    return np.concatenate(asked), torch.cat(answers)


def _concept(readings: Readings, words: Ints) -> Tensor:
    """(n,) the one concept of each word."""
    return torch.from_numpy(readings.member[words].argmax(axis=1))


def _shift(readings: Readings, probe: Probe, own: Tensor, concept: Tensor) -> Tensor:
    """(n, d) along each word's probe from where it lies to the mean of train words of other concepts."""
    train = torch.from_numpy(readings.split == Split.TRAIN)
    lies = readings.x[train].mean(dim=1) @ probe.direction.T
    others = torch.from_numpy(~readings.member)[train].to(lies.dtype)
    elsewhere = (lies * others).sum(dim=0) / others.sum(dim=0).clamp(min=1)
    direction = probe.direction[concept]
    return (elsewhere[concept] - (own * direction).sum(dim=1))[:, None] * direction


def _margin(logits: Tensor, concept: Tensor) -> Tensor:
    own = logits.gather(1, concept.to(logits.device)[:, None])[:, 0]
    return own - (logits.sum(dim=1) - own) / (logits.shape[1] - 1)
