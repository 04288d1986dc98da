"""Every lens passes what deserves it, fails what does not, and says so where it cannot tell."""

import json
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories import make_score
from scipy import stats

from saebench.boards.reliability_card import card_for, families_in, files, judged, known_of, marks, render
from saebench.catalogue.registry import resolve_all
from saebench.cli import main
from saebench.record.columns import Column
from saebench.record.places import fixtures_dir
from saebench.record.score import Score
from saebench.record.store import Store
from saebench.reliability.lens_zoo import at_l0
from saebench.reliability.lenses import LENSES
from saebench.reliability.reliability import Card, Data, Finding, failing, make_card
from saebench.stats.trends import concordance, separation, spearman, trend

NAMES = [lens.name for lens in LENSES]
BASES = [f"organism/sae-{i}" for i in range(6)]
ZOO = [f"organism/sae-{i}" for i in range(10)]
QUALITY = {sae: 0.5 + 0.03 * i for i, sae in enumerate(ZOO)}
DOSES = {
    "~replaced_25": 0.1,
    "~replaced_50": 0.2,
    "~replaced_75": 0.3,
    "~noise_25": 0.05,
    "~noise_50": 0.15,
    "~noise_100": 0.25,
}
SEEDS = 5
PROPERTY = "first_letter.f1"


def good(sae: str, seed: int) -> float:
    """Of an SAE as good as its name says, less what it is damaged by."""
    base, tilde, control = sae.partition("~")
    if control in ("oracle", "random_l0"):
        return 0.95 if control == "oracle" else 0.1
    return QUALITY[base] - DOSES.get(tilde + control, 0.0) + 0.001 * (seed % 3)


def noisy(sae: str, seed: int) -> float:
    return good(sae, 0) * (1 + 0.1 * seed)


def backwards(sae: str, seed: int) -> float:
    return 1 - good(sae, seed)


def flat(sae: str, seed: int) -> float:
    """Noise that means nothing, as large as the interval says."""
    return 0.5 + 0.01 * float(np.sin(sum(map(ord, sae)) ** 2))


def saturated(sae: str, seed: int) -> float:
    return 0.999


Rule = Callable[[str, int], float | None]


def planted_names() -> list[str]:
    whole = [base + dose for base in BASES[:2] for dose in ("", *DOSES)]
    return [
        *whole,
        *(f"{base}~replaced_50" for base in BASES[2:]),
        *(f"{base}~random_l0" for base in BASES),
        "organism/sae-0~oracle",
    ]


def score(sae: str, value: float | None, **overrides: Any) -> Score:
    known = {
        "property": PROPERTY,
        "better": "higher",
        "unit": "F1",
        "half": 0.02,
        "seconds": 0.5,
        "control": "~" in sae,
    }
    return make_score(
        **{**known, "sae": sae, "value": value, **({} if value is not None else {"unscored": "too bad"}), **overrides}
    )


def planted(rule: Rule, **overrides: Any) -> list[Score]:
    repeated = [score(sae, rule(sae, seed), seed=seed, **overrides) for sae in BASES[:2] for seed in range(1, SEEDS)]
    return [*(score(sae, rule(sae, 0), **overrides) for sae in planted_names()), *repeated]


def zoo(rule: Rule, **overrides: Any) -> list[Score]:
    return [score(sae, rule(sae, 0), **overrides) for sae in ZOO]


def trained(rule: Callable[[int, float, int], float | None], **overrides: Any) -> list[Score]:
    """Six architectures at four sparsities with two training seeds, by (architecture, l0, seed)."""
    return [
        score(f"organism/{name}/l0-{l0}/seed-{seed}", rule(i, l0, seed), l0=float(l0), architecture=name, **overrides)
        for i, name in enumerate("abcdef") for l0 in (6, 12, 24, 48) for seed in range(2)
    ]  # fmt: skip


def data(rule: Rule, **overrides: Any) -> Data:
    known = {sae: {"best latents' F1": quality} for sae, quality in QUALITY.items()}
    separate = trained(lambda i, l0, seed: 0.1 * i + 0.001 * seed + l0 / 100, **overrides)
    return Data.of(zoo(rule, **overrides), planted(rule, **overrides), separate, known)


def verdicts(found: Data) -> dict[str, str]:
    return {name: finding.verdict for name, finding in findings(found).items()}


def findings(found: Data) -> dict[str, Finding]:
    (only,) = make_card(found, LENSES).findings.values()
    return only


# What is planted is found


def test_a_good_property_passes_every_lens() -> None:
    assert verdicts(data(good)) == dict.fromkeys(NAMES, "passes")


def test_the_direction_of_a_property_is_heeded() -> None:
    lower = data(backwards, better="lower", property="absorption.recall_hole")
    assert {name: v for name, v in verdicts(lower).items() if name != "ground truth"} == {
        name: "passes" for name in NAMES if name != "ground truth"
    }


def test_a_noisy_property_fails_for_its_noise_alone() -> None:
    assert [name for name, verdict in verdicts(data(noisy)).items() if verdict == "fails"] == ["reseed noise"]


def test_noise_far_below_the_interval_is_forgiven() -> None:
    assert verdicts(data(noisy, half=2.0))["reseed noise"] == "passes"


def test_a_property_that_is_better_the_more_is_broken_fails_order_damage_and_truth() -> None:
    found = findings(data(backwards))
    assert {name for name, finding in found.items() if finding.verdict == "fails"} == {
        "ordering",
        "damage",
        "ground truth",
    }
    assert "improves with damage" in found["damage"].text
    assert "trained above oracle" in found["ordering"].text


def test_a_flat_property_cannot_tell_anything() -> None:
    found = findings(data(flat))
    assert {name for name, finding in found.items() if finding.verdict == "fails"} == {
        "detectable difference", "ordering", "damage", "ground truth",
    }  # fmt: skip
    assert "flat" in found["damage"].text
    assert found["reseed noise"] == Finding("passes", "no random stage")


def test_a_saturated_property_fails_what_a_flat_one_does() -> None:
    found = verdicts(data(saturated, half=0.0005))
    assert [name for name in NAMES if found[name] == "fails"] == [
        "detectable difference", "ordering", "damage", "ground truth",
    ]  # fmt: skip


def test_values_beyond_the_ceiling_are_no_better_than_the_ceiling() -> None:
    """A retention above one, which damage brings about, is not better than one."""
    found = findings(data(lambda sae, seed: 1 + good(sae, seed), ceiling=1.0))
    assert found["damage"].verdict == "fails"
    assert "above" not in found["ordering"].text


def test_one_step_that_clearly_rises_fails_whatever_the_others_do() -> None:
    def bumpy(sae: str, seed: int) -> float:
        return good(sae, seed) + (0.15 if sae.endswith("~replaced_50") else 0.0)

    found = findings(data(bumpy))["damage"]
    assert (found.verdict, "50 above 25" in found.text) == ("fails", True)


def test_a_kind_of_damage_that_is_not_read_does_not_count() -> None:
    def blind(kind: str) -> Rule:
        return lambda sae, seed: good(sae.partition("~")[0] if kind in sae else sae, seed)

    found = findings(data(blind("noise")))["damage"]
    assert (found.verdict, "noise: not read" in found.text) == ("passes", True)
    assert findings(data(blind("_")))["damage"].verdict == "fails"


def test_a_score_that_is_there_by_chance_fails() -> None:
    found = findings(data(lambda sae, seed: good(sae, seed) if seed < 4 else None))["reseed noise"]
    assert found.verdict == "fails"
    assert "4 of 5" in found.text


def test_seeds_that_differ_as_much_as_architectures_separate_none() -> None:
    rng = np.random.default_rng(0)
    found = replace(data(good), architectures=Data.of([], [], trained(lambda *_: float(rng.normal()))).architectures)
    assert verdicts(found)["architectures"] == "fails"


# What cannot be told


def test_without_any_data_nothing_passes_or_fails() -> None:
    assert make_card(Data(), LENSES) == Card({}, {})
    assert verdicts(Data.of(zoo(good), [])) == {
        **dict.fromkeys(NAMES, "not evaluable"), "detectable difference": "passes",
    }  # fmt: skip


def test_the_unscored_are_not_evaluable() -> None:
    assert set(verdicts(data(lambda *_: None)).values()) == {"not evaluable", "passes"}
    assert verdicts(data(lambda *_: None))["architectures"] == "passes"


def test_levels_that_are_unscored_are_named() -> None:
    found = findings(data(lambda sae, seed: None if "~" in sae and "replaced_50" not in sae else good(sae, seed)))
    assert found["ordering"] == Finding("not evaluable", "scored of four levels: trained, degraded")
    assert found["damage"].verdict == "not evaluable"


def test_three_levels_are_an_order_too() -> None:
    found = findings(data(lambda sae, seed: None if "random" in sae else good(sae, seed)))["ordering"]
    assert found.verdict == "passes"
    assert found.text.startswith("oracle > trained > degraded in 6 of 6 SAEs")


def test_speed_has_no_oracle_and_no_truth() -> None:
    found = verdicts(data(good, property="throughput.encode"))
    assert {found[name] for name in ("ordering", "damage", "ground truth")} == {"not evaluable"}


def test_descriptions_are_put_under_no_lens() -> None:
    assert make_card(data(good, better="neither"), LENSES).findings == {}


def test_no_truth_is_not_agreement() -> None:
    found = findings(data(good, property="context_length.kl_inside"))["ground truth"]
    assert found == Finding("not evaluable", "no truth is known")


def test_scores_of_other_weights_and_seeds_are_left_out() -> None:
    old = [score(sae, 0.0, sae_digest="old", created="2025-01-01T00:00:00Z") for sae in (*ZOO, *planted_names())]
    now = data(good)
    with_old = Data.of([*old[: len(ZOO)], *zoo(good)], [*old[len(ZOO) :], *planted(good)], [], now.truth)
    assert findings(with_old)["damage"] == findings(now)["damage"]
    assert findings(with_old)["detectable difference"] == findings(now)["detectable difference"]


# Statistics


@pytest.mark.parametrize("values", [[4, 3, 2, 1], [1, 2, 3], [2, 2, 1, 3], [5, 5, 5]])
def test_order_within_one_block_has_the_p_value_of_all_permutations(values: list[float]) -> None:
    every = [concordance(order) for order in permutations(values)]
    found = trend([values])
    assert found.p_falls == pytest.approx(np.mean([s >= concordance(values) for s in every]))
    assert found.p_rises == pytest.approx(np.mean([s <= concordance(values) for s in every]))


def test_blocks_are_independent() -> None:
    assert trend([[3, 2, 1]] * 3).p_falls == pytest.approx(6**-3)
    assert trend([[4, 3, 2, 1], [3, 2, 1]]).p_falls == pytest.approx(1 / 24 / 6)
    assert trend([[3, 2, 1], [1, 2, 3]]).tau == 0


def test_one_block_alone_agrees_with_scipy() -> None:
    values = [0.9, 0.4, 0.6, 0.5, 0.2]
    wanted = stats.kendalltau(range(5), [-v for v in values], alternative="greater", method="exact")
    assert trend([values]).tau == pytest.approx(wanted.statistic)
    assert trend([values]).p_falls == pytest.approx(wanted.pvalue)


def test_agreement_is_that_of_scipy() -> None:
    rng = np.random.default_rng(1)
    a = rng.normal(size=15).round(1)
    b = a + rng.normal(size=15).round(1)
    wanted = stats.spearmanr(a, b, alternative="greater")
    rho, p = spearman(a, b)
    assert rho == pytest.approx(wanted.statistic)
    assert p == pytest.approx(wanted.pvalue, abs=0.01)


def test_what_does_not_vary_agrees_with_nothing() -> None:
    assert spearman([1, 1, 1], [1, 2, 3]) == (0.0, 1.0)
    assert separation([[1, 1], [1, 1]]) == (0.0, 1.0)


def test_separation_is_the_root_of_f_and_its_p_value_that_of_permutations() -> None:
    rng = np.random.default_rng(2)
    groups = [rng.normal(loc=0.8 * i, size=3) for i in range(4)]
    wanted = stats.f_oneway(*groups)
    ratio, p = separation(groups)
    assert ratio**2 == pytest.approx(wanted.statistic)
    assert p == pytest.approx(wanted.pvalue, abs=0.03)


def test_p_values_of_noise_are_spread_evenly() -> None:
    rng = np.random.default_rng(3)
    below = [separation(rng.normal(size=(6, 2)))[1] < 0.1 for _ in range(100)]
    assert 2 <= sum(below) <= 22


def test_values_are_read_between_sparsities_and_never_beyond() -> None:
    curve = [score("organism/a", value, l0=l0) for l0, value in ((8.0, 0.2), (32.0, 0.6))]
    assert at_l0(curve, 16.0) == pytest.approx(0.4)
    assert at_l0(curve, 8.0) == pytest.approx(0.2)
    assert at_l0(curve, 40.0) is None
    assert at_l0([], 16.0) is None


# The page


def column(params: Iterable[tuple[str, str]] = (), name: str = PROPERTY) -> Column:
    return Column(name, 1, tuple(params), "corpus")


def test_failing_names_lenses_by_property_and_parameters_where_only_some_fail() -> None:
    fails, passes, unknown = (Finding(verdict, "") for verdict in ("fails", "passes", "not evaluable"))  # type: ignore[arg-type]
    found = Card(
        {
            column((("rung", "isotropic"),), "a"): {"order": fails, "noise": fails, "cost": passes},
            column((("rung", "mixture"),), "a"): {"order": fails, "noise": unknown, "cost": passes},
            column((), "b"): {"order": passes, "noise": unknown, "cost": unknown},
        },
        {},
    )
    assert failing(found) == {"a": ["order", "noise (isotropic)"]}


def test_the_page_says_what_fails_and_why_what_is_not_judged_is_not() -> None:
    text = render("organism", make_card(data(backwards), LENSES), zoo(backwards))
    (row,) = [line for line in text.splitlines() if line.startswith(f"| {PROPERTY}") and line.count("|") > 6]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:] == ["passes", "passes", "**fails**", "**fails**", "**fails**", "passes"]
    assert text == render("organism", make_card(data(backwards), LENSES), zoo(backwards))
    for lens in LENSES:
        assert f"## {lens.name}\n\n{lens.question}" in text


def test_a_name_cannot_break_the_page() -> None:
    text = render("organism", make_card(data(good, params={"rung": "a|b\n# c"}), LENSES), [])
    assert "a\\|b" in text
    assert "\n# c" not in text


def write(path: Path, scores: Iterable[Score]) -> None:
    for one in scores:
        Store(path).append(one)


def test_a_folder_without_planted_saes_has_no_card(tmp_path: Path) -> None:
    write(tmp_path / "organism.jsonl", zoo(good)[:1])
    assert files("organism", judged(tmp_path)) == {}


def test_a_folder_with_nothing_but_planted_saes_has_one(tmp_path: Path) -> None:
    write(tmp_path / "reliability.jsonl", planted(good)[:20])
    text = files("organism", judged(tmp_path)).get("reliability.md")
    assert text is not None
    assert text.startswith("# Reliability\n")
    assert "fewer than 6" in text


def test_all_three_files_of_a_folder_are_read_and_pairs_count(tmp_path: Path) -> None:
    for i, one in enumerate(zoo(good)):
        items = {"contribution": (one.value or 0.0) + np.sin(np.arange(30.0)) + 0.01 * np.sin(i + np.arange(30.0) ** 2)}
        Store(tmp_path / "organism.jsonl").append(one, items)
    write(tmp_path / "reliability.jsonl", planted(good))
    write(tmp_path / "architectures.jsonl", trained(lambda i, l0, seed: 0.1 * i + 0.001 * seed))
    found = judged(tmp_path)
    assert found is not None
    (by_lens,) = found[0].findings.values()
    assert by_lens["architectures"].verdict == "passes"
    assert by_lens["detectable difference"].text.split(" paired, ")[1].startswith("0.040 unpaired")


def test_truths_are_those_of_the_organisms_report() -> None:
    report = json.loads((fixtures_dir() / "organism" / "report.json").read_text())["saes"]
    known = known_of("organism")
    assert set(known) == {f"organism/{name}" for name in report}
    assert known["organism/topk-16"]["FVU"] == report["topk-16"]["fvu"]
    assert known["organism/topk-16"]["absorbed letters"] == len(report["topk-16"]["absorbed_letters"])


def test_another_family_has_a_card_of_its_own(tmp_path: Path) -> None:
    write(tmp_path / "reliability-smollm2.jsonl", planted(good)[:20])
    write(tmp_path / "reliability.jsonl", planted(good)[:20])
    assert families_in(tmp_path) == ["smollm2", "organism"]
    text = files("smollm2", judged(tmp_path, "smollm2")).get("reliability-smollm2.md")
    assert text is not None
    assert text.startswith("# Reliability: smollm2\n")
    assert "measured on the model of `smollm2`" in text
    assert "make reliability FAMILY=smollm2" in text
    assert main(["publish", "--to", str(tmp_path)]) == 0
    assert (tmp_path / "reliability-smollm2.md").read_text() == text
    assert not (tmp_path / "reliability-smollm2.html").exists()


def test_a_board_has_the_marks_of_its_own_family(tmp_path: Path) -> None:
    write(tmp_path / "reliability.jsonl", planted(flat))
    write(tmp_path / "reliability-smollm2.jsonl", planted(good))

    def of(board: str) -> dict[str, list[str]]:
        return marks(judged(tmp_path, card_for(tmp_path, board)))

    own, other = of("smollm2"), of("organism")
    assert other == of("gemmascope") != own


def test_publish_writes_the_card_instead_of_a_board_and_checks_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "reliability.jsonl", planted(good)[:20])
    publish = ["publish", str(tmp_path / "reliability.jsonl"), "--to", str(tmp_path)]
    assert main([*publish, "--check"]) == 1
    assert "reliability.md is missing" in capsys.readouterr().out
    assert main(publish) == main([*publish, "--check"]) == 0
    assert (tmp_path / "reliability.md").read_text().startswith("# Reliability\n")
    assert not (tmp_path / "reliability.html").exists()
    write(tmp_path / "organism.jsonl", zoo(good))
    assert main([*publish, "--check"]) == 1
    assert "reliability.md differs from its scores" in capsys.readouterr().out


def test_the_command_behind_the_data_names_saes_that_there_are() -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("there is no make")
    told = subprocess.run(
        [make, "-n", "reliability"], cwd=fixtures_dir().parent, capture_output=True, text=True, check=True
    )
    names = [
        words[i + 1]
        for words in map(shlex.split, told.stdout.splitlines())
        for i, word in enumerate(words)
        if word == "--sae"
    ]
    assert {spec.name for spec in resolve_all(names)} == set(names)
    made = Data.of([], [score(name, 0.5) for name in names])
    assert len(made.bases) == 6
