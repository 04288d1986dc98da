"""How a language model answers cloze questions: as it is, with an SAE spliced in, and with less than that."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from saebench.record.score import Unscored
from saebench.saes.sae import LoadedSAE
from saebench.stats.statistics import seed_of
from saebench.subject.activations import Activations, compute_activations, keep_bos, mean_of, own_positions
from saebench.subject.cache import Cache, Inputs, Tensors
from saebench.subject.passes import Passes, passes_of
from saebench.subject.posed import Marks, Posed
from saebench.subject.subject import Subject

Put = Callable[[slice, int], Float[Tensor, "row position d"]]
"""What is put in the place of some rows' activations, up to a position."""


@dataclass(frozen=True)
class Prepared:
    """Questions at one hook of a model, and what every SAE there shares."""

    posed: Posed
    activations: Activations
    passes: Passes
    entering: Float[Tensor, "row position d_model"] | None
    """What a pass begins with, where that is not what is put in."""
    mean: Float[Tensor, " d"]
    """Mean activation over all positions but the first."""
    root: Float[Tensor, "d d"]
    """What turns independent normal numbers into draws with the activations' covariance."""
    clean: Marks
    """How the model itself answers."""
    ablated: Marks
    """The same with the mean activation at all positions but the first."""


@dataclass(frozen=True)
class Answered:
    """How questions are answered."""

    sae: Marks
    """By the model with the SAE spliced in."""
    clean: Marks
    ablated: Marks
    noisy: Marks | None
    """With an error as large as the SAE's at every position, which is a draw with the activations' covariance."""
    chance: Float[np.ndarray, " question"]
    """Share that a guess would get right."""
    kind: Shaped[np.ndarray, " question"]
    text: Shaped[np.ndarray, " question"]
    """Questions of one text are not independent."""
    passage: Int[np.ndarray, " question"]
    """Tokens before the answer."""
    refused: int = 0
    """Questions whose passages are too long for the model."""


def prepare(subject: Subject, hook: str, hook_out: str | None, posed: Posed, cache: Cache) -> Prepared:
    """Read through the cache what does not depend on an SAE."""
    activations = compute_activations(subject, hook, posed, cache, hook_out)
    target, out = activations.target, activations.target_hook
    passes = passes_of(subject, out, posed.tokens)
    entering = compute_activations(subject, passes.entry, posed, cache).residual if passes.entry else None
    mean = mean_of(target, posed.length)
    none = Marks(np.zeros(0, dtype=bool), np.zeros(0))
    bare = Prepared(posed, activations, passes, entering, mean, _root(target, posed.length, mean), none, none)
    inputs: Inputs = {"version": 1, "model": subject.digest, "corpus": posed.name, "hook": out, "what": "marks"}
    found = cache.get(inputs, lambda: _without_sae(bare), random=False)
    marks = {
        name: Marks(found[f"{name}_right"].numpy(), found[f"{name}_log_p"].numpy()) for name in ("clean", "ablated")
    }
    return replace(bare, clean=marks["clean"], ablated=marks["ablated"])


def _without_sae(bare: Prepared) -> Tensors:
    target = bare.activations.target
    clean = answers(bare, lambda rows, end: target[rows, :end])
    ablated = answers(bare, lambda rows, end: bare.mean.expand_as(target[rows, :end]))
    return {
        f"{name}_{what}": torch.from_numpy(getattr(marks, what))
        for name, marks in (("clean", clean), ("ablated", ablated)) for what in ("right", "log_p")
    }  # fmt: skip


def _root(target: Tensor, length: Tensor, mean: Tensor) -> Tensor:
    """A square root of the covariance of activations (row, position, d) at all positions but the first."""
    own = target[:, 1:][own_positions(length, target.shape[1])[:, 1:]] - mean
    values, vectors = torch.linalg.eigh((own.T @ own).double() / max(len(own) - 1, 1))
    root: Tensor = (vectors * values.clamp(min=0).sqrt()).float()
    return root


@torch.no_grad()
def answers(prepared: Prepared, put: Put) -> Marks:
    """How questions are answered with something in the place of all activations but those at the first position."""
    posed, subject = prepared.posed, prepared.passes.subject
    parts = subject.batch.over(posed.documents, lambda rows: _asked(prepared, rows, put))
    hidden = torch.cat([part for part, _ in parts])[torch.argsort(torch.cat([at for _, at in parts]))]
    if not torch.isfinite(hidden).all():
        raise Unscored("what is put in the place of activations is so large that the model overflows", broken=True)
    log_p, likeliest = torch.empty(len(posed.token)), torch.empty(len(hidden), dtype=torch.long)
    for start in range(0, len(hidden), prepared.passes.positions):
        at = slice(start, start + prepared.passes.positions)
        logits = prepared.passes.logits(hidden[at].to(subject.device)).cpu()
        likeliest[at] = logits.argmax(-1)
        terms = ((posed.point >= start) & (posed.point < start + len(logits))).nonzero()[:, 0]
        log_p[terms] = logits.log_softmax(-1)[posed.point[terms] - start, posed.token[terms]]
    return posed.marks(log_p, likeliest)


def _asked(prepared: Prepared, rows: slice, put: Put) -> tuple[Tensor, Tensor]:
    """What is unembedded where some rows are asked (point, d_model), and which points these are."""
    posed, device = prepared.posed, prepared.passes.subject.device
    end = int(posed.length[rows].max())
    entering = None if prepared.entering is None else prepared.entering[rows, :end].to(device)
    value = keep_bos(put(rows, end).to(device), prepared.activations.target[rows, :end].to(device))
    last = prepared.passes.spliced(posed.tokens[rows, :end], value, entering)
    chosen = ((posed.row >= rows.start) & (posed.row < rows.stop)).nonzero()[:, 0]
    return last[posed.row[chosen] - rows.start, posed.position[chosen]].cpu(), chosen


def answered(sae: LoadedSAE, prepared: Prepared, *, noise: bool = True) -> Answered:
    """Splice the SAE in and, with `noise`, noise of the size of its error. Raises Unscored for an SAE of another width."""
    posed, activations = prepared.posed, prepared.activations
    if sae.spec.d_in not in (None, activations.residual.shape[-1]):
        name = activations.subject.name
        raise Unscored(
            f"the SAE reads {sae.spec.d_in} dimensions, {name} has {activations.residual.shape[-1]}", broken=True
        )
    rebuilt = torch.cat(
        activations.subject.batch.over(posed.documents, lambda rows: _rebuilt(sae, activations, rows).cpu())
    )
    size, questions = (activations.target - rebuilt).norm(dim=-1), posed.questions
    noisy = answers(prepared, lambda rows, end: _noisy(prepared, size, rows, end)) if noise else None
    return Answered(
        sae=answers(prepared, lambda rows, end: rebuilt[rows, :end]), clean=prepared.clean, ablated=prepared.ablated,
        noisy=noisy,
        chance=np.array([question.chance for question in questions]),
        kind=np.array([question.kind for question in questions]),
        text=np.array([question.text or f"{i}" for i, question in enumerate(questions)]),
        passage=posed.passage, refused=posed.refused,
    )  # fmt: skip


def _rebuilt(sae: LoadedSAE, activations: Activations, rows: slice) -> Tensor:
    """(row, position, d) reconstructions at the rows' own positions; the activations themselves behind their ends."""
    x, target = activations.residual[rows], activations.target[rows].clone()
    own = own_positions(activations.length[rows], x.shape[1])
    read = x[own].to(activations.subject.device)
    y = sae.decode(sae.encode(read), read).float().cpu()
    if y.shape[-1] != target.shape[-1]:
        raise Unscored(f"decode returns {y.shape[-1]} dimensions for activations of {target.shape[-1]}", broken=True)
    target[own] = y
    return target


def _noisy(prepared: Prepared, size: Tensor, rows: slice, end: int) -> Tensor:
    """Activations with an error of a `size` (row, position), whose directions are drawn per row: no batch changes them."""
    target = prepared.activations.target[rows, :end]
    seed = seed_of("downstream.noise")
    drawn = [
        torch.randn(prepared.posed.context, len(prepared.mean), generator=torch.Generator().manual_seed(seed + number))
        for number in range(rows.start, rows.start + len(target))
    ]
    error = torch.stack(drawn)[:, :end] @ prepared.root.T
    unit: Tensor = error / error.norm(dim=-1, keepdim=True).clamp(min=1e-30)
    return target + unit * size[rows, :end, None]
