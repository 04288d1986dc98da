"""The same SAE written otherwise scores the same: all properties of all suites, against what does not change an SAE.

Where a property does change, `PROPERTIES` and `CASES` say how and why. Whoever adds a property adds it there.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from rewritten import DEAD, KINDS, SMALLER, Case, Evidence, Outcome, cases, outcome, outcomes, real, whole_run
from torch import Tensor

from saebench.evidence.game.answers import POSITIVE, Lineup
from saebench.record.score import Estimate

torch.set_num_threads(1)


@pytest.fixture(scope="module", autouse=True)
def less(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """So little is asked that it takes seconds; models and what is read of them are computed once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAEBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        for table, name, value in SMALLER:
            patch.setitem(table, name, value)  # type: ignore[arg-type]
        # So few prompts do not tell what is known; what the game says is compared all the same.
        patch.setattr(Lineup, "untold", None)
        yield


def numbers(outcome: Outcome) -> list[float]:
    return [] if isinstance(outcome, str) else [outcome.value, outcome.ci_low, outcome.ci_high, outcome.n]


def same(own: Outcome, other: Outcome, rel: float = 1e-6) -> bool:
    if isinstance(own, str) or isinstance(other, str):
        return own == other
    return numbers(other) == pytest.approx(numbers(own), rel=rel, abs=1e-9)


def within(own: Outcome, other: Outcome) -> bool:
    """In the interval, or both unscored."""
    if isinstance(own, str) or isinstance(other, str):
        return type(own) is type(other)
    return own.ci_low <= other.value <= own.ci_high


def same_value(own: Outcome, other: Outcome, rel: float = 1e-6) -> bool:
    """With ends that differ by little."""
    if isinstance(own, str) or isinstance(other, str):
        return own == other
    ends = np.subtract(numbers(other), numbers(own))[1:3]
    near = np.abs(ends) <= 0.2 * (own.ci_high - own.ci_low)
    return other.value == pytest.approx(own.value, rel=rel) and bool(near.all())


close = partial(same_value, rel=1e-3)


def twice_as_many(own: Outcome, other: Outcome) -> bool:
    return (
        isinstance(own, Estimate) and isinstance(other, Estimate) and (own.value, 2 * own.n) == (other.value, other.n)
    )


def times(low: float, high: float) -> Callable[[Outcome, Outcome], bool]:
    def holds(own: Outcome, other: Outcome) -> bool:
        assert isinstance(own, Estimate)
        assert isinstance(other, Estimate)
        return low * own.value <= other.value <= high * own.value

    return holds


def of_more(more: int) -> Callable[[Outcome, Outcome], bool]:
    """As many latents of some more, and so many further ones."""

    def holds(own: Outcome, other: Outcome) -> bool:
        assert isinstance(own, Estimate)
        assert isinstance(other, Estimate)
        return other.value * other.n == pytest.approx(own.value * own.n + more)

    return holds


def anything(own: Outcome, other: Outcome) -> bool:
    return True


Change = tuple[Callable[[Outcome, Outcome], bool], str]
"""How a score may differ, and why it does."""
Changes = dict[str, Change]
NOTHING: Changes = {}
LATENTS: Changes = {
    "duplicated": (twice_as_many, "each latent counts twice, and its share is as certain as of twice as many")
}
TWIN = "of two latents that are alike one is chosen, and the other is active in its place"
COPIES: Changes = {"duplicated": (anything, "copies are what is looked for")}
ABSORBED: Changes = {"duplicated": (anything, TWIN)}
GAME: Changes = {
    "scaled": (close, "directions are read off the decoder, and differ in the last bit"),
    "each scaled": (close, "directions are read off the decoder, and differ in the last bit"),
    "permuted": (same_value, "features are drawn anew for the interval by their index"),
    "duplicated": (anything, "other features come first, and a prompt has the same part twice"),
}  # fmt: skip
BY_ORDER: Changes = dict.fromkeys(
    ("scaled", "each scaled"), (within, "pairs are drawn in an order that hangs on the last bit of a direction")
)
UNSEEN = "a latent that is never active has no side, and is asked about along its row as it is written"
SHUFFLED: Changes = {
    "some negated": (same_value, "of a control with a shuffled decoder: " + UNSEEN),
    "each scaled": (same_value, "a control's latents write along one another's rows, with the scales of those"),
    "permuted": (same_value, "a control's decoder is shuffled by index"),
    "duplicated": (anything, "it has twice the latents on, which controls then have as well"),
    "dead added": (same_value, "a control's decoder is shuffled with the rows of dead latents"),
}  # fmt: skip
AT_WORDS: Changes = {
    "duplicated": (within, "random directions are as many as latents"),
    "dead added": (within, "random directions are as many as latents"),
}
CLAMPED: Changes = {
    "duplicated": (anything, "as many latents are clamped, and every one of them is there twice"),
    "permuted": (within, "of latents that fire as often the first are clamped, and random directions are by index"),
}
PATCHED: Changes = {"duplicated": (anything, "so many latents are patched, which are then half as much")}
CHOSEN: Changes = {"duplicated": (anything, "a latent and its copy are both among the k that are chosen")}
TAKEN: Changes = {"duplicated": (anything, "so many latents are taken away, each of which writes half as much")}
ALL_OF_THEM: Changes = {"duplicated": (within, "what is there twice is held back less")}
SECONDS: Changes = dict.fromkeys(KINDS, (anything, "seconds of a machine"))
LAST_BIT: Changes = dict.fromkeys(
    ("scaled", "each scaled"), (within, "directions are read off the decoder, and training goes on from their last bit")
)  # fmt: skip
STITCHED: Changes = {
    "duplicated": (anything, "a copy writes half, of which less is missing in the partner than of a whole"),
}
MEMORY: Changes = dict.fromkeys(KINDS, (anything, "what its own code allocates, of bare products of its own shape"))

PROPERTIES: dict[str, Changes] = {
    **dict.fromkeys(
        ("reconstruction.fvu", "reconstruction.cosine", "reconstruction.shrinkage", "reconstruction.kl",
         "reconstruction.ce_increase", "reconstruction.recovered_zero", "reconstruction.recovered_mean",
         "reconstruction.kl_recovered", "reconstruction.ce", "reconstruction.explained_by_token", "reconstruction.mse",
         "reconstruction.token_cosine", "reconstruction.l2_ratio", "reconstruction.relative_bias",
         "reconstruction.share_of_frequent", "reconstruction.persistence"), NOTHING,
    ),
    "reconstruction.l1": NOTHING,
    "reconstruction.frequent": LATENTS | {"dead added": (of_more(0), "it is a share of all latents")},
    # The wrapper around an SAE has no W_enc, so that the second has no score in any way of writing: tests/evidence.
    **dict.fromkeys(("reconstruction.nearest_decoder", "reconstruction.nearest_encoder"), COPIES),
    "reconstruction.l0": {"duplicated": (times(2, 2), "each latent counts twice")},
    "reconstruction.dead": LATENTS | {"dead added": (of_more(DEAD), "it is what is counted")},
    "reconstruction.dense": LATENTS | {"dead added": (of_more(0), "it is a share of all latents")},
    **dict.fromkeys(
        ("context_length.kl_inside", "context_length.kl_beyond", "context_length.kl_retention",
         "context_length.fvu_retention", "context_length.break_point"), NOTHING,
    ),
    **dict.fromkeys(
        ("downstream.accuracy", "downstream.accuracy_kept", "downstream.accuracy_kept_by_length",
         "downstream.log_p_kept", "downstream.log_p_kept_by_length"), NOTHING,
    ),
    **dict.fromkeys(
        ("first_letter.precision", "first_letter.recall", "first_letter.f1", "first_letter.split_precision",
         "first_letter.split_recall", "first_letter.split_f1", "first_letter.probe_f1", "first_letter.f1_gap",
         "first_letter.split_count"), NOTHING,
    ),
    "first_letter.k_sparse_f1": {"duplicated": (within, TWIN)},
    "first_letter.ablation_share": {"duplicated": (times(0.3, 0.7), "one of two latents that are alike is removed")},
    **dict.fromkeys(
        ("absorption.suppression_ratio", "absorption.full_rate_0_6_0", "absorption.fraction_0_6_0",
         "absorption.fraction_0_3_2", "absorption.causal_rate", "absorption.recall_hole"), ABSORBED,
    ),
    **dict.fromkeys(
        ("distinguishability.auc", "distinguishability.accuracy", "distinguishability.angle",
         "distinguishability.rung_auc", "distinguishability.control_auc", "distinguishability.sensitivity_log_ratio",
         "distinguishability.noise_suppression_gap", "distinguishability.plateau_gap",
         "distinguishability.dataset_auc"), GAME,
    ),
    "distinguishability.error_pathology_ratio": {kind: GAME[kind] for kind in ("scaled", "each scaled")},
    "distinguishability.dataset_features": LATENTS | {"permuted": GAME["permuted"]},
    **dict.fromkeys(
        ("marginal_structure.fvu", "marginal_structure.cosine", "marginal_structure.kl",
         "marginal_structure.ce_increase", "marginal_structure.recovered_zero", "marginal_structure.recovered_mean",
         "marginal_structure.kl_retention", "marginal_structure.fvu_retention"), SHUFFLED,
    ),
    "marginal_structure.first_letter_f1": AT_WORDS,
    "marginal_structure.k_sparse_f1": AT_WORDS,
    "marginal_structure.token_entropy": {"duplicated": (within, "its latents are twice as many draws")},
    **dict.fromkeys(("meta_structure.explained", "meta_structure.atoms", "meta_structure.stability"), LAST_BIT),
    "meta_structure.absorbed_found": LAST_BIT | ABSORBED,
    "meta_structure.novel": NOTHING,
    "meta_structure.stitched": STITCHED,
    **dict.fromkeys(
        ("decomposability.j", "decomposability.coverage", "decomposability.evenness", "decomposability.none",
         "decomposability.partial", "decomposability.all", "decomposability.found"), NOTHING,
    ),
    **dict.fromkeys(("explanations.detection", "explanations.detection_auroc", "explanations.fuzzing"), NOTHING),
    "explanations.sensitivity": NOTHING,
    **dict.fromkeys(
        ("unlearning.forgotten", "unlearning.owed_to_direction", "unlearning.side_effect",
         "unlearning.forgotten_at_any_cost"), CLAMPED,
    ),
    **dict.fromkeys(
        ("disentanglement.score", "disentanglement.cause", "disentanglement.isolation"), PATCHED,
    ),
    "sparse_probing.auc": CHOSEN, "sparse_probing.f1": CHOSEN,
    **dict.fromkeys(
        ("sparse_probing.auc_all", "sparse_probing.gap", "sparse_probing.transfer", "sparse_probing.scarcity",
         "sparse_probing.imbalance"), ALL_OF_THEM,
    ),
    "sparse_probing.dense_auc": NOTHING,
    **dict.fromkeys(
        ("probe_perturbation.tpp", "probe_perturbation.tpp_of_l0", "probe_perturbation.tpp_redrawn",
         "probe_perturbation.scr", "probe_perturbation.scr_of_l0"), TAKEN,
    ),
    "throughput.encode": SECONDS, "throughput.decode": SECONDS, "throughput.memory": MEMORY,
}  # fmt: skip
NO_SAE = [f"distinguishability.control_auc-{name}" for name in POSITIVE]
DEAD_LATENTS = "distinguishability.control_auc-dead_latents"
BY_LAST_BIT = "of latents that are as far apart, the last bit says which of them is among the k"
CASES: dict[str, Changes] = {
    "sparse_probing.auc-16-last-published": CHOSEN
    | dict.fromkeys(("scaled", "each scaled"), (within, BY_LAST_BIT))
    | {"permuted": (within, "of latents that are as far apart, the first are among the k")},
    **dict.fromkeys(NO_SAE, NOTHING),
    "distinguishability.rung_auc-sum_of_two": GAME | BY_ORDER,
    DEAD_LATENTS: {
        **GAME, "some negated": (within, UNSEEN), "permuted": (within, "dead latents are taken by their index"),
        "dead added": (within, "some of them are among those that are asked about"),
    },
}  # fmt: skip
"""Scores that change otherwise than their property's others."""


def test_every_property_says_what_it_may_depend_on() -> None:
    assert set(PROPERTIES) == {case.property for case in cases()}
    assert set(CASES) <= {case.name for case in cases()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_an_sae_that_is_written_otherwise_scores_the_same(case: Case, kind: str) -> None:
    holds, _ = CASES.get(case.name, PROPERTIES[case.property]).get(kind, (same, ""))
    own, other = (outcomes(each)[case.name] for each in ("itself", kind))
    assert holds(own, other), (numbers(own) or own, numbers(other) or other)


def test_most_properties_have_a_value_here() -> None:
    scored = [found for found in outcomes("itself").values() if isinstance(found, Estimate)]
    assert len(scored) > 0.75 * len(cases())


class Silent:
    def encode(self, x: Tensor) -> Tensor:
        return x.new_zeros(len(x), 64)

    def decode(self, latents: Tensor) -> Tensor:
        return latents.new_zeros(len(latents), 192)


class Dense(Silent):
    def encode(self, x: Tensor) -> Tensor:
        return x.new_ones(len(x), 64)


class Broken(Silent):
    def encode(self, x: Tensor) -> Tensor:
        raise ValueError("not at words")


@pytest.mark.parametrize("bad", [Silent, Dense, Broken])
def test_what_no_sae_has_a_part_in_is_scored_whatever_the_sae_is(bad: type[Silent]) -> None:
    whole, expected = whole_run(), outcomes("itself")
    whole.shelf.sae.clear()
    sae = replace(real(), source=bad(), digest=f"digest of {bad.__name__}")
    whole.holder.hold(sae)
    wanted = ("first_letter.probe_f1", *NO_SAE)
    found = {case.name: outcome(case, Evidence(whole, sae)) for case in cases() if case.name in wanted}
    assert all(same(expected[name], found[name]) for name in wanted), found
    assert isinstance(expected["first_letter.probe_f1"], Estimate)
