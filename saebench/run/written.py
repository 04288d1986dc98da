"""Latents on texts that a judge wrote."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Int

from saebench.evidence.examples import Examples
from saebench.subject.activations import own_positions
from saebench.subject.corpora import token_ids

if TYPE_CHECKING:
    from saebench.saes.sae import LoadedSAE
    from saebench.subject.subject import Subject


def fired_by(
    sae: "LoadedSAE", subject: "Subject", hook: str, examples: Examples, written: Sequence[Sequence[str] | None]
) -> tuple[Int[np.ndarray, " text"], Bool[np.ndarray, "latent text"]]:
    """For each text the number of the latent that it was written for, and (latent, text) which latents fire on it."""
    writer = np.repeat(np.arange(len(written)), [len(texts or ()) for texts in written])
    texts = [text for texts in written for text in texts or ()]
    if not texts:
        return writer, np.zeros((len(examples), 0), dtype=bool)
    most = min(sae.spec.context_size or subject.n_ctx, subject.n_ctx)
    ids = [row[:most] for row in token_ids(subject.tokenizer, texts, bos=sae.spec.prepend_bos)]
    length = torch.tensor([len(row) for row in ids])
    tokens = torch.tensor([row + [row[0]] * (int(length.max()) - len(row)) for row in ids])
    own = own_positions(length, tokens.shape[1])[:, 1:]

    def fires(rows: slice) -> np.ndarray:
        x = subject.residual(tokens[rows], hook)[:, 1:]
        latents = sae.encode(x[own[rows].to(x.device)])[:, torch.from_numpy(examples.latents)]
        return (
            (latents.cpu().double().numpy() * examples.side > 0) if len(latents) else np.zeros((0, len(examples)), bool)
        )

    on = np.concatenate(subject.batch.over(len(tokens), fires))
    found = np.zeros((len(texts), len(examples)), dtype=bool)
    np.logical_or.at(found, own.numpy().nonzero()[0], on)
    return writer, found.T
