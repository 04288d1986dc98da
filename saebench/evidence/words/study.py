"""The words of a concept set, and what one SAE makes of them: all that the first-letter and absorption suites read."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from saebench.evidence.memory import Memory
from saebench.evidence.words.probes import Probe
from saebench.evidence.words.random_latents import RandomLatents
from saebench.evidence.words.readings import Readings
from saebench.evidence.words.vocabulary import FEWEST_CONCEPTS, FEWEST_WORDS, Split, one_reading_each
from saebench.record.score import Unscored
from saebench.saes.sae import LoadedSAE
from saebench.saes.sparsity import MOST_ACTIVE, sides, stacked, to_sparse
from saebench.subject.batches import Batch

BATCH = 1024
"""Rows per encoding; scores do not depend on it."""
RECONSTRUCTED = 16_384
"""Most rows, evenly spaced, that are decoded to see how well the SAE reconstructs words."""


@dataclass(frozen=True, eq=False)
class Probed:
    """Words in rows, and what a probe reads of them: row r is word `r // prefixes` after prefix `r % prefixes`.

    Nothing here depends on an SAE.
    """

    concepts: tuple[str, ...]
    words: tuple[str, ...]
    """With their leading space, if they have one."""
    split: Int[np.ndarray, " word"]
    """Train, validation or test."""
    member: Bool[np.ndarray, "word concept"]
    prefixes: int
    x: Float[Tensor, "row d"]
    """Activations."""
    probe: Probe
    fvu: float = field(default=0.0, kw_only=True)
    """Fraction of the variance over these rows that is left unexplained; the activations themselves leave none."""
    shared: Memory = field(default_factory=Memory, kw_only=True, repr=False)
    """What was derived from the activations alone, for all SAEs."""
    memory: Memory = field(default_factory=Memory, init=False, repr=False)
    """What was derived from it, to be dropped with it; one that is changed by `replace` begins anew."""

    @cached_property
    def word_of(self) -> Int[np.ndarray, " row"]:
        """(row,) index of the word."""
        return np.repeat(np.arange(len(self.words)), self.prefixes)

    @cached_property
    def test(self) -> Bool[np.ndarray, " word"]:
        """(word,) whether it is a test word."""
        chosen: NDArray[np.bool_] = self.split == Split.TEST
        return chosen

    def rows(self, *splits: Split) -> Bool[np.ndarray, " row"]:
        """(row,) whether its word is of one of the splits."""
        chosen: NDArray[np.bool_] = np.isin(self.split, splits)[self.word_of]
        return chosen

    @cached_property
    def once(self) -> Bool[np.ndarray, " row"]:
        """(row,) one row of every word."""
        return one_reading_each(self.words, self.prefixes)

    @cached_property
    def row_member(self) -> Bool[np.ndarray, "row concept"]:
        """(row, concept)"""
        return np.asarray(self.member[self.word_of])


@dataclass(frozen=True, eq=False)
class Study(Probed):
    """What an SAE makes of the words.

    Latents are activations times the norm of their decoder row, and decoder rows are unit vectors, both turned to the
    side on which the latent is active (`saebench.saes.sparsity.sides`): nothing here depends on how an SAE scales its
    latents, or on their signs.
    """

    latents: sparse.csr_array
    """(row, d_sae) activations times decoder norms; what is not stored is zero."""
    decoder: Float[Tensor, "d_sae d"]
    """Unit decoder directions; zeros where a decoder row is zero."""

    @cached_property
    def columns(self) -> sparse.csc_array:
        """The same latents, by column."""
        return self.latents.tocsc()

    @cached_property
    def cosines(self) -> Float[np.ndarray, "concept d_sae"]:
        """(concept, d_sae) cosine of probe and decoder directions."""
        found: NDArray[np.float32] = (self.probe.direction @ self.decoder.T).numpy()
        return found


def make_study(sae: LoadedSAE, readings: Readings, probe: Probe) -> Study:
    """Encode every reading once and keep the latents sparse."""
    x = readings.x.flatten(0, 1)
    if sae.spec.d_in not in (None, x.shape[1]):
        raise Unscored(f"the SAE reads {sae.spec.d_in} dimensions, the model has {x.shape[1]}", broken=True)
    words = _words(readings, probe)
    latents, fvu, dtype = _encoded(sae, x)
    decoder, norms = sae.directions(latents.shape[1], dtype)
    side = sides(latents)
    latents.data *= (norms.numpy() * side)[latents.indices]
    latents.eliminate_zeros()
    return Study(**words, latents=latents, decoder=decoder * torch.from_numpy(side)[:, None], fvu=fvu)


def make_probed(readings: Readings, probe: Probe) -> Probed:
    """The words without any SAE."""
    return Probed(**_words(readings, probe))


def _words(readings: Readings, probe: Probe) -> dict[str, Any]:
    """The fields of `Probed`, for the concepts that can be scored."""
    kept = enough_words(readings)
    return {
        "concepts": tuple(np.array(readings.concepts)[kept].tolist()),
        "words": tuple(word.text for word in readings.words),
        "split": readings.split, "member": readings.member[:, kept], "prefixes": readings.x.shape[1],
        "shared": readings.memory, "x": readings.x.flatten(0, 1), "probe": Probe(probe.direction[kept], probe.threshold[kept]),
    }  # fmt: skip


def enough_words(readings: Readings) -> Int[np.ndarray, " kept"]:
    """Concepts with enough words of every split to be scored. Raises Unscored where there are too few of them."""
    counts = [readings.member[readings.split == split].sum(axis=0) for split in Split]
    kept = np.flatnonzero(np.min(counts, axis=0) >= FEWEST_WORDS)
    if len(kept) < FEWEST_CONCEPTS:
        raise Unscored(
            f"of {len(readings.concepts)} concepts {len(kept)} have {FEWEST_WORDS} words of every split: fewer than"
            f" {FEWEST_CONCEPTS}"
        )
    return kept


def _encoded(sae: LoadedSAE, x: Tensor) -> tuple[sparse.csr_array, float, torch.dtype]:
    """Sparse latents (row, d_sae), the fraction of variance unexplained of a sample of rows, and what latents came as."""
    every, mean = -(-len(x) // RECONSTRUCTED), x.mean(0)
    found: list[tuple[sparse.csr_array, float, float]] = []
    dtypes: list[torch.dtype] = []

    def encode(rows: slice) -> None:
        batch = x[rows]
        latents = sae.encode(batch.to(sae.device))
        sample = (torch.arange(rows.start, rows.stop) % every == 0).nonzero()[:, 0]
        drawn, read = latents[sample.to(latents.device)], batch[sample].to(sae.device)
        error = _squares(sae.decode(drawn, read).float().cpu() - batch[sample])
        found.append((to_sparse(latents), error, _squares(batch[sample] - mean)))
        dtypes.append(latents.dtype)
        if sum(part.nnz for part, _, _ in found) > MOST_ACTIVE:
            raise Unscored(f"{found[-1][0].nnz / len(batch):.0f} latents are active per word: too many to be kept")

    Batch().over(len(x), encode, BATCH)
    parts, errors, variances = zip(*found, strict=True)
    return stacked(list(parts)), sum(errors) / max(sum(variances), 1e-30), dtypes[0]


def _squares(values: Tensor) -> float:
    return float(values.double().square().sum())


def random_control(study: Study) -> Study:
    """The same words with latents of random unit directions, as many and on average as many active as the SAE's.

    They read the activation minus its mean, and are on above one threshold for all: what an SAE that was not trained
    detects if it is as sparse. It reconstructs nothing, so that `fvu` is the SAE's own.
    """
    share = min(study.latents.nnz / (len(study.x) * len(study.decoder)), 1.0)
    d_sae = len(study.decoder)
    random = study.shared.get(("random latents", d_sae), lambda: RandomLatents(study.x, d_sae))
    latents, drawn = random.active(share)
    return replace(study, latents=latents, decoder=drawn.directions)
