"""The latents of a bank's features at phrases of all features, beside those of useless ones."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import sparse

from saebench.evidence.phrases.bank import Bank
from saebench.evidence.phrases.reading import Reading
from saebench.evidence.phrases.responses import Responses, encoded, respond
from saebench.record.score import Unscored
from saebench.saes.directions import random_directions
from saebench.saes.sae import LoadedSAE
from saebench.stats.statistics import seed_of
from saebench.subject.activations import Activations

FOUND = 0.5
"""F1 on naming texts from which a latent counts as that of a feature."""
DENSE = 0.1
"""Share of tokens on which a latent is active, to be dense."""
MOST_DENSE = 50
MOST_RANDOM = 8192
"""Random directions that are drawn, where latents are more."""
CORPUS = 4096
"""Tokens of the corpus from which random directions have their threshold and their scale."""


@dataclass(frozen=True, eq=False)
class Decomposed:
    """Latents of features on phrases. Activations are the largest over a phrase, in units of a latent's 99th percentile."""

    bank: Bank
    feature: Int[np.ndarray, " latent"]
    """(latent,) index of the feature that each is of, among the bank's."""
    latent: Int[np.ndarray, " latent"]
    """(latent,) its index in the SAE."""
    f1: Float[np.ndarray, " latent"]
    """(latent,) how well it tells texts that name the feature from those that name others; 1 where it was given."""
    own: Float[np.ndarray, "latent phrase"]
    near: Float[np.ndarray, "latent near"]
    """The same on near misses of all features."""
    random: Float[np.ndarray, "latent phrase"]
    """Of the random direction that tells the feature's naming texts best."""
    dense: Float[np.ndarray, "dense phrase"]
    """Of latents that are active on a tenth of all tokens."""
    controls: sparse.csr_array
    """(phrase, phrase) weights of each phrase's controls."""
    asked: int
    """Features that were looked for."""
    random_found: float = 0.0
    """Share of them that a random direction tells as well as a latent has to."""


@dataclass(frozen=True, eq=False)
class Texts:
    """What a bank's texts are to the latents of an SAE, and to random directions."""

    reading: Reading
    found: Responses
    random: Responses
    dense: Float[np.ndarray, "dense phrase"]


def respond_to(sae: LoadedSAE, reading: Reading, activations: Activations, corpus: sparse.csr_array | None) -> Texts:
    """Encode a bank's texts; `corpus` (token, latent) is what latents do elsewhere.

    Raises Unscored for an SAE of another width, and for latents that are too dense to be kept.
    """
    if sae.spec.d_in not in (None, reading.x.shape[1]):
        raise Unscored(f"the SAE reads {sae.spec.d_in} dimensions, the model has {reading.x.shape[1]}", broken=True)
    if corpus is None:
        raise Unscored("the latents are too dense to be kept")
    found = respond(sae.encode, sae.device, reading, corpus)
    random = random_responses(reading, activations, corpus, sae.spec.context_size)
    return Texts(reading, found, random, found.at_phrases(dense_latents(corpus)))


def by_naming(texts: Texts) -> Decomposed:
    """Latents that are chosen on texts that name the features. Raises Unscored where the bank gives one that is not there."""
    latent, f1 = chosen(texts.found)
    feature = np.flatnonzero((f1 >= FOUND) & np.isin(latent, texts.found.alive))
    random, random_f1 = texts.random.choice
    return _made(
        texts, feature, latent[feature], f1[feature], random[feature], asked=len(f1),
        random_found=float((random_f1 >= FOUND).mean()),
    )  # fmt: skip


def by_explanation(
    texts: Texts, latent: Int[np.ndarray, " latent"], feature: Int[np.ndarray, " latent"], asked: int
) -> Decomposed:
    """Latents whose features were named by somebody who was shown where they fire. Random directions are drawn by lot."""
    kept = np.isin(latent, texts.found.alive)
    alive = texts.random.alive
    lot = np.random.default_rng(seed_of("decomposability.lot")).integers(max(len(alive), 1), size=int(kept.sum()))
    random = alive[lot] if len(alive) else np.full(int(kept.sum()), -1)
    return _made(texts, feature[kept], latent[kept], np.ones(int(kept.sum())), random, asked=asked)


def _made(
    texts: Texts, feature: Int[np.ndarray, " latent"], latent: Int[np.ndarray, " latent"],
    f1: Float[np.ndarray, " latent"], random: Int[np.ndarray, " latent"], *, asked: int, random_found: float = 0.0,
) -> Decomposed:  # fmt: skip
    found = texts.found
    # Where no direction is active on a feature's naming texts, it is on none of its phrases either.
    at_random = np.where(random[:, None] >= 0, texts.random.at_phrases(random), 0.0)
    return Decomposed(
        found.bank, feature, latent, f1, found.at_phrases(latent), found.at_near(latent), at_random, texts.dense,
        texts.reading.matched, asked, random_found,
    )  # fmt: skip


def chosen(found: Responses) -> tuple[Int[np.ndarray, " feature"], Float[np.ndarray, " feature"]]:
    """(feature,) its latent, given by the bank or chosen on naming texts, and its F1. Raises Unscored for one that is not there."""
    latent, f1 = (part.copy() for part in found.choice)
    given = [(i, feature.latent) for i, feature in enumerate(found.bank.features) if feature.latent is not None]
    for i, index in given:
        if index >= found.most.shape[1]:
            name = found.bank.features[i].name
            raise Unscored(
                f"the bank says that latent {index} is of {name}, and the SAE has {found.most.shape[1]} latents"
            )
        latent[i], f1[i] = index, 1.0
    return latent, f1


def dense_latents(corpus: sparse.csr_array) -> Int[np.ndarray, " dense"]:
    """Those that are active on the most tokens, if on a tenth."""
    share = np.bincount(corpus.indices, minlength=corpus.shape[1]) / max(corpus.shape[0], 1)
    order = np.argsort(-share, kind="stable")[:MOST_DENSE]
    return np.asarray(order[share[order] >= DENSE])


def random_responses(
    reading: Reading, activations: Activations, corpus: sparse.csr_array, context: int | None
) -> Responses:
    """Random unit directions, as many as there are latents and active as often as those are on average."""
    x, _ = activations.inside(context or activations.tokens.shape[1])
    x = x[torch.linspace(0, len(x) - 1, min(CORPUS, len(x))).long()].float()
    share = corpus.nnz / max(corpus.shape[0] * corpus.shape[1], 1)
    made = random_directions(x, min(corpus.shape[1], MOST_RANDOM), min(share, 1.0), "decomposability.random")
    return respond(made.encode, "cpu", reading, encoded(made.encode, "cpu", x))
