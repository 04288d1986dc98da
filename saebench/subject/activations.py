"""What the language model does without any SAE: computed once per model, hooks and corpus, shared by all SAEs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor

from saebench.subject.cache import Cache, Inputs, to_cpu
from saebench.subject.corpora import Corpus, Rows
from saebench.subject.passes import Passes, passes_of
from saebench.subject.said import Said, stored
from saebench.subject.subject import Subject

VERSION = 1


@dataclass(frozen=True)
class Clean:
    """What the model says without any SAE, and where activations are taken away: what spliced passes are held against."""

    clean_ce: Tensor
    """(document, position) cross-entropy of the next token in nats; the last position predicts nothing and is 0."""
    zero_ce: Tensor
    """The same with zeros in place of the activation, BOS kept."""
    mean_ce: Tensor
    """The same with the mean activation."""
    zero_kl: Tensor
    """(document, position) KL(clean || zero-ablated) of the next-token distribution in nats."""
    mean_kl: Tensor
    """The same with the mean activation."""
    said: Said
    """Of (document, position), what the clean pass says."""
    passes: Passes
    """How something is put in the place of what is to be reconstructed."""
    entering: Tensor | None
    """(document, position, d_model) what such a pass begins with, where that is not what is put in."""


@dataclass(frozen=True)
class Activations:
    """Residual stream on a corpus. Position 0 is BOS and counts in no statistic, nor does what lies behind a document's end."""

    subject: Subject
    hook: str
    corpus: Corpus
    tokens: Tensor
    """(document, position)"""
    length: Tensor
    """(document,) positions that are the document's own."""
    residual: Tensor
    """(document, position, d)"""
    say: Callable[[], Clean]
    """What makes `clean`."""
    output: Tensor | None = None
    """(document, position, d_out) what a transcoder is to write; None where what is read is to be reconstructed."""
    hook_out: str | None = None
    """Where that is."""

    @cached_property
    def clean(self) -> Clean:
        """Made when it is first asked for: what is only reconstructed needs no pass behind the hook."""
        return self.say()

    @property
    def target(self) -> Tensor:
        """(document, position, d_out) what is to be reconstructed."""
        return self.residual if self.output is None else self.output

    @property
    def target_hook(self) -> str:
        return self.hook_out or self.hook

    @property
    def mean(self) -> Tensor:
        return mean_of(self.target, self.length)

    def inside(self, end: int) -> tuple[Tensor, Tensor]:
        """Activations (token, d) and ids (token,) at the documents' own positions 1 to `end` - 1."""
        own = own_positions(self.length, self.tokens.shape[1])[:, 1:end]
        return self.residual[:, 1:end][own], self.tokens[:, 1:end][own]

    def following(self, end: int) -> Tensor:
        """Ids (token,) of what comes next at the same positions; -1 where the document ends."""
        positions = self.tokens.shape[1]
        known = torch.nn.functional.pad(self.tokens[:, 1:], (0, 1), value=-1)
        known = torch.where(own_positions(self.length - 1, positions), known, -1)
        return known[:, 1:end][own_positions(self.length, positions)[:, 1:end]]


def own_positions(length: Tensor, positions: int) -> Tensor:
    """(document, position) whether a position is the document's own."""
    return torch.arange(positions) < length[:, None]


def mean_of(residual: Tensor, length: Tensor) -> Tensor:
    """(d,) mean of (document, position, d) over all documents' own positions but BOS."""
    own = own_positions(length, residual.shape[1])[:, 1:]
    if own.all():
        return residual[:, 1:].double().mean(dim=(0, 1)).float()
    return residual[:, 1:][own].double().mean(dim=0).float()


def compute_activations(
    subject: Subject, hook: str, corpus: Corpus, cache: Cache, hook_out: str | None = None
) -> Activations:
    """Read through the cache what every SAE at this hook shares."""
    out = hook_out or hook
    for name in (hook, out):
        subject.check_hook(name)
    rows = _rows(subject, corpus, cache)
    inputs: Inputs = {"version": VERSION, "model": subject.digest, "corpus": corpus.name}
    residual = _read(subject, rows, {**inputs, "hook": hook}, cache)
    output = None if out == hook else _read(subject, rows, {**inputs, "hook": out}, cache)
    target = residual if output is None else output
    say = partial(_clean, subject, out, rows, target, inputs, cache)
    return Activations(subject, hook, corpus, rows.tokens, rows.length, residual, say, output=output, hook_out=hook_out)


def _clean(subject: Subject, out: str, rows: Rows, target: Tensor, inputs: Inputs, cache: Cache) -> Clean:
    said = Said(**cache.get({**inputs, "what": "said"}, lambda: _said(subject, rows), random=False))
    passes = passes_of(subject, out, rows.tokens)
    entering = _read(subject, rows, {**inputs, "hook": passes.entry}, cache) if passes.entry else None
    mean = mean_of(target, rows.length)
    losses = cache.get(
        {**inputs, "hook": out, "what": "losses and divergences", "passes": 3},
        lambda: _losses(passes, rows.tokens, said, target, entering, mean),
        random=False,
    )
    return Clean(**losses, said=said, passes=passes, entering=entering)


def _rows(subject: Subject, corpus: Corpus, cache: Cache) -> Rows:
    inputs: Inputs = {"version": VERSION, "model": subject.digest, "corpus": corpus.name, "what": "tokens"}

    def split() -> dict[str, Tensor]:
        rows = corpus.rows(subject.tokenizer)
        return {"tokens": rows.tokens, "length": rows.length}

    return Rows(**cache.get(inputs, split, random=False))


def _read(subject: Subject, rows: Rows, inputs: Inputs, cache: Cache) -> Tensor:
    def read() -> dict[str, Tensor]:
        parts = subject.batch.over(
            len(rows.tokens), lambda at: subject.residual(rows.tokens[at], str(inputs["hook"])).cpu()
        )
        return {"residual": torch.cat(parts)}

    return cache.get(inputs, read, random=False)["residual"]


def _said(subject: Subject, rows: Rows) -> dict[str, Tensor]:
    passes = Passes(subject, "", 0)
    parts = subject.batch.over(len(rows.tokens), lambda at: stored(passes.said(passes.last(rows.tokens[at]))))
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _losses(
    passes: Passes, tokens: Tensor, said: Said, target: Tensor, entering: Tensor | None, mean: Tensor
) -> dict[str, Tensor]:
    def some(at: slice) -> dict[str, Tensor]:
        entry = None if entering is None else entering[at]
        put = {"zero": torch.zeros_like(target[at]), "mean": mean.expand_as(target[at])}
        clean = said.at(at)
        found = {"clean": passes.losses(clean, clean.hidden.to(passes.subject.device), tokens[at])}
        for name, value in put.items():
            spliced = passes.spliced(tokens[at], keep_bos(value, target[at]).to(passes.subject.device), entry)
            found[name] = passes.losses(clean, spliced, tokens[at])
        ce = {f"{name}_ce": losses[0] for name, losses in found.items()}
        return to_cpu({**ce, **{f"{name}_kl": found[name][1] for name in put}})

    parts = passes.subject.batch.over(len(tokens), some)
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def keep_bos(replacement: Tensor, residual: Tensor) -> Tensor:
    """The replacement everywhere but at BOS, whose activation is unlike all others and which no SAE is trained on."""
    return torch.cat([residual[:, :1], replacement[:, 1:].to(residual.dtype)], dim=1)
