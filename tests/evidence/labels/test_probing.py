"""Probes of labelled sets: against scikit-learn, with what is planted in latents, and written in other ways."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted_labels import LATENTS, SETS, labelled, planted, readings
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score

from saebench.evidence.labels.layout import Layout, asked
from saebench.evidence.labels.logistic import logistic
from saebench.evidence.labels.parts import Part, parts
from saebench.evidence.labels.probing import Gram, choose, on_all
from saebench.evidence.labels.ranks import auc, f1
from saebench.evidence.labels.readings import Readings
from saebench.metrics import sparse_probing
from saebench.record.score import Unscored
from saebench.stats.statistics import repeated

torch.set_num_threads(1)


@pytest.mark.parametrize("strength", [1e-5, 1e-2, 1.0, 1e3])
def test_weights_are_those_of_scikit_learn(strength: float) -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(5, 80, 4)) * rng.uniform(0.2, 5, size=(5, 1, 4))
    y = (x.sum(2) + rng.normal(size=(5, 80)) > 0).astype(float)
    y[0] = x[0, :, 0] > 0  # told apart without an error
    counted = np.ones((5, 80))
    counted[3, 60:] = 0
    found = logistic(*map(torch.from_numpy, (x, y, counted)), torch.full((5,), strength))
    for i in range(5):
        there = counted[i] > 0
        oracle = LogisticRegression(C=strength, solver="newton-cholesky", tol=1e-10, max_iter=1000)
        oracle.fit(x[i][there], y[i][there])
        assert found[i].numpy() == pytest.approx([*oracle.coef_[0], *oracle.intercept_], rel=1e-4, abs=1e-4)


def test_auc_and_f1_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    said = np.round(rng.random((4, 50)), 1)  # with ties
    positive, counted = rng.random((4, 50)) < 0.4, rng.random((4, 50)) < 0.8
    for i in range(4):
        own, scores = positive[i][counted[i]], said[i][counted[i]]
        assert auc(said, positive, counted)[i] == pytest.approx(roc_auc_score(own, scores))
        assert f1(said, positive, counted)[i] == pytest.approx(f1_score(own, scores > 0.5, average="weighted"))


def test_a_probe_by_inner_products_is_the_one_on_all_dimensions() -> None:
    own = readings()
    layout = Layout.of(own, asked(own))
    by_gram = on_all(Gram(own.x), layout)
    learned = layout.mask(Part.TRAIN, Part.VALIDATION)
    for i in range(SETS):
        x, y = own.x.numpy()[layout.text[i]], layout.positive[i]
        candidates = [
            LogisticRegression(C=c, tol=1e-8, max_iter=1000).fit(x[learned[i]], y[learned[i]]).predict_proba(x)[:, 1]
            for c in (10.0, 1.0, 0.1, 0.01, 0.001)
        ]
        assert min(np.abs(by_gram.probability[i] - one).max() for one in candidates) < 1e-3


def test_texts_are_parted_alike_for_every_size() -> None:
    small, large = (parts(np.array([True, False] * n), "a set") for n in (60, 600))
    assert (small == large[:120]).all()
    assert {Part(p) for p in small} == {Part.TRAIN, Part.VALIDATION, Part.TEST}
    assert (parts(np.array([True, False] * 2000), "a set") != Part.TEST).sum() > 2 * 512
    assert np.isin(parts(np.array([True, False] * 2000), "a set"), (Part.TRAIN, Part.VALIDATION)).sum() == 1024
    with repeated(1):
        again = parts(np.array([True, False] * 60), "a set")
    assert (again != small).any()
    assert np.bincount(again).tolist() == np.bincount(small).tolist()


def test_the_latent_that_says_it_is_chosen_whatever_its_scale_sign_and_place() -> None:
    own = readings()
    dense = planted(own)
    layout = Layout.of(own, asked(own))
    for way in ("deviation", "published"):
        found = choose(labelled(own, dense).latents, layout, 1, way)  # type: ignore[arg-type]
        assert found[:, 0].tolist() == list(range(SETS))
    scale = np.random.default_rng(4).uniform(0.01, 100, LATENTS) * np.where(np.arange(LATENTS) % 2, 1, -1)
    one, other = (sparse_probing.auc(labelled(own, values), 2) for values in (dense, dense * scale))
    assert other.value == pytest.approx(one.value, abs=1e-9)
    order = np.random.default_rng(5).permutation(LATENTS)
    moved = sparse_probing.auc(labelled(own, np.pad(dense[:, order], ((0, 0), (0, 9)))), 2)
    assert moved.value == pytest.approx(one.value, abs=1e-9)


def test_the_published_choice_is_that_of_dense_tensors() -> None:
    """The class means of latents over their mean magnitude where they are active, on the texts that are learned from."""
    own = readings()
    dense = planted(own, 0.3) * np.random.default_rng(6).uniform(0.01, 100, LATENTS)
    layout = Layout.of(own, asked(own))
    found = choose(labelled(own, dense).latents, layout, 5, "published")
    for i in range(SETS):
        learned = layout.mask(Part.TRAIN, Part.VALIDATION)[i]
        x, y = dense[layout.text[i, learned]], layout.positive[i, learned]
        scaled = x / (np.abs(x).sum(0) / np.maximum((x != 0).sum(0), 1))
        apart = np.abs(scaled[y].mean(0) - scaled[~y].mean(0))
        assert found[i].tolist() == np.argsort(-apart)[:5].tolist()


def test_the_truth_is_at_the_ceiling_and_chance_at_the_floor() -> None:
    own = readings()
    noise = planted(own, 0.0)
    oracle, useless = (sparse_probing.auc(labelled(own, values, noise), 1) for values in (planted(own), noise))
    assert oracle.value == 1.0
    assert oracle.ci_low < 1.0  # sets that were not seen may be harder
    assert useless.value == pytest.approx(0.5, abs=0.06)
    assert oracle.floor == pytest.approx(0.5, abs=0.1)
    assert oracle.ceiling == pytest.approx(0.92, abs=0.06)  # two normals, two deviations apart
    assert sparse_probing.weighted_f1(labelled(own, planted(own), noise), 1).value == 1.0
    assert sparse_probing.auc_all(labelled(own, planted(own), noise)).value > 0.97
    assert (
        sparse_probing.gap(labelled(own, planted(own), noise)).ci_high
        < 0
        < sparse_probing.gap(labelled(own, noise, noise)).ci_low
    )


def test_what_a_latent_misses_is_lost_in_proportion() -> None:
    own = readings()
    found = [sparse_probing.auc(labelled(own, planted(own, share)), 1).value for share in (0.0, 0.3, 0.6, 1.0)]
    assert found == sorted(found)
    assert found[2] == pytest.approx(0.8, abs=0.05)  # the other half of its texts are ties


def test_dead_latents_say_nothing_and_are_no_number() -> None:
    own = readings()
    dead = labelled(own, np.zeros((len(own.set_of), LATENTS)))
    for metric in (
        lambda: sparse_probing.auc(dead, 1),
        lambda: sparse_probing.auc_all(dead),
        lambda: sparse_probing.gap(dead),
    ):
        with pytest.raises(Unscored, match="no latent is active"):
            metric()
    constant = sparse_probing.auc(labelled(own, np.ones((len(own.set_of), LATENTS))), 5)
    assert constant.value == pytest.approx(0.5)


def test_a_set_that_others_are_learned_for_is_only_asked() -> None:
    own = readings(transfer=(("set 0", "set 1"), ("set 2", "set 3")))
    apart = tuple(replace(one, apart=i in (1, 3)) for i, one in enumerate(own.plan.sets))
    own = Readings(replace(own.plan, sets=apart), own.x, own.text_of)
    dense = planted(own)
    dense[:, 0] = own.positive & (own.set_of < 2)  # says it in both sets
    dense[:, 2] = own.positive & (own.set_of != 3)
    dense[own.set_of == 3, 3] = 0.0
    found = sparse_probing.transfer(labelled(own, dense))
    assert found.items["item"].tolist() == ["set 0", "set 2"]
    assert found.items["contribution"][0] == 1.0
    assert found.items["contribution"][1] < found.controls["at home"] == 1.0
    assert sparse_probing.auc(labelled(own, dense), 1).n == 4
    with pytest.raises(Unscored, match="fewer than two pairs"):
        sparse_probing.transfer(labelled(readings(), dense))


def test_a_set_at_which_no_latent_is_on_is_told_by_chance() -> None:
    own = readings()
    dense = planted(own)
    dense[own.set_of == 2] = 0.0
    found = sparse_probing.gap(labelled(own, dense))
    assert found.items["all"][2] == 0.5
    assert (np.delete(found.items["all"], 2) > 0.8).all()
    assert np.isfinite(sparse_probing.auc(labelled(own, dense), 2).value)
