"""One pass of one SAE over a corpus: per-token sums that the reconstruction and context-length suites read."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from scipy import sparse
from torch import Tensor

from saebench.record.score import Unscored
from saebench.saes.sae import LoadedSAE
from saebench.saes.sparsity import MOST_ACTIVE, stacked, to_sparse
from saebench.subject.activations import Activations, keep_bos, mean_of, own_positions

Values = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """What an SAE's latents do within its training context; no model runs for it."""

    fired: Float[Tensor, " d_sae"]
    """Number of tokens on which a latent is active."""
    latents: sparse.csr_array | None
    """(token, d_sae) latents; None where they are too dense to be kept."""
    tokens: Int[Tensor, " token"]
    """Ids of those tokens."""


@dataclass(frozen=True, kw_only=True)
class Rebuilt(Encoded):
    """Per-token values of what an SAE makes of activations; no model runs for it.

    Position 0 is BOS and is left out by every statistic.

    The last position of a context predicts nothing and is not here. Where `counted` is 0, all values are 0.

    Centred means: minus the mean activation over the SAE's training context, so that a constant prediction
    counts for nothing.
    """

    error: Float[Tensor, "document position"]
    """Squared reconstruction error."""
    signal: Float[Tensor, "document position"]
    """Squared norm of the centred activation."""
    output: Float[Tensor, "document position"]
    """Squared norm of the centred reconstruction."""
    product: Float[Tensor, "document position"]
    """Inner product of the centred activation and the centred reconstruction."""
    norm_in: Float[Tensor, "document position"]
    """Norm of the activation as it is, not centred."""
    norm_out: Float[Tensor, "document position"]
    """Norm of the reconstruction, not centred."""
    inner: Float[Tensor, "document position"]
    """Inner product of these two."""
    mean_cosine: Float[Tensor, "document position"]
    """Cosine of the activation, not centred, with the mean activation: what a constant prediction has."""
    l0: Float[Tensor, "document position"]
    """Number of latents that are not zero."""
    counted: Float[Tensor, "document position"]
    """1 where a token of the document follows, 0 from its last one on."""
    inside: int
    """Positions 1 to `inside` - 1 lie in the context that the SAE was trained on."""
    context_known: bool
    """Whether the SAE says which context it was trained on; if not, all positions count as inside."""


@dataclass(frozen=True, kw_only=True)
class Trace(Rebuilt):
    """The same, and what the model says with the SAE spliced in."""

    kl: Float[Tensor, "document position"]
    """KL(clean || spliced) of the next-token distribution in nats."""
    ce: Float[Tensor, "document position"]
    """Cross-entropy with the SAE spliced in."""
    clean_ce: Float[Tensor, "document position"]
    zero_ce: Float[Tensor, "document position"]
    mean_ce: Float[Tensor, "document position"]
    zero_kl: Float[Tensor, "document position"]
    mean_kl: Float[Tensor, "document position"]


def encode(sae: LoadedSAE, activations: Activations) -> Encoded:
    """Encode every activation within the SAE's training context once."""
    inside, counted = _read(sae, activations)

    def batch(rows: slice) -> Tensor:
        x = activations.residual[rows].to(activations.subject.device)
        return _inner(sae.encode(x.flatten(0, 1)).view(*x.shape[:2], -1), counted[rows], inside)

    found = activations.subject.batch.over(len(counted), lambda rows: _counts(batch(rows)))
    fired = torch.stack([part["fired"] for part in found]).sum(0).to("cpu", torch.float64)
    latents, tokens = _kept([part["latents"] for part in found]), activations.tokens[:, 1:inside][counted[:, 1:inside]]
    return Encoded(fired=fired, latents=latents, tokens=tokens)


def _counts(inner: Tensor) -> dict[str, Any]:
    """Of latents (token, latent), how often each is active, and themselves."""
    return {"fired": (inner != 0).sum(0), "latents": to_sparse(inner)}


def _inner(latents: Tensor, counted: Tensor, inside: int) -> Tensor:
    """(token, latent) of (document, position, latent) within the training context."""
    return latents[:, 1:inside][counted[:, 1:inside].to(latents.device)]


def _read(sae: LoadedSAE, activations: Activations) -> tuple[int, Tensor]:
    """End of the training context, and which positions (document, position) count. Raises Unscored for another width."""
    residual = activations.residual
    if sae.spec.d_in not in (None, residual.shape[-1]):
        name = activations.subject.name
        raise Unscored(f"the SAE reads {sae.spec.d_in} dimensions, {name} has {residual.shape[-1]}", broken=True)
    inside = min(sae.spec.context_size or residual.shape[1], residual.shape[1])
    return inside, own_positions(activations.length - 1, residual.shape[1])


def rebuild(sae: LoadedSAE, activations: Activations) -> Rebuilt:
    """Encode and decode every activation once."""
    return Rebuilt(**_over(sae, activations, lambda rows, y: {}))


def trace(sae: LoadedSAE, activations: Activations) -> Trace:
    """The same, and run the model once with the result spliced in."""
    clean = activations.clean

    def spliced(rows: slice, y: Tensor) -> Values:
        tokens, x = activations.tokens[rows], activations.target[rows].to(y.device)
        entering = None if clean.entering is None else clean.entering[rows]
        ce, kl = clean.passes.losses(
            clean.said.at(rows), clean.passes.spliced(tokens, keep_bos(y, x), entering), tokens
        )
        return {"ce": ce, "kl": kl}

    found = _over(sae, activations, spliced)
    counted = own_positions(activations.length - 1, activations.residual.shape[1])
    said = {name: getattr(clean, name).double() for name in ("clean_ce", "zero_ce", "mean_ce", "zero_kl", "mean_kl")}
    return Trace(**found, **{name: (value * counted)[:, :-1] for name, value in said.items()})


def _over(sae: LoadedSAE, activations: Activations, more: Callable[[slice, Tensor], Values]) -> dict[str, Any]:
    """Fields of `Rebuilt`; `more` makes values of others from the reconstructions of some documents."""
    (inside, counted), residual = _read(sae, activations), activations.residual
    mean = mean_of(activations.target[:, : min(inside, residual.shape[1] - 1)], activations.length - 1)
    parts: list[dict[str, Any]] = activations.subject.batch.over(
        len(residual), lambda rows: _batch(sae, activations, rows, mean, counted[rows], inside, more)
    )
    fired = torch.stack([part.pop("fired") for part in parts]).sum(0)
    latents = _kept([part.pop("latents") for part in parts])
    values = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    predicting = {name: (value * counted)[:, :-1] for name, value in values.items()}
    tokens = activations.tokens[:, 1:inside][counted[:, 1:inside]]
    return {
        **predicting, "fired": fired, "latents": latents, "tokens": tokens, "counted": counted[:, :-1].double(),
        "inside": inside, "context_known": sae.spec.context_size is not None,
    }  # fmt: skip


def _kept(parts: list[sparse.csr_array]) -> sparse.csr_array | None:
    """Latents (token, latent) of all batches, unless they are too many."""
    return stacked(parts) if sum(part.nnz for part in parts) <= MOST_ACTIVE else None


def _batch(
    sae: LoadedSAE, activations: Activations, rows: slice, mean: Tensor, counted: Tensor, inside: int,
    more: Callable[[slice, Tensor], Values],
) -> dict[str, Any]:  # fmt: skip
    subject = activations.subject
    x = activations.residual[rows].to(subject.device)
    latents = sae.encode(x.flatten(0, 1))
    y = sae.decode(latents, x.flatten(0, 1)).float()
    x, shape = activations.target[rows].to(subject.device), x.shape[:2]
    if y.shape[-1] != x.shape[-1]:
        raise Unscored(f"decode returns {y.shape[-1]} dimensions for activations of {x.shape[-1]}", broken=True)
    y, latents = y.view_as(x), latents.view(*shape, -1)
    counts = _counts(_inner(latents, counted, inside))
    values = {
        **_centred(x, y, mean.to(x.device)), **_as_they_are(x, y, mean.to(x.device)), "l0": (latents != 0).sum(-1),
        **more(rows, y), "fired": counts["fired"],
    }  # fmt: skip
    if bad := [name for name, value in values.items() if not torch.isfinite(value).all()]:
        raise Unscored(f"the reconstruction is so large that {', '.join(bad)} overflow", broken=True)
    return {
        **{name: value.to("cpu", torch.float64) for name, value in values.items()}, "latents": counts["latents"],
    }  # fmt: skip


def _centred(x: Tensor, y: Tensor, mean: Tensor) -> Values:
    xc, yc = x - mean, y - mean
    return {
        "error": (x - y).square().sum(-1), "signal": xc.square().sum(-1), "output": yc.square().sum(-1),
        "product": (xc * yc).sum(-1),
    }  # fmt: skip


def _as_they_are(x: Tensor, y: Tensor, mean: Tensor) -> Values:
    x = x.float()
    return {
        "norm_in": x.norm(dim=-1), "norm_out": y.norm(dim=-1), "inner": (x * y).sum(-1),
        "mean_cosine": torch.cosine_similarity(x, mean.expand_as(x), dim=-1),
    }  # fmt: skip
