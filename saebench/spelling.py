"""Whether the model can spell, and what an edit of the activation at a word does to its spelling."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saebench.cache import Cache, Inputs
from saebench.metrics.probes import Probe
from saebench.readings import Readings, inputs_of, remember, repeated
from saebench.score import Unscored
from saebench.subject import Subject
from saebench.vocabulary import Split, turn

BATCH = 256
"""Words per forward pass; results do not depend on it."""
ASKED = 2
"""Prefixes that words are asked for after, in turn: fewer than they are read after, so that batches are larger."""
VERSION = 1
Ints = NDArray[np.intp]


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
    answers: Tensor
    """(concept,) first token of each concept's answer."""
    margin: Tensor
    """(word,) margin with nothing replaced; NaN for words that are not test words."""
    right: NDArray[np.bool_]
    """(word,) whether the word's own concept has the largest logit of all."""
    erased: Tensor
    """(word,) margin with the mean activation of all words in place of the word's own."""
    moved: Tensor
    """(word,) margin with the activation moved along the concept's probe to where train words of others lie."""
    _memories: dict[int, Any] = field(default_factory=dict)

    def row(self, words: Ints) -> Ints:
        """Rows of a `Study` at which some words are asked for."""
        rows: Ints = words * len(self.readings.prefix_tokens) + self._prefix(words)
        return rows

    def _prefix(self, words: Ints) -> Ints:
        """(n,) prefix after which each word is asked for."""
        asked = min(ASKED, len(self.readings.prefix_tokens))
        return np.array([turn(self.readings.words[word].text, asked) for word in words], dtype=np.intp)

    def margins(self, words: Ints, x: Tensor) -> Tensor:
        """Margins (n,) of some words (n,) with activations x (n, d) at them."""
        with torch.no_grad():
            return self._grouped(words, x, lambda logits, concept, _: _margin(logits, concept))

    def gradients(self, words: Ints, x: Tensor) -> Tensor:
        """Gradients (n, d) of the margins by the activations."""

        def gradient(logits: Tensor, concept: Tensor, at: Tensor) -> Tensor:
            return torch.autograd.grad(_margin(logits, concept).sum(), at)[0].cpu()

        with torch.enable_grad():
            return self._grouped(words, x, gradient)

    def logits(self, words: Ints, x: Tensor) -> Tensor:
        """Logits (n, concept) of the answers."""
        with torch.no_grad():
            return self._grouped(words, x, lambda logits, _, __: logits)

    def _grouped(self, words: Ints, x: Tensor, read: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        """Run the words batch by batch, those of one prefix together."""
        found: dict[int, Tensor] = {}
        concepts = torch.from_numpy(self.readings.member[words].argmax(axis=1))
        prefix = self._prefix(words)
        for index in np.unique(prefix):
            of_prefix = np.flatnonzero(prefix == index)

            def ask(rows: slice, index: int = int(index), of_prefix: Ints = of_prefix) -> None:
                at = of_prefix[rows]
                here = x[at].to(self.subject.device).requires_grad_(torch.is_grad_enabled())
                values = read(self._run(index, words[at], here), concepts[at], here)
                found.update(zip(at.tolist(), values.detach().cpu(), strict=True))

            self.subject.batch.over(len(of_prefix), ask, BATCH)
        return torch.stack([found[i] for i in range(len(words))]) if found else x.new_zeros(0)

    def _run(self, prefix: int, words: Ints, x: Tensor) -> Tensor:
        """Logits (n, concept) after the prompt, with x (n, d) at the word."""
        if prefix not in self._memories:
            self._memories[prefix] = remember(self.subject, torch.tensor([self.readings.prefix_tokens[prefix]]))
        tokens = torch.tensor([[self.readings.words[word].token, *self.suffix] for word in words])

        def put(activation: Tensor) -> Tensor:
            rest = activation[:, 1:]
            return torch.cat([x.view(len(x), 1, *activation.shape[2:]).to(activation.dtype), rest], dim=1)

        logits = self.subject.bridge.run_with_hooks(
            tokens.to(self.subject.device), return_type="logits", fwd_hooks=self.subject.splices(self.readings.hook, put),
            past_key_values=repeated(self._memories[prefix], len(words)), use_cache=True,
        )  # fmt: skip
        return (logits[0] if isinstance(logits, tuple) else logits)[:, -1, self.answers].float()  # type: ignore[no-any-return]


def make_speller(subject: Subject, readings: Readings, probe: Probe, cache: Cache) -> Speller:
    """Ask for every test word once, through the cache: as it is, erased, and moved along the probe.

    Raises Unscored for a concept set whose template asks for no answer or whose answers begin alike.
    """
    suffix, answers = _tokens_around(subject, readings)
    nothing = torch.full((len(readings.words),), float("nan"))
    empty = np.zeros(len(readings.words), dtype=bool)
    speller = Speller(subject, readings, suffix, answers, nothing, empty, nothing, nothing)
    words = np.flatnonzero(readings.split == Split.TEST)
    inputs: Inputs = {**inputs_of(subject, readings.hook, readings.plan), "what": "spelling", "spelling": VERSION}
    found = cache.get(inputs, lambda: _baseline(speller, probe, words))
    values = {name: nothing.clone() for name in ("margin", "erased", "right", "moved")}
    for name, value in values.items():
        value[words] = found[name]
    right = values["right"].numpy() == 1.0
    return Speller(subject, readings, suffix, answers, values["margin"], right, values["erased"], values["moved"])


def _baseline(speller: Speller, probe: Probe, words: Ints) -> dict[str, Tensor]:
    x = speller.readings.x
    own = x.flatten(0, 1)[speller.row(words)]
    logits = speller.logits(words, own)
    concept = torch.from_numpy(speller.readings.member[words].argmax(axis=1))
    right = (logits.argmax(dim=1) == concept).float()
    erased = speller.margins(words, x.mean(dim=(0, 1)).expand_as(own).clone())
    moved = speller.margins(words, own + _shift(speller.readings, probe, own, concept))
    return {"margin": _margin(logits, concept), "right": right, "erased": erased, "moved": moved}


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


def _tokens_around(subject: Subject, readings: Readings) -> tuple[tuple[int, ...], Tensor]:
    """Tokens between word and answer, and the first token of every concept's answer."""
    concepts = readings.plan.concepts
    if "{concept}" not in concepts.template or (readings.member.sum(axis=1) != 1).any():
        raise Unscored(f"words of {concepts.name} have no single answer that the model could be asked for")
    word = readings.words[0]
    query = subject.tokenizer(concepts.query(word), add_special_tokens=False)["input_ids"]
    lines = [concepts.template.format(word=word.text, concept=name) for name in concepts.concepts]
    ids = subject.tokenizer(lines, add_special_tokens=False)["input_ids"]
    answers = [line[len(query)] for line in ids]
    if len(set(answers)) < len(answers) or any(line[: len(query)] != query for line in ids):
        raise Unscored(f"answers of {concepts.name} are not told apart by their first token")
    return tuple(query[query.index(word.token) + 1 :]), torch.tensor(answers)
