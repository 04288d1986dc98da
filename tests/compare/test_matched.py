"""A baseline is read off its curve at the SAE's own L0, with what seeds of training change, and never beyond the curve."""

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matched_rows import L0S, line, reference, scored

from saebench.boards.architectures_table import architectures_table, table
from saebench.compare import at_l0 as matched
from saebench.compare.at_l0 import Matched, baseline_at, read_matched, read_own
from saebench.compare.gate import compare, message
from saebench.compare.judging import Gate
from saebench.record.properties import Property
from saebench.record.score import Score
from saebench.record.store import Store

FVU = Property("reconstruction.fvu", 1, "lower", "fraction", tolerance=0.0)


def new(l0: float | None, value: float, seed: int = 0, **more: Any) -> Score:
    return scored(f"mine:New/l0-{l0 or 0:.0f}/seed-{seed}", l0, value, architecture="New", **more)


def at(score: Score, rows: list[Score]) -> Score:
    found = baseline_at(score, rows, "topk")
    assert isinstance(found, Score), found
    return found


# The curve


@pytest.mark.parametrize("l0", [6.0, 8.0, 13.99, 14.0, 16.3, 27.0, 39.0, 40.0])
def test_what_is_straight_in_the_logarithm_is_read_off_exactly(l0: float) -> None:
    found = at(new(l0, 0.0), reference())
    assert found.value == pytest.approx(line(l0))
    assert (found.sae, found.l0, found.items) == (f"topk at L0 {l0:.1f}", l0, None)


def test_between_two_points_it_is_between_their_scores() -> None:
    curve = dict(zip(L0S, (0.5, 0.1, 0.09, 0.089), strict=True))
    values = [at(new(l0, 0.0), reference(curve.__getitem__)).value or 0.0 for l0 in np.linspace(6, 40, 100)]
    assert all(a >= b for a, b in itertools.pairwise(values))
    assert values[0] == pytest.approx(0.5)
    assert values[-1] == pytest.approx(0.089)


@pytest.mark.parametrize("l0", [1.0, 5.9, 40.1, 55.0])
def test_it_ends_where_the_baseline_does(l0: float) -> None:
    assert baseline_at(new(l0, 0.0), reference(), "topk") == f"L0 {l0:.1f} is outside of the baseline's 6.0 to 40.0"


def test_seeds_of_one_sparsity_are_averaged_although_their_l0_differs_a_little() -> None:
    rows = reference(l0s=(6.0, 40.0), apart=0.0) + [
        scored(f"topk/{seed}", 20.0 + seed, 0.1 + 0.02 * seed, architecture="topk") for seed in (0, 1)
    ]
    assert at(new(20.5, 0.0), rows).value == pytest.approx(0.11)


def test_an_sae_that_is_sparser_is_not_held_against_denser_ones() -> None:
    """Its score is worse than that of most of the baseline's SAEs, and what they would have at its L0."""
    score, gate = new(7.0, line(7.0)), Gate(Matched(reference(), "topk"))
    judgement = gate.judge(score, FVU, Store(Path("none.jsonl")))
    assert judgement is not None
    assert judgement.word == "ok"
    assert compare(score, reference()[-1], 0.0).verdict == "worse"


def test_worse_at_the_same_l0_is_said_in_one_line_with_what_it_was_held_against() -> None:
    judgement = Gate(Matched(reference(), "topk")).judge(new(16.3, 0.2), FVU, Store(Path("none.jsonl")))
    assert judgement is not None
    assert judgement.fails
    assert judgement.line.startswith(
        "reconstruction.fvu[mine:New/l0-16/seed-0] = 0.200, baseline 0.121: worse by 0.079 ["
    )
    assert judgement.line.endswith("; baseline: topk at L0 16.3, interpolated")


def test_outside_of_the_curve_nothing_fails_and_the_reason_is_told() -> None:
    judgement = Gate(Matched(reference(), "topk")).judge(new(55.0, 9.0), FVU, Store(Path("none.jsonl")))
    assert judgement is not None
    assert (judgement.word, judgement.fails) == ("incomparable", False)
    assert "L0 55.0 is outside of the baseline's 6.0 to 40.0" in judgement.note


# Noise


def test_the_interval_is_that_of_texts_and_of_one_more_seed_in_quadrature() -> None:
    from scipy.stats import t

    found = at(new(14.0, 0.0), reference(apart=0.01))
    spread = 0.01 * 2**0.5  # standard deviation of two values 0.02 apart
    assert found.half_width() == pytest.approx(math.hypot(0.002, t.ppf(0.975, 4) * spread * 1.5**0.5))


def test_seeds_of_all_architectures_tell_how_far_seeds_spread() -> None:
    alone = at(new(14.0, 0.0), reference(apart=0.01))
    more = at(new(14.0, 0.0), reference(apart=0.01) + reference(apart=0.01, name="gated"))
    assert (more.half_width() or 0) < (alone.half_width() or 0)


def test_new_seeds_of_the_baseline_itself_are_rarely_worse() -> None:
    rng, worse, trials = np.random.default_rng(0), 0, 400
    for _ in range(trials):
        rows = [row.model_copy(update={"value": line(row.l0 or 1) + rng.normal(0, 0.01)}) for row in reference()]
        score = new(16.0, line(16.0) + float(rng.normal(0, 0.01)), half=1e-6)
        found = at(score, [row.model_copy(update={"ci_low": row.value, "ci_high": row.value}) for row in rows])
        worse += compare(score, found, 0.0).verdict == "worse"
    assert worse / trials < 0.05


def test_one_seed_per_sparsity_does_not_tell_what_training_changes() -> None:
    found = baseline_at(new(14.0, 0.0), reference()[::2], "topk")
    assert found == "it has one seed at each L0, so that what training alone changes is not known"


# What cannot be compared


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("version", 2, "it has another version (1, here 2)"),
        ("corpus", "other", "it has another corpus (organism/test, here other)"),
        ("model_digest", "x", "it has another model (" + "m" * 64 + ", here x)"),
        ("d_sae", 2048, "it has another d_sae (1024, here 2048)"),
        ("budget", "full", "it has another budget (quick, here full)"),
        ("hook", "blocks.3", "it has another hook (blocks.2, here blocks.3)"),
    ],
)  # fmt: skip
def test_what_was_measured_or_trained_otherwise_is_incomparable(field: str, value: Any, reason: str) -> None:
    score = new(16.0, 0.1, **{field: value})
    assert baseline_at(score, reference(), "topk") == reason
    row = Matched(reference(), "topk").find(score)
    assert row is not None
    assert reason in message(score, compare(score, row, 0.0))


def test_other_properties_and_parameters_are_new_and_not_incomparable() -> None:
    baseline = Matched(reference(), "topk")
    assert baseline.find(new(16.0, 0.1, property="first_letter.f1")) is None
    assert baseline.find(new(16.0, 0.1, params={"n": 2})) is None


def test_a_curve_needs_two_sparsities_with_scores() -> None:
    assert baseline_at(new(14.0, 0.0), reference(l0s=(14.0,)), "topk") == "it is scored at 1 L0, and a curve needs two"
    gone = [
        row if (row.l0 or 0) > 27 else row.model_copy(update={"value": None, "ci_low": None, "ci_high": None, "unscored_reason": "no latent"})
        for row in reference()
    ]  # fmt: skip
    assert baseline_at(new(14.0, 0.0), gone, "topk") == "it is scored at 1 L0, and a curve needs two"
    none = [row.model_copy(update={"value": None, "unscored_reason": "no latent finds it"}) for row in reference()]
    assert baseline_at(new(14.0, 0.0), none, "topk") == "no latent finds it"


def test_an_sae_whose_l0_is_not_known_is_incomparable() -> None:
    assert "is not known" in str(baseline_at(new(None, 0.1), reference(), "topk"))


# The file


def file_of(folder: Path, rows: list[Score]) -> Path:
    path = folder / "architectures.jsonl"
    path.write_text("".join(row.to_line() + "\n" for row in rows))
    return path


def test_the_row_is_an_architecture_and_topk_where_none_is_named(tmp_path: Path) -> None:
    path = file_of(tmp_path, reference() + reference(name="gated"))
    assert read_matched(str(path), "quick").row == "topk"
    assert read_matched(f"{path}:gated", "quick").row == "gated"
    assert read_matched(str(path), "quick").architectures == ["topk", "gated"]
    only = file_of(tmp_path, reference(name="gated"))
    assert read_matched(str(only), "quick").row == "gated"


def test_a_row_or_a_budget_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    path = file_of(tmp_path, reference() + reference(name="gated"))
    with pytest.raises(ValueError, match=r"has no architecture 'topc'\. Did you mean 'topk'\? Known: topk, gated$"):
        read_matched(f"{path}:topc", "quick")
    with pytest.raises(ValueError, match=r"no scores of 'topk' at --sae-budget smoke; make some: pytest suites/"):
        read_matched(str(path), "smoke")
    with pytest.raises(ValueError, match="no such file of scores"):
        read_matched(str(tmp_path / "other.jsonl"), "quick")


def test_controls_and_repetitions_are_no_baseline(tmp_path: Path) -> None:
    path = file_of(tmp_path, reference() + reference(name="frozen", control=True) + reference(name="again", seed=1))
    assert read_matched(str(path), "quick").architectures == ["topk"]


def test_the_file_that_comes_with_saebench_is_named_by_its_row_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file_of(tmp_path, reference() + reference(name="gated"))
    monkeypatch.setattr(matched, "architectures_file", lambda: path)
    assert read_matched(":gated", "quick").row == "gated"
    own = read_own("quick")
    assert own is not None
    assert own.row == "topk"
    assert read_own("smoke") is None


# The table


def six(shift: float, **more: Any) -> list[Score]:
    jitter = [0.001, -0.001, 0.002, -0.002, 0.0, 0.001]
    aims = [(l0, seed) for l0 in (8.0, 16.0, 32.0) for seed in (0, 1)]
    return [new(l0, line(l0) + shift + j, seed, **more) for (l0, seed), j in zip(aims, jitter, strict=True)]


def words(shift: float, **more: Any) -> str:
    return table(six(shift, **more), Matched(reference(**more), "topk"))


@pytest.mark.parametrize(("shift", "word"), [(0.05, "worse"), (-0.05, "better"), (0.0, "same")])
def test_the_table_says_better_worse_or_same_with_plus_for_better(shift: float, word: str) -> None:
    assert f" {word}\n" in words(shift)
    assert ("+0.0498" in words(shift)) == (word == "better")


def test_where_more_is_better_the_sign_is_the_other_way_round() -> None:
    assert " better\n" in words(0.05, better="higher")
    assert " worse\n" in words(-0.05, better="higher")


def test_the_table_has_a_column_per_architecture_and_a_part_per_new_one() -> None:
    other = [score.model_copy(update={"sae": score.sae.replace("New", "Other")}) for score in six(0.0)]
    baseline = Matched(reference() + reference(lambda l0: line(l0) - 0.05, name="gated"), "topk")
    shown = table([*six(0.0), *other], baseline)
    assert shown.count("at the same L0 as") == 2
    assert "mine:New, at the same L0 as" in shown
    assert "topk" in shown.splitlines()[0]
    assert "gated" in shown.splitlines()[0]
    row = next(row for row in shown.splitlines() if row.startswith("reconstruction.fvu"))
    assert row.endswith("worse")
    assert "same" in row
    assert "Of these 2 intervals, 0.1 would by chance" in shown


def test_what_cannot_be_compared_is_a_dash_or_no_row() -> None:
    baseline = Matched(reference() + reference(name="gated", l0s=(1.0, 2.0)), "topk")
    row = next(row for row in table(six(0.0), baseline).splitlines() if row.startswith("reconstruction.fvu"))
    assert row.endswith("—")
    assert table([new(16.0, 0.1)], baseline) == ""
    assert table(six(0.0, property="first_letter.f1"), baseline) == ""
    assert table(six(0.0, better="neither"), Matched(reference(better="neither"), "topk")) == ""


def test_there_is_a_table_only_where_architectures_were_compared() -> None:
    assert architectures_table(six(0.0), None) == []
    assert architectures_table([], Matched(reference(), "topk")) == []
    assert architectures_table(six(0.0), Matched(reference(), "topk"))
