"""A score counts only beyond the best control, whose luck is in the interval; entropies compare like with like."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import planted
import planted_words as words
import pytest
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from saebench.evidence.token_entropy import ACTIVATIONS, FEWEST_LATENTS, entropies
from saebench.evidence.trace import Trace
from saebench.evidence.words.detectors import Detectors, find_detectors
from saebench.evidence.words.study import Study, random_control
from saebench.making.controls import pca, random_directions
from saebench.making.like import Like
from saebench.metrics import marginal_structure as metric
from saebench.metrics.marginal_structure import QUANTITIES, Control, share
from saebench.record.score import Estimate, Unscored
from saebench.stats.statistics import RESAMPLES

torch.set_num_threads(1)
Floats = NDArray[np.float64]


# The share


def resampled(value: float, spread: float = 0.0, seed: int = 0) -> Floats:
    draws = np.random.default_rng(seed).standard_normal(RESAMPLES)
    return np.concatenate([[value], value + spread * draws])


def of_share(own: Floats, *controls: Floats | Unscored, higher: bool = True, ceiling: float | None = None) -> Estimate:
    named = {f"c{i}": values for i, values in enumerate(controls)}
    limit = float(higher) if ceiling is None else ceiling
    return share(own, named, limit, n=24, n_unit="document", higher=higher)


@pytest.mark.parametrize(
    ("own", "control", "higher", "wanted"),
    [
        (0.4, 0.4, True, 0.0),
        (1.0, 0.4, True, 1.0),
        (0.7, 0.4, True, 0.5),
        (0.1, 0.4, True, -0.5),
        (1.3, 0.4, True, 1.5),
        (0.4, 0.4, False, 0.0),
        (0.0, 0.4, False, 1.0),
        (0.1, 0.4, False, 0.75),
        (0.6, 0.4, False, -0.5),
        (-0.1, 0.4, False, 1.25),
    ],
)
def test_share_is_how_far_a_score_is_from_the_control_to_the_ceiling(
    own: float, control: float, higher: bool, wanted: float
) -> None:
    estimate = of_share(resampled(own), resampled(control), higher=higher)
    assert estimate.value == pytest.approx(wanted)
    assert estimate.ci_low == pytest.approx(wanted)
    assert estimate.ci_high == pytest.approx(wanted)
    assert (estimate.floor, estimate.ceiling, estimate.n, estimate.n_unit) == (0, 1, 24, "document")
    assert estimate.controls["score"] == own
    assert estimate.controls["best_control"] == control


@pytest.mark.parametrize("higher", [True, False])
def test_the_best_control_counts(higher: bool) -> None:
    found = of_share(resampled(0.5), resampled(0.2), resampled(0.8), resampled(0.4), higher=higher)
    best = 0.8 if higher else 0.2
    assert found.controls["best_control"] == best
    assert found.value == pytest.approx((0.5 - best) / (higher - best))
    assert {found.controls[f"c{i}"] for i in range(3)} == {0.2, 0.8, 0.4}


@pytest.mark.parametrize("higher", [True, False])
def test_a_control_is_not_better_than_itself(higher: bool) -> None:
    values = resampled(0.4, 0.1)
    estimate = of_share(values, values, higher=higher)
    assert (estimate.value, estimate.ci_low, estimate.ci_high) == (0, 0, 0)


@pytest.mark.parametrize("higher", [True, False])
def test_the_best_of_many_equal_controls_is_lucky_and_the_interval_knows(higher: bool) -> None:
    """Of controls that are all as good as the SAE one is better by chance: the score is low, and may be too low."""
    own, many = resampled(0.5, 0.05, seed=99), [resampled(0.5, 0.05, seed=i) for i in range(20)]
    estimates = [of_share(own, *many[:n], higher=higher) for n in (1, 5, 20)]
    highs, lows = ([getattr(estimate, end) for estimate in estimates] for end in ("ci_high", "ci_low"))
    assert highs == sorted(highs)
    assert len(set(highs)) == 3
    assert lows == sorted(lows, reverse=True)
    assert (lows[0] + highs[0]) / 2 == pytest.approx(0, abs=0.06)


def test_the_best_control_is_not_chosen_once_for_all_resamples() -> None:
    """One that is worse here and better in other resamples: nobody knows that the first is the best."""
    own, noise = np.full(RESAMPLES + 1, 0.4), resampled(0.0, 0.05)
    alone, both = of_share(own, 0.3 + noise), of_share(own, 0.3 + noise, 0.29 - noise)
    assert both.value == alone.value
    assert both.ci_high > alone.ci_high + 0.005


def test_controls_without_a_score_are_left_out_of_the_maximum() -> None:
    estimate = of_share(resampled(0.7), Unscored("it is denser"), resampled(0.4))
    assert estimate.value == pytest.approx(0.5)
    assert "c0" not in estimate.controls


def test_without_a_control_there_is_no_share() -> None:
    with pytest.raises(Unscored, match="no control has a score: there is none"):
        of_share(resampled(0.7))
    with pytest.raises(Unscored, match=r"c0: it is denser; c1: it is broken"):
        of_share(resampled(0.7), Unscored("it is denser"), Unscored("it is broken"))


@pytest.mark.parametrize("higher", [True, False])
@pytest.mark.parametrize(("below", "spread"), [(0.0, 0.0), (0.05, 0.05), (-0.1, 0.0)])
def test_a_control_at_the_ceiling_leaves_no_room(below: float, spread: float, higher: bool) -> None:
    control = resampled(1 - below if higher else below, spread)
    with pytest.raises(Unscored, match=r"within noise c1 reaches the ceiling, [01]:"):
        of_share(resampled(0.5, 0.05, seed=1), resampled(0.5), control, higher=higher)


def test_a_control_that_is_clearly_below_the_ceiling_leaves_room() -> None:
    assert of_share(resampled(0.95), resampled(0.9, 0.02)).ci_low > 0


def test_scores_and_controls_that_are_no_numbers_are_told_from_those_at_the_ceiling() -> None:
    nothing = np.full(RESAMPLES + 1, np.nan)
    with pytest.raises(Unscored, match="not defined"):
        of_share(nothing, resampled(0.4))


def test_a_few_resamples_that_are_no_numbers_do_no_harm() -> None:
    own, control = resampled(0.7, 0.01), resampled(0.4, 0.01, seed=1)
    own[5:50], control[100:150] = np.nan, np.nan
    estimate = of_share(own, control)
    assert estimate.value == pytest.approx(0.5)
    assert estimate.ci_low < 0.5 < estimate.ci_high


# Of traces


def forbidden() -> Any:
    raise AssertionError("this control should not be asked")


def as_control(trace: Trace, *, trained: bool = True, of_model: bool = False) -> Control:
    return Control(lambda: trace, lambda: trace, forbidden, trained=trained, of_model=of_model)


def missing(reason: str, *, trained: bool = True) -> Control:
    def make() -> Trace:
        raise Unscored(reason)

    return Control(make, make, forbidden, trained=trained, of_model=False)


def per_document(value: float, seed: int, spread: float = 0.1, documents: int = 24) -> Tensor:
    noise = torch.randn(documents, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return value * (1 + spread * noise)


def as_good_as(share: float, documents: int = 24, seed: int = 3, **more: Any) -> Trace:
    """A trace that has lost this share of everything: 0 is perfect, 1 the mean in place of the activation."""
    jitter = per_document(1.0, seed, documents=documents)
    values = {
        "signal": jitter, "error": share * jitter, "product": (1 - share) * jitter, "output": (1 - share) * jitter,
        "kl": 3 * share * jitter, "ce": 2 + 3 * share * jitter, "clean_ce": 2.0, "zero_ce": 2 + 4 * jitter,
        "mean_ce": 2 + 3 * jitter,
    }  # fmt: skip
    return planted.make_trace(documents, **values | more)


@pytest.mark.parametrize("name", QUANTITIES)
def test_an_sae_is_not_better_than_itself(name: str) -> None:
    own = planted.make_trace(kl=per_document(0.1, 1) * torch.linspace(0.5, 2, 96), error=per_document(0.1, 2) * torch.linspace(0.5, 2, 96))  # fmt: skip
    estimate = metric.of_trace(name, own, {"itself": as_control(own)})
    assert (estimate.value, estimate.ci_low, estimate.ci_high) == (0, 0, 0)


@pytest.mark.parametrize("name", ["fvu", "kl", "ce_increase", "recovered_zero", "recovered_mean"])
@pytest.mark.parametrize("lost", [0.0, 0.1, 0.3, 0.6, 0.9])
def test_share_follows_the_dose_whatever_the_quantity(name: str, lost: float) -> None:
    """Everything that is lost in proportion gives the same share, by whatever it is measured."""
    estimate = metric.of_trace(name, as_good_as(lost), {"c": as_control(as_good_as(0.6))})
    assert estimate.value == pytest.approx(1 - lost / 0.6, abs=1e-6)
    assert estimate.ci_low == pytest.approx(estimate.value, abs=1e-6)


def test_cosines_follow_the_dose_too() -> None:
    values = [metric.of_trace("cosine", as_good_as(x), {"c": as_control(as_good_as(0.6))}).value for x in (0, 0.3, 0.9)]
    assert values == sorted(values, reverse=True)
    assert values[0] == pytest.approx(1)
    assert values[-1] < 0


@pytest.mark.parametrize("name", ["kl_retention", "fvu_retention"])
def test_retention_is_compared_too(name: str) -> None:
    """A control that loses half beyond its context, and an SAE that loses a fifth."""

    def losing(factor: float) -> Trace:
        ramp = torch.where(torch.arange(96) < 32, 1.0, 1 / factor)
        return planted.make_trace(kl=0.1 * ramp, error=0.1 * ramp)

    estimate = metric.of_trace(name, losing(0.8), {"c": as_control(losing(0.5))})
    assert estimate.value == pytest.approx(0.6)
    assert estimate.controls["best_control"] == pytest.approx(0.5)


@pytest.mark.parametrize("name", QUANTITIES)
def test_the_first_resample_is_the_score_itself(name: str) -> None:
    own = planted.make_trace(kl=per_document(0.1, 1), error=per_document(0.1, 2))
    assert QUANTITIES[name].resampled(own)[0] == pytest.approx(QUANTITIES[name].of(own).value)
    assert len(QUANTITIES[name].resampled(own)) == 1 + RESAMPLES


@pytest.mark.parametrize("name", ["fvu", "cosine", "kl", "recovered_mean"])
def test_documents_are_drawn_alike_for_sae_and_control(name: str) -> None:
    """Documents that are hard for both widen neither; those that are hard for one do."""
    hard = per_document(1, 5, spread=0.4).abs()
    together = metric.of_trace(name, as_good_as(0.2 * hard), {"c": as_control(as_good_as(0.5 * hard))})  # type: ignore[arg-type]
    other = per_document(1, 6, spread=0.4).abs()
    apart = metric.of_trace(name, as_good_as(0.2 * hard), {"c": as_control(as_good_as(0.5 * other))})  # type: ignore[arg-type]
    assert together.ci_high - together.ci_low < 0.3 * (apart.ci_high - apart.ci_low)


@pytest.mark.parametrize("name", ["fvu", "cosine"])
def test_random_models_compete_where_a_quantity_means_the_same_in_them(name: str) -> None:
    controls = {"c": as_control(as_good_as(0.6)), "model": as_control(as_good_as(0.3), of_model=True)}
    estimate = metric.of_trace(name, as_good_as(0.3), controls)
    assert estimate.value == pytest.approx(0)
    assert "model" in estimate.controls


@pytest.mark.parametrize("name", sorted(set(QUANTITIES) - {"fvu", "cosine"}))
def test_random_models_do_not_compete_for_what_a_model_predicts(name: str) -> None:
    model = Control(forbidden, forbidden, forbidden, trained=True, of_model=True)
    ramp = torch.where(torch.arange(96) < 32, 1.0, 2.0)
    poor = planted.make_trace(kl=0.2 * ramp, error=0.2 * ramp, ce=2.5)
    estimate = metric.of_trace(name, planted.make_trace(), {"c": as_control(poor), "model": model})
    assert "model" not in estimate.controls
    with pytest.raises(Unscored, match="no trained control"):
        metric.of_trace(name, planted.make_trace(), {"model": model})


@pytest.mark.parametrize(("active", "competes"), [(1.0, True), (8.0, True), (8.7, True), (8.9, False), (200.0, False)])
def test_controls_compete_if_they_are_as_sparse(active: float, competes: bool) -> None:
    controls = {"c": as_control(as_good_as(0.6)), "rival": as_control(as_good_as(0.3, l0=active))}
    estimate = metric.of_trace("fvu", as_good_as(0.3, l0=8.0), controls)
    assert estimate.value == pytest.approx(0 if competes else 0.5)
    assert ("rival" in estimate.controls) == competes


def test_a_denser_control_says_why_it_is_left_out() -> None:
    with pytest.raises(Unscored, match="rival: it has 20 active latents, the SAE 8"):
        metric.of_trace("fvu", as_good_as(0.3, l0=8.0), {"rival": as_control(as_good_as(0.3, l0=20.0))})


def test_one_control_at_least_must_be_trained() -> None:
    easy = {"random": as_control(as_good_as(0.8), trained=False)}
    with pytest.raises(Unscored, match="no trained control has a score: there is none"):
        metric.of_trace("fvu", as_good_as(0.3), easy)
    with pytest.raises(Unscored, match="no trained control has a score: frozen: too large"):
        metric.of_trace("fvu", as_good_as(0.3), {**easy, "frozen": missing("too large")})
    both = {**easy, "frozen": as_control(as_good_as(0.9)), "soft_frozen": missing("too large")}
    assert metric.of_trace("fvu", as_good_as(0.4), both).value == pytest.approx(0.5)


def test_what_is_no_reason_to_be_left_out_is_raised() -> None:
    with pytest.raises(AssertionError):
        metric.of_trace(
            "fvu", as_good_as(0.3), {"c": Control(forbidden, forbidden, forbidden, trained=True, of_model=False)}
        )


def test_controls_that_are_easily_beaten_are_not_asked_where_no_other_has_a_score() -> None:
    random = Control(forbidden, forbidden, forbidden, trained=False, of_model=False)
    with pytest.raises(Unscored, match="no trained control has a score: frozen: too dear"):
        metric.of_trace("fvu", as_good_as(0.3), {"random_l0": random, "frozen": missing("too dear")})


def test_an_sae_without_a_score_has_no_share_of_it() -> None:
    with pytest.raises(Unscored, match="the context that the SAE was trained on is unknown"):
        metric.of_trace("kl_retention", planted.make_trace(context_known=False), {"c": as_control(as_good_as(0.1))})


def test_a_perfect_control_leaves_no_room() -> None:
    with pytest.raises(Unscored, match="reaches the ceiling"):
        metric.of_trace("fvu", as_good_as(0.3), {"perfect": as_control(as_good_as(0.0))})


def test_a_dead_sae_has_no_rival() -> None:
    dead = as_good_as(1.0, l0=0.0, output=torch.tensor(0.0), product=torch.tensor(0.0))
    with pytest.raises(Unscored, match="no trained control has a score"):
        metric.of_trace("fvu", dead, {"c": as_control(as_good_as(0.6))})


def test_intervals_of_equals_contain_nothing_about_as_often_as_they_say() -> None:
    """SAE and control whose documents are drawn from the same: with one control the interval is an honest one."""
    covered = 0
    for seed in range(60):
        own, other = (per_document(0.5, 2 * seed + i, spread=0.3, documents=40) for i in (0, 1))
        traces = [planted.make_trace(40, error=error, signal=1.0) for error in (own, other)]
        estimate = metric.of_trace("fvu", traces[0], {"c": as_control(traces[1])})
        covered += estimate.ci_low <= 0 <= estimate.ci_high
    assert covered >= 53


@cache
def random_trace(seed: int) -> Trace:
    x = planted.activations().residual[:, 1:].flatten(0, 1)
    return planted.traced(random_directions(x, 256, 12 / 256, f"init {seed}").fitted(x))


@pytest.mark.parametrize("name", ["fvu", "cosine", "kl"])
def test_random_inits_are_alike(name: str) -> None:
    """Each against another: their difference is of no sign, though larger than documents alone would have it."""
    found = [metric.of_trace(name, random_trace(i), {"c": as_control(random_trace(i + 1))}) for i in range(6)]
    values = np.array([estimate.value for estimate in found])
    assert np.abs(values).max() < 0.2
    assert abs(values.mean()) < 2 * values.std() / 5**0.5
    assert any(estimate.ci_low <= 0 <= estimate.ci_high for estimate in found)


@pytest.mark.parametrize("name", ["fvu", "cosine"])
def test_a_random_init_is_not_clearly_better_than_the_best_of_several(name: str) -> None:
    for i in range(6):
        others = {str(j): as_control(random_trace(j)) for j in range(6) if j != i}
        estimate = metric.of_trace(name, random_trace(i), others)
        assert estimate.ci_low < 0.05
        assert estimate.value < 0.1


def test_what_knows_the_activations_is_better_than_random_inits() -> None:
    x = planted.activations().residual[:, 1:].flatten(0, 1)
    components = planted.traced(pca(Like(planted.loaded(planted.identity()), x, 256, 12.0)))
    estimate = metric.of_trace("fvu", components, {str(i): as_control(random_trace(i)) for i in range(3)})
    assert estimate.ci_low > 0.3


# Of words


@cache
def of_words() -> tuple[Study, Detectors]:
    study = words.study_of(words.world(), words.absorbing(words.world(), 1.0))
    return study, find_detectors(study)


@cache
def random_words() -> tuple[Study, Detectors]:
    study = random_control(of_words()[0])
    return study, find_detectors(study)


def of_study(found: Callable[[], tuple[Study, Detectors]], **facts: Any) -> Control:
    return Control(forbidden, forbidden, found, **{"trained": True, "of_model": False} | facts)


F1S = [metric.first_letter_f1, metric.k_sparse_f1]


@pytest.mark.parametrize("score", F1S)
def test_words_of_an_sae_are_no_better_than_its_own(score: Callable[..., Estimate]) -> None:
    estimate = score(*random_words(), {"itself": of_study(random_words)})
    assert (estimate.value, estimate.ci_low, estimate.ci_high) == (0, 0, 0)


@pytest.mark.parametrize("score", F1S)
def test_detectors_are_better_than_those_of_random_directions(score: Callable[..., Estimate]) -> None:
    above = score(*of_words(), {"random": of_study(random_words)})
    assert 0 < above.ci_low <= above.value <= 1
    assert above.n_unit == "concept"
    if above.value < 1:
        try:
            assert score(*random_words(), {"real": of_study(of_words)}).value < 0
        except Unscored as unscored:
            assert "ceiling" in unscored.reason  # noqa: PT017


def test_a_control_with_the_saes_own_latents_is_not_asked_what_it_detects() -> None:
    permuted = of_study(forbidden, trained=False, decoder_only=True)
    estimate = metric.first_letter_f1(*of_words(), {"permuted": permuted, "random": of_study(random_words)})
    assert "permuted" not in estimate.controls


def test_words_need_a_trained_control_too() -> None:
    with pytest.raises(Unscored, match="no trained control has a score"):
        metric.first_letter_f1(*of_words(), {"random": of_study(random_words, trained=False)})


def test_random_models_compete_for_words() -> None:
    controls = {"model": of_study(random_words, of_model=True)}
    assert "model" in metric.first_letter_f1(*of_words(), controls).controls


# Token entropy


def spread_over(kinds: NDArray[np.int_] | list[int], fires: int = 400, seed: int = 0, strength: float = 0.0) -> Trace:
    """Latents that are on at `fires` random tokens of as many kinds each; kinds are not shared."""
    rng = np.random.default_rng(seed)
    columns = [(latent, rng.integers(0, k, fires)) for latent, k in enumerate(kinds)]
    tokens = np.concatenate([1000 * latent + drawn for latent, drawn in columns])
    owner = np.repeat(np.arange(len(kinds)), fires)
    value = rng.exponential(size=len(tokens)) * strength + 1
    return of_entries(tokens, owner, value, len(kinds))


def of_entries(tokens: NDArray[np.int_], latent: NDArray[np.int_], value: Floats, d_sae: int) -> Trace:
    """Every entry at a token of its own."""
    matrix = sparse.csr_array((value.astype(np.float32), (np.arange(len(tokens)), latent)), shape=(len(tokens), d_sae))
    return planted.make_trace(latents=matrix, tokens=torch.from_numpy(tokens))


def test_a_latent_for_one_token_has_no_entropy() -> None:
    assert entropies(spread_over([1] * 30)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("k", [2, 4, 8])
def test_a_latent_for_some_tokens_has_nearly_the_logarithm_of_their_number(k: int) -> None:
    """A little less, since it is that of a sample: by about (k - 1) / 2n."""
    found = entropies(spread_over([k] * 40))
    assert float(found.mean()) == pytest.approx(np.log(k) - (k - 1) / (2 * ACTIVATIONS), abs=0.02)
    assert found.max() <= np.log(k)


def test_a_latent_for_all_tokens_has_the_logarithm_of_what_is_drawn() -> None:
    columns = np.arange(30 * 200)
    found = entropies(of_entries(columns, columns % 30, np.ones(len(columns)), 30))
    assert found == pytest.approx(np.log(ACTIVATIONS))


def test_entropy_is_of_activation_and_not_of_occurrence() -> None:
    """Two tokens as often, one of them nine times as strongly."""
    tokens, latent = np.tile([0, 1], 30 * 25), np.repeat(np.arange(30), 50)
    found = entropies(of_entries(tokens, latent, np.where(tokens == 0, 9.0, 1.0), 30))
    assert found == pytest.approx(-0.9 * np.log(0.9) - 0.1 * np.log(0.1))


@pytest.mark.parametrize("k", [4, 40, 1000])
def test_entropy_does_not_grow_with_how_often_a_latent_is_on(k: int) -> None:
    """That of all activations would: by up to a nat and more where tokens are many."""
    means = [float(entropies(spread_over([k] * 60, fires, seed=fires)).mean()) for fires in (50, 60, 200, 2000)]
    assert max(means) - min(means) < 0.03


def test_entropy_of_exactly_enough_activations_is_exact() -> None:
    trace = spread_over([5] * 25, ACTIVATIONS, strength=1.0)
    assert trace.latents is not None
    dense, tokens = trace.latents.toarray().astype(np.float64), trace.tokens.numpy()
    for latent, found in enumerate(entropies(trace)):
        mass = np.bincount(tokens, weights=dense[:, latent])
        p = mass[mass > 0] / mass.sum()
        assert found == pytest.approx(float(-(p * np.log(p)).sum()))


def changed(trace: Trace, change: Callable[[sparse.csr_array], Any]) -> Trace:
    assert trace.latents is not None
    made = sparse.csr_array(change(trace.latents)).sorted_indices()
    return planted.make_trace(latents=made, tokens=trace.tokens)


def test_entropy_does_not_depend_on_scale_or_sign() -> None:
    trace = spread_over([1, 3, 9, 27] * 10, strength=1.0)
    factors = np.logspace(-3, 3, 40) * np.resize([1, -1], 40)
    other = changed(trace, lambda latents: latents @ sparse.diags_array(factors))
    assert entropies(other) == pytest.approx(entropies(trace), rel=1e-5)


def overlapping() -> Trace:
    """Latents of 200 tokens that are on at the same time."""
    rng = np.random.default_rng(0)
    dense = np.where(rng.random((6000, 40)) < 0.05, 1 + rng.random((6000, 40)), 0.0)
    tokens = torch.from_numpy(rng.integers(0, 200, 6000))
    return planted.make_trace(latents=sparse.csr_array(dense.astype(np.float32)), tokens=tokens)


def test_entropy_does_not_depend_on_the_order_of_latents() -> None:
    trace, order = overlapping(), np.random.default_rng(1).permutation(40)
    other = changed(trace, lambda latents: latents[:, order])
    assert entropies(other) == pytest.approx(entropies(trace)[order], rel=1e-9)


def test_entropy_does_not_depend_on_other_latents() -> None:
    trace = overlapping()
    half = changed(trace, lambda latents: latents[:, :25])
    assert entropies(half) == pytest.approx(entropies(trace)[:25], rel=1e-9)


def test_dead_and_rare_latents_have_no_entropy() -> None:
    trace = spread_over([3] * 30)
    rare = sparse.csr_array((np.ones(49, np.float32), (np.arange(49), np.zeros(49, int))), shape=(30 * 400, 1))
    dead = sparse.csr_array((30 * 400, 4), dtype=np.float32)
    other = changed(trace, lambda latents: sparse.hstack([latents, dead, rare, dead]))
    assert len(entropies(other)) == 30
    assert float(entropies(other).mean()) == pytest.approx(float(entropies(trace).mean()), abs=0.02)


@pytest.mark.parametrize("latents", [0, 1, FEWEST_LATENTS - 1])
def test_too_few_latents_have_no_entropies(latents: int) -> None:
    trace = changed(spread_over([3] * 30), lambda all_of_them: all_of_them[:, :latents]) if latents else None
    empty = planted.make_trace(latents=sparse.csr_array((50, 8), dtype=np.float32), tokens=torch.zeros(50, dtype=int))
    with pytest.raises(Unscored, match=f"^{latents} latents are active {ACTIVATIONS} times"):
        entropies(trace or empty)


def test_as_many_latents_as_needed_have_entropies() -> None:
    assert len(entropies(changed(spread_over([3] * 30), lambda latents: latents[:, :FEWEST_LATENTS]))) == FEWEST_LATENTS


def test_dense_latents_have_no_entropies() -> None:
    with pytest.raises(Unscored, match="too dense to be kept"):
        entropies(planted.make_trace(latents=None))


def test_entropies_are_the_same_every_time_whatever_the_global_seed() -> None:
    np.random.seed(1)
    one = entropies(overlapping())
    np.random.seed(2)
    assert (entropies(overlapping()) == one).all()


# Separation


def model(trace: Trace) -> Control:
    return as_control(trace, of_model=True)


def broad(least: int, seed: int = 0) -> Trace:
    """Latents of `least` to `least` + 6 tokens."""
    return spread_over(least + np.arange(35) % 7, 100, seed)


def test_latents_that_are_alike_are_not_told_apart() -> None:
    itself = metric.token_entropy(broad(3), {"itself": model(broad(3))})
    assert itself.value == pytest.approx(0.5)
    other = metric.token_entropy(broad(3), {"other": model(broad(3, seed=1))})
    for estimate in (itself, other):
        assert estimate.ci_low <= 0.5 <= estimate.ci_high
        assert estimate.ci_high - estimate.ci_low > 0.1
    assert (itself.floor, itself.ceiling, itself.n_unit, itself.n) == (0.5, 1, "latent", 35)


def test_separation_grows_with_how_much_broader_latents_are() -> None:
    values = [metric.token_entropy(broad(least), {"m": model(broad(8, seed=1))}).value for least in (1, 5, 8, 12, 40)]
    assert values == sorted(values)
    assert values[0] < 0.1
    assert values[2] == pytest.approx(0.5, abs=0.1)
    assert values[-1] == pytest.approx(1)


def test_separation_is_the_share_of_pairs() -> None:
    one, other = broad(4), broad(6, seed=1)
    own, rival = entropies(one), entropies(other)
    wanted = np.mean([[(a > b) + 0.5 * (a == b) for b in rival] for a in own])
    estimate = metric.token_entropy(one, {"m": model(other)})
    back = metric.token_entropy(other, {"m": model(one)})
    assert estimate.value == pytest.approx(wanted)
    assert back.value == pytest.approx(1 - wanted)
    assert estimate.ci_low < wanted < estimate.ci_high
    assert estimate.controls["mean_entropy"] == pytest.approx(float(own.mean()))


def test_the_random_model_that_is_most_alike_counts() -> None:
    models = {str(least): model(broad(least, seed=1)) for least in (1, 9, 5)}
    estimate = metric.token_entropy(broad(9), models)
    assert estimate.value == estimate.controls["9"]
    assert estimate.value == min(estimate.controls[name] for name in models)
    assert estimate.ci_low <= metric.token_entropy(broad(9), {"9": models["9"]}).ci_low + 1e-9


def test_only_random_models_have_entropies_to_compare_with() -> None:
    other = Control(forbidden, forbidden, forbidden, trained=True, of_model=False)
    with pytest.raises(Unscored, match="no SAE of a random model"):
        metric.token_entropy(broad(3), {"frozen": other})
    assert metric.token_entropy(broad(3), {"frozen": other, "m": model(broad(3))}).value == pytest.approx(0.5)


def test_random_models_whose_latents_are_rare_are_left_out() -> None:
    rare = model(spread_over([3] * 30, ACTIVATIONS - 1))
    with pytest.raises(Unscored, match=r"rare: 0 latents are active 50 times"):
        metric.token_entropy(broad(3), {"rare": rare})
    assert "rare" not in metric.token_entropy(broad(3), {"rare": rare, "m": model(broad(3))}).controls


def test_how_often_latents_are_on_does_not_tell_them_apart() -> None:
    """The trap of the plug-in entropy: latents that are on ten times as often would seem to be broader."""
    often, seldom = spread_over([300] * 60, 600), spread_over([300] * 60, 60, seed=1)
    estimate = metric.token_entropy(often, {"m": model(seldom)})
    assert estimate.value == pytest.approx(0.5, abs=0.2)
