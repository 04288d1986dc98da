"""Taking latents away from what a probe reads: planted dictionaries, and no further pass."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from saebench.catalogue.spec import SAESpec
from saebench.evidence.labels.labelled import labelled
from saebench.evidence.labels.perturbing import Perturbed, perturbed
from saebench.evidence.labels.readings import Plan, Readings
from saebench.metrics import probe_perturbation, spurious_correlation
from saebench.organism.labelled import LabelledSet
from saebench.record.score import Unscored
from saebench.saes.sae import LoadedSAE

torch.set_num_threads(1)
D, CLASSES, TEXTS = 16, 3, 120


class Rows:
    """An SAE that writes along given rows, with a latent for either side of each."""

    def __init__(self, directions: NDArray[np.float64], gain: float = 1.0) -> None:
        rows = torch.from_numpy(directions).float()
        self.W_dec = torch.cat([rows, -rows]) / gain
        self.read, self.gain = torch.linalg.pinv(rows), gain

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        read = x @ self.read
        return torch.cat([read, -read], dim=-1).clamp(min=0) * self.gain

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return latents @ self.W_dec


def loaded(source: object) -> LoadedSAE:
    return LoadedSAE(SAESpec(name="planted", loader="object", location="planted"), source, "planted", "cpu")


def of_classes() -> Readings:
    """Texts of three classes, each of which has a dimension of its own; sets of one class against the others."""
    rng = np.random.default_rng(0)
    sets, rows = [], []
    for own in range(CLASSES):
        classes = np.array([own if i % 2 == 0 else (own + 1 + (i // 2) % 2) % CLASSES for i in range(TEXTS)])
        x = 0.3 * rng.normal(size=(TEXTS, D))
        x[np.arange(TEXTS), classes] += 3.0
        sets.append(
            LabelledSet(f"q: {own}", tuple(f"{own} {i}" for i in range(TEXTS)), tuple(bool(c == own) for c in classes))
        )
        rows.append(x)
    x = torch.from_numpy(np.concatenate(rows)).float()
    plan = Plan("planted", tuple(sets), "last", groups=(tuple(one.name for one in sets),))
    return Readings(plan, x, np.arange(len(x)))


def of_pairs() -> Readings:
    """Texts of which two things are known, in a dimension each; what is not asked is the easier to see."""
    rng = np.random.default_rng(1)
    kinds = [(a, b) for a in (False, True) for b in (False, True)] * (TEXTS // 2)
    x = 0.3 * rng.normal(size=(len(kinds), D))
    x[:, 0] += [0.5 if a else -0.5 for a, _ in kinds]
    x[:, 1] += [0.7 if b else -0.7 for _, b in kinds]
    texts = tuple(str(i) for i in range(len(kinds)))
    one = LabelledSet("a x b", texts, tuple(a for a, _ in kinds), True, tuple(b for _, b in kinds))
    return Readings(Plan("planted", (one,), "last"), torch.from_numpy(x).float(), np.arange(len(kinds)))


def made(readings: Readings, directions: NDArray[np.float64], gain: float = 1.0) -> Perturbed:
    sae = loaded(Rows(directions, gain))
    return perturbed(sae, labelled(sae, readings, None))


def mixed() -> NDArray[np.float64]:
    """Directions of which each is of all dimensions."""
    return np.linalg.qr(np.random.default_rng(2).normal(size=(D, D)))[0]


def test_latents_of_one_class_each_change_that_class_alone() -> None:
    found = probe_perturbation.tpp(made(of_classes(), np.eye(D)), 1)
    assert found.value > 0.3
    assert found.value > found.floor + 0.2 if found.floor is not None else False
    useless = probe_perturbation.tpp(made(of_classes(), mixed()), 1)
    assert useless.value < 0.5 * found.value


def test_more_damage_is_less() -> None:
    def turned(share: float) -> NDArray[np.float64]:
        rows = (1 - share) * np.eye(D) + share * mixed()
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    found = [probe_perturbation.tpp(made(of_classes(), turned(share)), 1).value for share in (0.0, 0.4, 0.8)]
    assert found == sorted(found, reverse=True)


def test_nothing_depends_on_how_latents_are_scaled() -> None:
    one, other = (made(of_classes(), np.eye(D), gain) for gain in (1.0, 7.0))
    assert probe_perturbation.tpp(other, 2).value == pytest.approx(probe_perturbation.tpp(one, 2).value, abs=1e-6)
    one, other = (made(of_pairs(), np.eye(D), gain) for gain in (1.0, 7.0))
    assert spurious_correlation.scr(other, 2).value == pytest.approx(spurious_correlation.scr(one, 2).value, abs=1e-6)


def test_negatives_that_are_drawn_anew_add_noise_and_nothing_else() -> None:
    own = made(of_classes(), np.zeros((2, D)) + np.eye(D)[-2:])  # latents that no probe reads much of
    paired, redrawn = (probe_perturbation.tpp(own, 1, how) for how in ("paired", "redrawn"))  # type: ignore[arg-type]
    assert np.abs(paired.items["contribution"]).max() <= np.abs(redrawn.items["contribution"]).max()
    assert redrawn.value == pytest.approx(paired.value, abs=0.1)


def test_without_the_latent_of_what_was_learned_by_mistake_the_probe_is_right() -> None:
    found = spurious_correlation.scr(made(of_pairs(), np.eye(D)), 2)
    assert found.value > 0.5
    assert found.controls["accuracy_lacking"] > 0.1
    assert abs(found.floor or 0.0) < 0.3
    useless = spurious_correlation.scr(made(of_pairs(), mixed()), 2)
    assert useless.value < 0.5 * found.value


def test_latents_that_change_nothing_are_not_certain_to() -> None:
    own = made(of_pairs(), np.eye(D))
    silent = replace(own, dictionary=1e-9 * own.dictionary)
    found = spurious_correlation.scr(silent, 1)
    assert found.value == 0.0
    assert found.ci_low < 0.0 < found.ci_high


def test_what_cannot_be_asked_is_said() -> None:
    with pytest.raises(Unscored, match="no question of several classes"):
        probe_perturbation.tpp(made(of_pairs(), np.eye(D)), 1)
    with pytest.raises(Unscored, match="two things are known"):
        spurious_correlation.scr(made(of_classes(), np.eye(D)), 1)
    dead = made(of_classes(), np.eye(D))
    dead = replace(dead, labelled=replace(dead.labelled, latents=0 * dead.latents))
    dead.latents.eliminate_zeros()
    with pytest.raises(Unscored, match="no latent is active"):
        probe_perturbation.tpp(dead, 1)


class Normalised(Rows):
    """Its output has the norm of its input."""

    def restore(self, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return y * x.norm(dim=-1, keepdim=True)


def test_where_writing_depends_on_what_is_read_nothing_can_be_taken_away() -> None:
    readings = of_classes()
    sae = loaded(Normalised(np.eye(D)))
    with pytest.raises(Unscored, match="depends on the activation"):
        perturbed(sae, labelled(sae, readings, None))
