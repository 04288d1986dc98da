"""The latents of a bank's features at phrases of all features, beside those of useless ones."""

from dataclasses import dataclass, replace

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


def decompose(
    sae: LoadedSAE, reading: Reading, activations: Activations, corpus: sparse.csr_array | None
) -> Decomposed:
    """Find the latents of a bank's features; `corpus` (token, latent) is what they do on texts.

    Raises Unscored for an SAE of another width, and for latents that are too dense to be kept or that do not exist.
    """
    if sae.spec.d_in not in (None, reading.x.shape[1]):
        raise Unscored(f"the SAE reads {sae.spec.d_in} dimensions, the model has {reading.x.shape[1]}", broken=True)
    if corpus is None:
        raise Unscored("the latents are too dense to be kept")
    found = respond(sae.encode, sae.device, reading, corpus)
    return held(found, reading, corpus, random_responses(reading, activations, corpus, sae.spec.context_size))


def held(found: Responses, reading: Reading, corpus: sparse.csr_array, random: Responses) -> Decomposed:
    """The responses of an SAE beside those of random directions."""
    latent, f1 = chosen(found)
    feature = np.flatnonzero((f1 >= FOUND) & np.isin(latent, found.alive))
    return Decomposed(
        reading.bank, feature, latent[feature], f1[feature], found.at_phrases(latent[feature]),
        found.at_near(latent[feature]), _at_random(random, feature), found.at_phrases(dense_latents(corpus)),
        reading.matched, len(reading.bank.features), float((random.choice[1] >= FOUND).mean()),
    )  # fmt: skip


def explained_by(
    found: Decomposed, responses: Responses, random: Responses,
    latent: Int[np.ndarray, " latent"], feature: Int[np.ndarray, " latent"], asked: int,
) -> Decomposed:  # fmt: skip
    """The same of latents whose features were named by somebody who was shown what they are active on."""
    kept = np.isin(latent, responses.alive)
    latent, feature = latent[kept], feature[kept]
    return replace(
        found, feature=feature, latent=latent, f1=np.ones(len(latent)), own=responses.at_phrases(latent),
        near=responses.at_near(latent), random=_at_random(random, feature), asked=asked,
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


def _at_random(random: Responses, feature: Int[np.ndarray, " latent"]) -> Float[np.ndarray, "latent phrase"]:
    """Where no direction is active on a feature's naming texts, it is on none of its phrases either."""
    latent = random.choice[0][feature]
    return np.where(latent[:, None] >= 0, random.at_phrases(latent), 0.0)
