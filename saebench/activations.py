"""What the language model does without any SAE: computed once per model, hook and corpus, shared by all SAEs."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from saebench.cache import Cache, Inputs, to_cpu
from saebench.corpora import Corpus
from saebench.subject import Subject

BATCH = 16
"""Contexts per forward pass; scores do not depend on it."""
VERSION = 1


@dataclass(frozen=True)
class Activations:
    """Residual stream and reference losses on a corpus. Position 0 is BOS and counts in no statistic."""

    subject: Subject
    hook: str
    corpus: Corpus
    tokens: Tensor
    """(document, position)"""
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

    @property
    def mean(self) -> Tensor:
        return mean_of(self.residual)


def mean_of(residual: Tensor) -> Tensor:
    """(d,) mean of (document, position, d) over all positions but BOS."""
    return residual[:, 1:].double().mean(dim=(0, 1)).float()


def compute_activations(subject: Subject, hook: str, corpus: Corpus, cache: Cache) -> Activations:
    """Read through the cache what every SAE at this hook shares."""
    subject.check_hook(hook)
    tokens = corpus.tokens(subject.tokenizer)
    inputs: Inputs = {"version": VERSION, "model": subject.digest, "hook": hook, "corpus": corpus.name}
    residual = cache.get(inputs, lambda: {"residual": _residual(subject, hook, tokens)})["residual"]
    mean = mean_of(residual)
    losses = cache.get({**inputs, "what": "losses"}, lambda: _losses(subject, hook, tokens, residual, mean))
    return Activations(subject, hook, corpus, tokens, residual, **losses)


def _residual(subject: Subject, hook: str, tokens: Tensor) -> Tensor:
    batches = [subject.residual(tokens[rows], hook).flatten(2).to("cpu", torch.float32) for rows in row_batches(tokens)]
    return torch.cat(batches)


def _losses(subject: Subject, hook: str, tokens: Tensor, residual: Tensor, mean: Tensor) -> dict[str, Tensor]:
    parts = [_batch_losses(subject, hook, tokens[rows], residual[rows], mean) for rows in row_batches(tokens)]
    return to_cpu({name: torch.cat([part[name] for part in parts]) for name in parts[0]})


def _batch_losses(subject: Subject, hook: str, tokens: Tensor, residual: Tensor, mean: Tensor) -> dict[str, Tensor]:
    clean = subject.logits(tokens)
    zero = subject.logits(tokens, hook, keep_bos(torch.zeros_like(residual), residual).to(subject.device))
    ablated = subject.logits(tokens, hook, keep_bos(mean.expand_as(residual), residual).to(subject.device))
    ce, kl = losses_against(clean, ablated, tokens)
    clean_ce, _ = losses_against(clean, clean, tokens)
    zero_ce, _ = losses_against(clean, zero, tokens)
    return {"clean_ce": clean_ce, "zero_ce": zero_ce, "mean_ce": ce, "mean_kl": kl}


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


def row_batches(tokens: Tensor) -> Iterator[slice]:
    for start in range(0, len(tokens), BATCH):
        yield slice(start, start + BATCH)
