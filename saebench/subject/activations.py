"""What the language model does without any SAE: computed once per model, hooks and corpus, shared by all SAEs."""

from dataclasses import dataclass

import torch
from torch import Tensor

from saebench.subject.cache import Cache, Inputs, to_cpu
from saebench.subject.corpora import Corpus, Rows
from saebench.subject.subject import Subject

VERSION = 1


@dataclass(frozen=True)
class Activations:
    """Residual stream and reference losses on a corpus. Position 0 is BOS and counts in no statistic.

    Nor does what lies behind a document's end.
    """

    subject: Subject
    hook: str
    corpus: Corpus
    tokens: Tensor
    """(document, position)"""
    length: Tensor
    """(document,) positions that are the document's own."""
    residual: Tensor
    """(document, position, d)"""
    clean_ce: Tensor
    """(document, position) cross-entropy of the next token in nats; the last position predicts nothing and is 0."""
    zero_ce: Tensor
    """The same with zeros in place of the activation, BOS kept."""
    mean_ce: Tensor
    """The same with the mean activation."""
    mean_kl: Tensor
    """(document, position) KL(clean || mean-ablated) of the next-token distribution in nats."""
    output: Tensor | None = None
    """(document, position, d_out) what a transcoder is to write; None where what is read is to be reconstructed."""
    hook_out: str | None = None
    """Where that is."""

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
    mean = mean_of(target, rows.length)
    losses = cache.get(
        {**inputs, "hook": out, "what": "losses"},
        lambda: _losses(subject, out, rows.tokens, target, mean),
        random=False,
    )
    return Activations(
        subject, hook, corpus, rows.tokens, rows.length, residual, **losses, output=output, hook_out=hook_out
    )


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


def _losses(subject: Subject, hook: str, tokens: Tensor, target: Tensor, mean: Tensor) -> dict[str, Tensor]:
    parts = subject.batch.over(len(tokens), lambda at: _batch_losses(subject, hook, tokens[at], target[at], mean))
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _batch_losses(subject: Subject, hook: str, tokens: Tensor, target: Tensor, mean: Tensor) -> dict[str, Tensor]:
    clean = subject.logits(tokens)
    clean_ce, _ = losses_against(clean, clean, tokens)
    zero = subject.logits(tokens, hook, keep_bos(torch.zeros_like(target), target).to(subject.device))
    zero_ce, _ = losses_against(clean, zero, tokens)
    del zero
    ablated = subject.logits(tokens, hook, keep_bos(mean.expand_as(target), target).to(subject.device))
    ce, kl = losses_against(clean, ablated, tokens)
    return to_cpu({"clean_ce": clean_ce, "zero_ce": zero_ce, "mean_ce": ce, "mean_kl": kl})


def keep_bos(replacement: Tensor, residual: Tensor) -> Tensor:
    """The replacement everywhere but at BOS, whose activation is unlike all others and which no SAE is trained on."""
    return torch.cat([residual[:, :1], replacement[:, 1:].to(residual.dtype)], dim=1)


def losses_against(clean: Tensor, spliced: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the spliced logits and KL(clean || spliced), each (context, position) in nats.

    Cross-entropy at the last position, which predicts nothing, is 0.
    """
    log_q = spliced.float().log_softmax(-1)
    log_p = clean.float().log_softmax(-1)
    kl = (log_p.exp() * (log_p - log_q)).sum(-1).clamp(min=0)
    targets = tokens[:, 1:].to(spliced.device)
    ce = -log_q[:, :-1].gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return torch.nn.functional.pad(ce, (0, 1)), kl
