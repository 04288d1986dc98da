"""A phrase bank is data: of every feature its subcomponents, with phrases that are about each and never name the feature."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Int

MOST_PARTS = 5
"""Subcomponents of a feature: as many as Vikram N asks for."""
FEWEST_PARTS = 2
FEWEST_PHRASES = 3
"""Phrases of a subcomponent."""
FEWEST_NAMING = 4
"""Texts that name a feature: with fewer, too many latents tell them apart by chance."""

HIT = 0.1
"""Of a latent's 99th percentile, above which it counts as active on a text."""


@dataclass(frozen=True)
class Phrase:
    """A text that stands alone, and the subjects that it is about."""

    text: str
    about: tuple[str, ...]


@dataclass(frozen=True)
class Feature:
    """What a latent is said to be of."""

    name: str
    parts: dict[str, tuple[Phrase, ...]]
    """By the names of its subcomponents. No phrase names the feature."""
    about: tuple[str, ...]
    """Its subjects: what is about one of them is no control of its."""
    naming: tuple[str, ...] = ()
    """Texts that name it, on which its latent is chosen."""
    near: tuple[str, ...] = ()
    """Texts that only look like its phrases."""
    latent: int | None = None
    """Its latent's index, where that is given and not chosen."""
    description: str = ""


@dataclass(frozen=True)
class Bank:
    """Features with their phrases; texts stand in the order: phrases, near misses, texts that name."""

    name: str
    features: tuple[Feature, ...]

    @cached_property
    def digest(self) -> str:
        content = json.dumps([asdict(feature) for feature in self.features], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:8]

    @property
    def identity(self) -> str:
        """Its name in the identity of a score."""
        return f"phrases/{self.name}@{self.digest}/{len(self.features)}"

    @cached_property
    def phrases(self) -> tuple[Phrase, ...]:
        return tuple(phrase for feature in self.features for part in feature.parts.values() for phrase in part)

    @property
    def texts(self) -> list[str]:
        """All texts that are read."""
        return [*(phrase.text for phrase in self.phrases), *self._all("near"), *self._all("naming")]

    @cached_property
    def part_names(self) -> tuple[tuple[int, str], ...]:
        """(part,) index of the feature, and name of the subcomponent."""
        return tuple((i, name) for i, feature in enumerate(self.features) for name in feature.parts)

    @cached_property
    def part_of(self) -> Int[np.ndarray, " phrase"]:
        """(phrase,) index of the subcomponent that it is of, among those of all features."""
        sizes = [len(part) for feature in self.features for part in feature.parts.values()]
        return np.repeat(np.arange(len(sizes)), sizes)

    @cached_property
    def feature_of_part(self) -> Int[np.ndarray, " part"]:
        """(part,) index of its feature."""
        return np.array([feature for feature, _ in self.part_names], dtype=np.intp)

    @property
    def feature_of(self) -> Int[np.ndarray, " phrase"]:
        """(phrase,) index of its feature."""
        return np.asarray(self.feature_of_part[self.part_of])

    @cached_property
    def near_of(self) -> Int[np.ndarray, " near"]:
        """(near miss,) index of its feature."""
        return self._owners("near")

    @cached_property
    def naming_of(self) -> Int[np.ndarray, " naming"]:
        """(text that names,) index of its feature."""
        return self._owners("naming")

    @cached_property
    def apart(self) -> Bool[np.ndarray, "feature phrase"]:
        """(feature, phrase) whether the phrase is another feature's, and about none of this one's subjects."""
        subjects = {subject: i for i, subject in enumerate(sorted({s for p in self.phrases for s in p.about}))}
        has = np.zeros((len(self.phrases), len(subjects)), dtype=np.float32)
        has[_pairs([[subjects[s] for s in phrase.about] for phrase in self.phrases])] = 1
        of = np.zeros((len(self.features), len(subjects)), dtype=np.float32)
        of[_pairs([[subjects[s] for s in one.about if s in subjects] for one in self.features])] = 1
        other: Bool[np.ndarray, "feature phrase"] = np.arange(len(self.features))[:, None] != self.feature_of[None]
        return np.asarray((of @ has.T == 0) & other)

    def _all(self, kind: str) -> Iterator[str]:
        return (text for feature in self.features for text in getattr(feature, kind))

    def _owners(self, kind: str) -> Int[np.ndarray, " text"]:
        sizes = [len(getattr(feature, kind)) for feature in self.features]
        return np.repeat(np.arange(len(sizes)), sizes)


def _pairs(rows: list[list[int]]) -> tuple[Int[np.ndarray, " entry"], Int[np.ndarray, " entry"]]:
    """Rows and columns of what is listed for each row."""
    row = np.repeat(np.arange(len(rows)), [len(columns) for columns in rows])
    return row, np.array([column for columns in rows for column in columns], dtype=np.intp)
