"""Latents that another SAE has too are found in any order and at any scale, and those that it lacks are counted."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from saebench.metrics import dataset_shift as metric
from saebench.metrics.dataset_shift import Firing, dataset_features, missing
from saebench.record.score import Unscored

Floats = NDArray[np.float64]
TOKENS, LATENTS = 2000, 60


def planted(seed: int = 0, latents: int = LATENTS, share: float = 0.05) -> Floats:
    """(token, latent) activations that have nothing to do with one another."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random((TOKENS, latents)) < share, rng.exponential(size=(TOKENS, latents)) + 0.2, 0.0)


def firing(latents: Floats, elsewhere: Floats | float = 0.05) -> Firing:
    rates = np.broadcast_to(np.asarray(elsewhere, dtype=np.float64), latents.shape[1])
    return Firing(sparse.csr_array(latents.astype(np.float32)), rates)


def gone(own: Floats, other: Floats) -> list[int]:
    """Latents that are missing."""
    return np.flatnonzero(missing(firing(own), firing(other))).tolist()


def replaced(latents: Floats, share: float, seed: int = 5) -> Floats:
    """The last ones are others."""
    made, n = latents.copy(), round(share * latents.shape[1])
    if n:
        made[:, -n:] = planted(seed, n)
    return made


def permuted_and_rescaled(latents: Floats) -> Floats:
    rng = np.random.default_rng(3)
    changed: Floats = latents[:, rng.permutation(latents.shape[1])] * 10 ** rng.uniform(-3, 3, latents.shape[1])
    return changed


# Missing latents


def test_nothing_is_missing_in_the_same_sae() -> None:
    assert gone(planted(), planted()) == []


def test_order_and_scale_of_latents_do_not_matter() -> None:
    assert gone(planted(), permuted_and_rescaled(planted())) == []
    other = replaced(planted(), 0.3)
    assert gone(planted(), permuted_and_rescaled(other)) == gone(planted(), other)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_what_was_replaced_is_missing(share: float) -> None:
    n = round(share * LATENTS)
    assert gone(planted(), replaced(planted(), share)) == list(range(LATENTS - n, LATENTS))


def test_what_the_other_has_beside_does_not_matter() -> None:
    more = np.concatenate([planted(7, 40), planted(), planted(8, 3)], axis=1)
    assert gone(planted(), more) == []
    assert len(gone(more, planted())) == 43


def test_duplicates_are_all_found_and_one_is_enough() -> None:
    assert gone(np.repeat(planted(), 2, axis=1), planted()) == []
    assert gone(planted(), np.repeat(planted(), 2, axis=1)) == []


def test_dead_latents_are_missing_and_nothing_is_found_in_them() -> None:
    dead = np.concatenate([planted(), np.zeros((TOKENS, 3))], axis=1)
    assert gone(dead, dead) == [LATENTS, LATENTS + 1, LATENTS + 2]
    assert gone(planted(), np.zeros((TOKENS, 5))) == list(range(LATENTS))
    assert gone(planted(), dead) == []


@pytest.mark.parametrize("level", [1.0, 0.1, 3.7, 1234.567])
def test_a_latent_that_is_always_on_and_never_varies_is_found_in_none_that_does(level: float) -> None:
    """It has no correlation with anything, whatever rounding makes of it."""
    constant = np.full((TOKENS, 1), level)
    assert gone(constant, planted() + 5) == [0]
    assert gone(planted() + 5, constant) == list(range(LATENTS))
    assert gone(constant, np.full((TOKENS, 1), 0.3 * level)) in ([], [0])
    assert len(gone(planted(), np.full((TOKENS, 3), level))) == LATENTS


@pytest.mark.parametrize("tokens", [997, 1999, 2000])
def test_rounding_makes_no_constant_latent_like_a_dense_one(tokens: int) -> None:
    """Over many levels, since the sign of a rounding error is a matter of luck."""
    dense = (planted() + 50)[:tokens]
    levels = np.tile(np.random.default_rng(0).uniform(0.1, 100, 200), (tokens, 1))
    assert len(gone(levels, dense)) == 200
    assert len(gone(dense, levels)) == LATENTS


def test_latents_that_are_on_where_the_other_is_weak_are_not_the_same() -> None:
    own = planted(share=0.5)
    assert len(gone(own, own.max(axis=0) - own)) == LATENTS


def test_latents_that_are_on_where_the_other_is_off_are_not_the_same() -> None:
    own = (planted(share=0.5) > 0).astype(float)
    assert len(gone(own, 1 - own)) == LATENTS


def test_latents_of_opposite_sign_are_the_same() -> None:
    """An SAE may write any latent, and its decoder row, with both signs changed."""
    some = np.where(np.arange(LATENTS) % 3 == 0, -1.0, 1.0)
    assert gone(planted(), -planted()) == []
    assert gone(planted(), planted() * some) == gone(planted() * some, planted()) == []


def test_latents_that_are_never_on_together_are_missing() -> None:
    own, other = np.zeros((100, 1)), np.zeros((100, 1))
    own[:50], other[50:] = 1, 1
    assert gone(own, other) == [0]


@pytest.mark.parametrize(("correlation", "is_missing"), [(0.5, True), (0.65, True), (0.75, False), (0.95, False)])
def test_how_alike_two_latents_must_be(correlation: float, is_missing: bool) -> None:
    rng = np.random.default_rng(0)
    own = rng.standard_normal(20_000)
    other = correlation * own + (1 - correlation**2) ** 0.5 * rng.standard_normal(20_000)
    assert gone(np.maximum(own + 4, 0)[:, None], np.maximum(other + 4, 0)[:, None]) == ([0] if is_missing else [])


def test_correlations_are_those_of_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    a, noise = planted(1), planted(2)
    b = a + 0.8 * noise
    wanted = np.corrcoef(a.T.astype(np.float32), b.T.astype(np.float32))[:LATENTS, LATENTS:].max(axis=1)
    assert wanted.min() < 0.75 < wanted.max()
    for same in (0.6, 0.7, 0.75, 0.8):
        monkeypatch.setattr(metric, "SAME_CORRELATION", same)
        assert gone(a, b) == np.flatnonzero(wanted < same).tolist()


# Rates


def test_latents_fire_if_they_are_on_often_enough() -> None:
    latents = np.zeros((100, 4))
    for column, n in enumerate((0, 9, 10, 100)):
        latents[:n, column] = 1
    made = firing(latents)
    assert made.count.tolist() == [0, 9, 10, 100]
    assert made.rate.tolist() == [0, 0.09, 0.1, 1]
    assert made.fires.tolist() == [False, False, True, True]


def test_latents_are_specific_if_they_are_on_four_times_as_often() -> None:
    latents = np.zeros((100, 5))
    latents[:20] = 1
    latents[5:, 4] = 0
    assert firing(latents, np.array([0.0, 0.04, 0.06, 1.0, 0.0])).specific.tolist() == [True, True, False, False, False]


# The score


def of(share: float, seeds: float = 0.0, own: Firing | None = None, **more: Any) -> Any:
    """Score of an SAE of which another lacks a share, as seeds lack one of one another."""
    other = firing(replaced(planted(), share))
    twins = more.get("twins") or [firing(planted()), firing(replaced(planted(), seeds, seed=11))]
    return dataset_features(own or firing(planted()), more.get("without") or [other], twins)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_score_is_the_share_that_is_missing(share: float) -> None:
    estimate = of(share)
    assert estimate.value == pytest.approx(share)
    assert estimate.ci_low <= share <= estimate.ci_high
    assert (estimate.n, estimate.n_unit) == (LATENTS, "latent")
    assert estimate.floor == 0


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5])
def test_floor_is_what_seeds_lack_of_one_another(share: float) -> None:
    estimate = of(0.5, seeds=share)
    assert estimate.floor == pytest.approx(share)
    assert estimate.controls["floor"] == estimate.floor


def test_floor_counts_both_ways() -> None:
    """Of two seeds one has twice as many latents, half of which the other lacks."""
    wide = np.concatenate([planted(), planted(21)], axis=1)
    assert of(0.5, twins=[firing(planted()), firing(wide)]).floor == pytest.approx(0.25)


def test_score_is_the_mean_over_other_saes() -> None:
    others = [firing(replaced(planted(), share)) for share in (0.0, 0.5)]
    assert of(0, without=others).value == pytest.approx(0.25)


def test_score_does_not_depend_on_order_and_scale() -> None:
    one = of(0.3)
    other = of(0, own=firing(permuted_and_rescaled(planted())), without=[firing(replaced(planted(), 0.3))])
    assert other.value == pytest.approx(one.value)


def test_latents_that_do_not_fire_have_no_say() -> None:
    few = np.zeros((TOKENS, 30))
    few[:9] = planted(13, 30)[:9] + 1
    own = firing(np.concatenate([planted(), few, np.zeros((TOKENS, 5))], axis=1))
    estimate = of(0.25, own=own)
    assert estimate.value == pytest.approx(0.25)
    assert estimate.n == LATENTS
    assert estimate.items["latent"].tolist() == list(range(LATENTS))


def test_specific_latents_are_told_apart() -> None:
    """A quarter is missing, and the genre's own are all of those and as many others."""
    elsewhere = np.full(LATENTS, 0.05)
    elsewhere[-LATENTS // 2 :] = 0.001
    estimate = of(0.25, own=firing(planted(), elsewhere))
    assert estimate.controls["specific_latents"] == LATENTS // 2
    assert estimate.controls["specific"] == pytest.approx(0.5)
    assert estimate.items["specific"].sum() == LATENTS // 2
    assert "specific_floor" not in estimate.controls


def test_specific_latents_have_a_floor_of_their_own() -> None:
    elsewhere = np.full(LATENTS, 0.05)
    elsewhere[-LATENTS // 2 :] = 0.001
    twins = [firing(planted(), elsewhere), firing(replaced(planted(), 0.25, seed=11), elsewhere)]
    estimate = of(0.25, twins=twins)
    assert estimate.floor == pytest.approx(0.25)
    assert estimate.controls["specific_floor"] == pytest.approx(0.5)
    assert "specific" not in estimate.controls


def test_items_are_of_every_latent_that_fires() -> None:
    estimate = of(0.25)
    assert {len(values) for values in estimate.items.values()} == {LATENTS}
    assert estimate.items["numerator"].mean() == pytest.approx(estimate.value)


@pytest.mark.parametrize("latents", [0, 1, 19])
def test_too_few_latents_are_unscored(latents: int) -> None:
    own = firing(np.concatenate([planted(0, latents), np.zeros((TOKENS, 40))], axis=1))
    with pytest.raises(Unscored, match=f"^{latents} latents fire on the genre"):
        of(0.5, own=own)


def test_twenty_latents_are_enough() -> None:
    assert of(0.5, own=firing(planted()[:, :20])).n == 20


def test_without_other_saes_or_seeds_there_is_no_score() -> None:
    one = firing(planted())
    with pytest.raises(Unscored, match="0 SAEs of another seed"):
        dataset_features(one, [], [one, one])
    for seeds in ([], [one]):
        with pytest.raises(Unscored, match=f"{len(seeds)} seeds tell"):
            dataset_features(one, [one], seeds)


def test_a_seed_none_of_whose_latents_fires_makes_no_floor_that_is_no_number() -> None:
    silent = firing(np.zeros((TOKENS, LATENTS)))
    try:
        estimate = of(0.5, twins=[firing(planted()), silent])
    except Unscored:
        return
    assert estimate.floor is not None
    assert np.isfinite(estimate.floor)
