"""SAEs trained on toys of co-occurring features, after Chanin et al. 2024 (arXiv 2409.14507), with sae-lens's generator.

A toy is made of families: a parent feature and its children, all orthogonal, the families independent of each other.
Since the loss of an SAE is a sum over orthogonal directions, families do not disturb each other, and one SAE that is
trained on families of several kinds says what an SAE for each would, for the price of one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import planted
import planted_words
import torch
from numpy.typing import NDArray
from sae_lens import StandardTrainingSAE, StandardTrainingSAEConfig
from sae_lens.synthetic import (
    ActivationGenerator,
    FeatureDictionary,
    HierarchyNode,
    hierarchy_modifier,
    train_toy_sae,
)
from torch import Tensor
from torch.nn.utils import parametrize

from saebench.evidence.words.concepts import ConceptSet, Plan
from saebench.evidence.words.readings import Readings
from saebench.evidence.words.study import Study, make_study
from saebench.evidence.words.vocabulary import Word, WordFilter
from saebench.metrics.absorption import suppression

torch.set_num_threads(1)
PARENT = 0.25
"""How often a parent is on."""
D = 50
BATCH = 512
SAMPLES = 12_000
"""That play words, after training."""
ALIVE = 0.2
"""Encoder biases start above zero: latents that are silent at the start stay so, and leave features unexplained."""

Change = Callable[[Tensor], Tensor]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Family:
    """A parent and its children, of which at most one is on."""

    together: float = 1.0
    """How often the parent is on where a child is; as often as elsewhere if this is PARENT."""
    noise: float = 0.0
    """Standard deviation of magnitudes, whose mean is 1."""
    share: float = 0.2
    """How often each child is on where the parent is."""
    children: int = 1


Toy = tuple[Family, ...]


@dataclass(frozen=True)
class Training:
    """How an SAE was trained; with `tied` it reads the directions that it writes, which are unit vectors."""

    l1: float
    seed: int = 0
    tied: bool = False
    steps: int = 1200


class Tied(StandardTrainingSAE):
    """Were decoder rows not unit vectors, a large one and a bias could do what an encoder of its own does."""

    def encode_with_hidden_pre(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.process_sae_in(x) @ self.W_dec.T + self.b_enc
        return self.activation_fn(hidden), hidden


class UnitRows(torch.nn.Module):
    def forward(self, rows: Tensor) -> Tensor:
        return torch.nn.functional.normalize(rows, dim=1)


@dataclass(frozen=True, eq=False)
class Trained:
    """An SAE, samples that it was not trained on, and what it makes of them."""

    toy: Toy
    sae: StandardTrainingSAE
    directions: Tensor
    """(feature, D) parent, its children, next parent, ..."""
    features: Tensor
    """(sample, feature)"""

    @cached_property
    def on(self) -> Bools:
        """(sample, feature)"""
        found: Bools = (self.features > 0).numpy()
        return found

    @cached_property
    def study(self) -> Study:
        """Samples play words, of which each is read once, and parents play concepts."""
        words = tuple(Word(f" {sample}", sample) for sample in range(len(self.features)))
        members = {
            f"parent{i}": frozenset(words[row].text.strip() for row in np.flatnonzero(self.on[:, parent]))
            for i, parent in enumerate(parents(self.toy))
        }
        plan = Plan(ConceptSet("toy", "{word} has {concept}", members), WordFilter(), prefixes=1)
        x = (self.features @ self.directions)[:, None]
        readings = Readings(plan, planted.HOOK, words, ((1,),), x)
        return make_study(planted.loaded(self.sae), readings, planted_words.probe_of(readings))

    def latent_of(self, feature: int) -> int:
        """Index of the latent whose direction is the most similar."""
        return int((self.study.decoder @ self.directions[feature]).argmax())

    def suppression(self, family: int) -> float:
        """By the first child of a family, of its parent's latent, by the pair of features that is known here."""
        parent = parents(self.toy)[family]
        main = self.study.columns[:, [self.latent_of(parent)]].toarray()[:, 0].astype(np.float64)
        children = self.on[:, parent + 1 : parent + 1 + self.toy[family].children]
        child, others = self.on[:, parent] & children[:, 0], self.on[:, parent] & ~children.any(axis=1)
        sums = {"main_child": main[child], "child": child, "main_others": main[others], "others": others}
        return float(
            suppression({name: np.array([values.sum()], dtype=np.float64) for name, values in sums.items()})[0]
        )

    def cosine(self, family: int) -> float:
        """Of what the latent of a family's first child writes with the parent."""
        parent = parents(self.toy)[family]
        return float(self.study.decoder[self.latent_of(parent + 1)] @ self.directions[parent])

    @torch.no_grad()
    def unexplained(self, family: int) -> float:
        """Fraction of the variance along a family's directions that is not reconstructed."""
        parent = parents(self.toy)[family]
        axes = self.directions[parent : parent + 1 + self.toy[family].children].T
        error, x = (self.sae(self.study.x) - self.study.x) @ axes, self.study.x @ axes
        return float(error.square().sum() / (x - x.mean(0)).square().sum())


def parents(toy: Toy) -> list[int]:
    """(family,) index of the parent's feature."""
    return [sum(1 + family.children for family in toy[:i]) for i in range(len(toy))]


@cache
def trained(toy: Toy, how: Training) -> Trained:
    """Everything random is seeded, and nothing outside is: the global state of torch is put back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(how.seed)
        made = generator(toy)
        dictionary = FeatureDictionary(made.num_features, D, seed=how.seed).requires_grad_(False)
        sae = fresh(made.num_features, how)
        train_toy_sae(
            sae, dictionary, made, training_samples=how.steps * BATCH, batch_size=BATCH, lr=3e-3,
            lr_decay_steps=how.steps // 5,
        )  # fmt: skip
        return Trained(toy, sae.eval(), dictionary.feature_vectors.detach(), made.sample(SAMPLES))


def fresh(width: int, how: Training) -> StandardTrainingSAE:
    """As wide as there are features: with more latents a feature could be split."""
    sae = (Tied if how.tied else StandardTrainingSAE)(
        StandardTrainingSAEConfig(d_in=D, d_sae=width, l1_coefficient=how.l1)
    )
    sae.b_enc.data += ALIVE
    if how.tied:
        parametrize.register_parametrization(sae, "W_dec", UnitRows())
    return sae


def generator(toy: Toy) -> ActivationGenerator:
    probabilities = [p for family in toy for p in (PARENT, *[family.share] * family.children)]
    noise = [family.noise for family in toy for _ in range(1 + family.children)]
    changes = [implied(family, parent) for family, parent in zip(toy, parents(toy), strict=True)]
    return ActivationGenerator(
        len(probabilities), torch.tensor(probabilities), torch.tensor(noise), modify_activations=changes
    )


def implied(family: Family, parent: int) -> Change:
    """Silence children whose parent is off, but in as many samples as leave it on in a share of `together`."""
    children = [HierarchyNode(parent + 1 + i) for i in range(family.children)]
    strict = hierarchy_modifier(HierarchyNode(parent, children, mutually_exclusive_children=len(children) > 1))
    free = (1 / family.together - 1) * PARENT / (1 - PARENT)

    def change(features: Tensor) -> Tensor:
        return torch.where(torch.rand(len(features), 1) < free, features, strict(features))

    return change
