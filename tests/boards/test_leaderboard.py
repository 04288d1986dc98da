"""The page says what was measured, ranks only what noise can tell apart, and cannot be broken by a name."""

import re
from pathlib import Path
from typing import Any

import pytest
from factories import make_score
from paths import ROOT

from saebench.boards.board_footer import run_command
from saebench.boards.leaderboard import render
from saebench.boards.markdown import escaped
from saebench.catalogue.suites import definitions, suite_questions
from saebench.record.columns import current_scores
from saebench.record.score import Score


def page(*scores: Score, **options: Any) -> str:
    return render(scores, title="Organism", command="pytest suites/ --sae organism", **options)


def fvu(sae: str, value: float = 0.2, **overrides: Any) -> Score:
    return make_score(
        **{"property": "reconstruction.fvu", "sae": sae, "value": value, "half": 0.01, "n_unit": "letter"} | overrides
    )


def row(text: str, name: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith("|") and line.split("|")[1].strip() == name]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_golden_table() -> None:
    about = {"architecture": "topk", "d_sae": 1024}
    scores = [
        fvu("organism/topk-k128", 0.1, floor=1.0, ceiling=0.0), fvu("organism/topk-k16", 0.3, floor=1.0, ceiling=0.0, **about),
        fvu("organism/topk-k16", 0.7, property="reconstruction.ce", better="higher", floor=0.0, ceiling=1.0),
        fvu("organism/topk-k128", unscored="no clean loss", property="reconstruction.ce", better="higher", floor=0.5),
        make_score(property="throughput.tokens", better="neither", value=21000.0, half=300.0, sae="organism/topk-k16"),
    ]  # fmt: skip
    expected = """\
## reconstruction

<details><summary>2 SAEs, 2 columns</summary>

| SAE                | architecture   |   width |   L0 |   FVU |                fvu ↓ |         ce ↑ |
|:-------------------|:---------------|--------:|-----:|------:|---------------------:|-------------:|
| *floor*            | —              |       — |    — |     — |                1.000 |        0.000 |
| organism/topk-k16  | topk           |    1024 | 16.0 | 0.200 |     0.300 ±0.010 (2) | 0.700 ±0.010 |
| organism/topk-k128 | —              |       — | 16.0 | 0.200 | **0.100 ±0.010** (1) |           —¹ |
| *ceiling*          | —              |       — |    — |     — |                0.000 |        1.000 |

¹ no clean loss

</details>

## throughput

<details><summary>2 SAEs, 1 column</summary>

| SAE                | architecture   |   width |   L0 |   FVU |     tokens |
|:-------------------|:---------------|--------:|-----:|------:|-----------:|
| organism/topk-k16  | topk           |    1024 | 16.0 | 0.200 | 21000 ±300 |
| organism/topk-k128 | —              |       — | 16.0 | 0.200 |         —² |

² not measured

</details>
"""
    assert expected in page(*scores)
    assert page(*(Score.from_line(score.to_line()) for score in scores)) == page(*scores)


def test_footer_says_how_it_was_made() -> None:
    made = {"budget": "standard", "device": "cuda"}
    text = page(
        fvu("a", dirty=True, created="2026-02-01", **made), fvu("b", created="2026-03-01", unscored="no", **made)
    )
    assert "```\npytest suites/ --sae organism\n```" in text
    assert "- Scores: 2, of which 1 unscored\n- Measured: 2026-02-01 to 2026-03-01\n- Budget: standard" in text
    assert "- Device: cuda in float32\n- Model: organism (mmmmmmmmmmmm)" in text
    assert "- Commit: abc1234, abc1234 with uncommitted changes\n- Versions: saebench 0.1.0" in text
    assert "- Measured: 2026-01-01T00:00:00Z\n- Budget: —" in page(fvu("a"))


def test_command_names_each_sae_that_was_scored() -> None:
    """What a family's bare name stands for is what lies on a machine, and a page is the same on all."""
    assert run_command([fvu("organism/topk-16"), fvu("organism/batchtopk-16")], "zoo") == (
        "pytest suites/ --sae organism/batchtopk-16 --sae organism/topk-16 --sae-scores .saebench/zoo.jsonl"
    )
    assert run_command([fvu("organism/made-up")], "a b") == (
        "pytest suites/ --sae organism/made-up --sae-scores .saebench/'a b'.jsonl"
    )


def test_command_names_architectures_that_were_trained_once_each() -> None:
    trained = [fvu(f"{name}/l0-{l0}/seed-{seed}") for name in ("topk", "m:Own") for l0 in (6, 14) for seed in (0, 1)]
    assert run_command([*trained, fvu("organism/topk-16")], "x") == (
        "pytest suites/ --sae organism/topk-16 --sae-arch m:Own --sae-arch topk --sae-scores .saebench/x.jsonl"
    )


@pytest.mark.parametrize(
    ("budgets", "option"),
    [(("quick",), ""), (("full",), " --sae-budget full"), (("quick", "full"), ""), (("",), "")],
)
def test_command_names_a_budget_that_all_scores_share(budgets: tuple[str, ...], option: str) -> None:
    scores = [fvu(f"x:s{i}", budget=budget) for i, budget in enumerate(budgets)]
    assert run_command(scores, "f").partition(" --sae-scores")[0].endswith(f"x:s{len(scores) - 1}{option}")
    listed = ", ".join(sorted(filter(None, budgets))) or "—"
    assert f"- Budget: {listed}\n" in page(*scores)


def test_floor_that_differs_between_rows_is_shown_as_a_range() -> None:
    text = page(fvu("a", floor=0.9, ceiling=0.0), fvu("b", floor=1.0, ceiling=0.0), fvu("c"))
    assert row(text, "*ceiling*")[-1] == "0.000"
    assert row(text, "*floor*")[-1] == "0.900 to 1.000"


def test_versions_parameters_and_corpora_are_not_mixed() -> None:
    text = page(fvu("a"), fvu("b", version=2), fvu("c", corpus="wiki"), fvu("d", params={"factor": 4}))
    header = row(text, "SAE")
    assert header[5:] == [
        "fvu (v1, organism/test) ↓", "fvu (v2, organism/test) ↓", "fvu (v1, wiki) ↓",
        "fvu (factor=4, v1) ↓",
    ]  # fmt: skip
    assert "**0" not in text


def test_models_have_tables_of_their_own() -> None:
    text = page(fvu("a"), fvu("b"), fvu("c", 0.01, model="gpt2", model_digest="g"))
    assert "## reconstruction on organism" in text
    assert "## reconstruction on gpt2" in text
    assert row(text, "c")[-1] == "0.010 ±0.010"


def test_earlier_weights_are_left_out_and_counted() -> None:
    old = fvu("a", 0.9, sae_digest="old", created="2026-01-01")
    text = page(fvu("a", 0.2, sae_digest="new", created="2026-01-02"), old)
    assert "0.900" not in text
    assert "1, of which 0 unscored; 1 of other weights" in text


def test_repetitions_with_other_seeds_are_left_out() -> None:
    """The newest score is one of them, and must neither stand in the cell nor decide whose weights are shown."""
    again = fvu("a", 0.9, seed=1, created="2026-06-01", sae_digest="other")
    text = page(fvu("a", 0.2), again)
    assert row(text, "a")[-1] == "0.200 ±0.010"
    assert "; 1 of other weights, seeds or columns left out" in text
    assert current_scores([again]) == []


def test_hostile_names_cannot_leave_their_cell() -> None:
    name = "a|b`c`\n# d [x](http://e) <img src=x> **f** __g__ $h$ \u202eleft\u200f"
    text = page(
        fvu(name, unscored=f"because {name}", architecture=name), fvu("plain"),
        failing={"reconstruction.fvu": [name]}, defined={"reconstruction.fvu": name},
    )  # fmt: skip
    lines = [line for line in text.splitlines() if line.startswith("| a\\|b")]
    assert len(lines) == 1
    assert lines[0].replace("\\|", "").count("|") == 7
    assert "<img" not in text
    assert "](http" not in text.replace("\\](http", "")
    assert not [line for line in text.splitlines() if line.startswith("# d")]
    assert all(line.isprintable() for line in text.split("\n"))


@pytest.mark.parametrize(
    ("name", "expected"), [("kl_retention", "kl_retention"), ("_x_", r"\_x\_"), ("a\\b", r"a\\b"), ("&lt;", "&amp;lt;")]
)
def test_escaping(name: str, expected: str) -> None:
    assert escaped(name) == expected


def test_command_with_backticks_stays_in_its_fence() -> None:
    text = render([fvu("a")], title="t", command="pytest --sae '```'\n# x")
    assert "````\npytest --sae '```' # x\n````" in text


def test_only_some_columns() -> None:
    text = page(fvu("a"), fvu("a", property="reconstruction.ce"), columns=["reconstruction.ce"])
    assert row(text, "SAE")[5:] == ["ce ↓"]


def test_questions_come_from_the_suites(tmp_path: Path) -> None:
    (tmp_path / "test_reconstruction.py").write_text('"""What is lost?\n\nSee X (2024)."""\nimport torch_is_not_here\n')
    (tmp_path / "test_silent.py").write_text("x = 1\n")
    questions = suite_questions(tmp_path)
    assert questions == {"reconstruction": "What is lost? See X (2024)."}
    text = page(fvu("a"), questions=questions)
    assert "**reconstruction**: What is lost? See X (2024).\n\n- **fvu** (version 1, ratio, n = 40 letters)\n" in text


def test_definitions_are_those_of_the_metrics(tmp_path: Path) -> None:
    """Read from the code, so that the page cannot say what the code no longer does."""
    suites, metrics = tmp_path / "suites", tmp_path / "metrics"
    for folder in (suites, metrics):
        folder.mkdir()
    (metrics / "lost.py").write_text(
        'import torch_is_not_here\ndef share(x):\n    """Share that\n    is lost.\n\n    More."""\ndef bare(x): ...\n'
    )
    (suites / "test_lost.py").write_text(
        '@pytest.mark.score("lost.a", 1)\ndef test_a(x, record):\n    record(lost.share(x))\n'
        '@pytest.mark.slow\n@pytest.mark.score("lost.b", 1)\ndef test_b(x, record):\n    record(lost.share(x, 2))\n'
        '@pytest.mark.score("lost.c", 1)\ndef test_c(x, record):\n    record(lost.bare(x))\n'
        '@pytest.mark.score("lost.d", 1)\ndef test_d(x, record):\n    record(elsewhere.share(x))\ndef helper(): ...\n'
    )
    defined = definitions(suites, metrics)
    assert defined == {"lost.a": "Share that is lost.", "lost.b": "Share that is lost."}
    text = page(*(fvu("s", property=name) for name in ("lost.a", "lost.b", "lost.c")), defined=defined)
    assert "- **a**, **b** (version 1, ratio, n = 40 letters): Share that is lost.\n- **c** (version 1" in text


def test_every_property_of_the_suites_is_defined() -> None:
    suites = ROOT / "suites"
    names = [n for s in suites.glob("test_*.py") for n in re.findall(r'mark\.score\(\s*"([\w.]+)"', s.read_text())]
    assert set(definitions(suites)) == set(names)
    assert names


def test_no_scores_still_make_a_page() -> None:
    assert "Scores: 0, of which 0 unscored" in page()


def test_controls_stand_apart_and_never_lead() -> None:
    scores = [make_score(sae=f"f/{name}", value=value, half=0.01) for name, value in (("a", 0.5), ("c", 0.3))]
    control = make_score(sae="f/b", value=0.1, half=0.01).model_copy(update={"control": True})
    text = render([*scores, control], title="t", command="c")
    names = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith(("| f/", "| *controls*"))]
    assert names == ["f/a", "f/c", "*controls*", "f/b"]
    assert [row(text, name)[-1] for name in ("f/a", "f/c", "f/b")] == [
        "0.500 ±0.010 (2)", "**0.300 ±0.010** (1)", "0.100 ±0.010",
    ]  # fmt: skip


def test_reasons_that_differ_in_numbers_alone_are_one() -> None:
    reasons = {"a": "F1 of 0.53 on batchtopk-16, 1,000 of v1.2.3", "b": "F1 of -0.7 on batchtopk-16, 900 of v1.2.3"}
    cells = [fvu(name, unscored=reason) for name, reason in reasons.items()]
    text = page(*cells, fvu("c", unscored="F1 of 0.1 on batchtopk-32, 900 of v1.2.3"), fvu("d"))
    assert "¹ F1 of -0.7 to 0.53 on batchtopk-16, 900 to 1,000 of v1.2.3 (2 scores)\n" in text
    assert "² F1 of 0.1 on batchtopk-32" in text
    assert [row(text, name)[-1] for name in "abc"] == ["—¹", "—¹", "—²"]


def test_a_reason_that_is_part_of_another_keeps_its_own_mark() -> None:
    """Marks used to be found by the text of a reason, which two cells may share in part."""
    reasons = {"a": "fewer than … words", "b": "fewer than 3 words", "c": "fewer than 4 words", "d": "fewer than"}
    text = page(*(fvu(name, unscored=reason) for name, reason in reasons.items()), fvu("e"))
    for name, reason in reasons.items():
        mark = row(text, name)[-1].removeprefix("—")
        (line,) = [line for line in text.splitlines() if line.startswith(f"{mark} ")]
        assert reason.rstrip("0123456789 words") in line


def test_a_broken_sae_is_called_so() -> None:
    assert "¹ the SAE is broken: NaN\n" in page(fvu("a", unscored="NaN", broken=True), fvu("b"))


def test_a_property_that_fails_lenses_says_so_in_its_header() -> None:
    scores = [fvu("a"), fvu("b"), fvu("a", property="reconstruction.ce")]
    failing = {"reconstruction.fvu": ["reseed noise", "ordering"], "reconstruction.ce": [], "x.y": ["ordering"]}
    text = page(*scores, failing=failing)
    assert row(text, "SAE")[5:] == ["fvu ↓ ⚠", "ce ↓"]
    assert "⚠ reconstruction.fvu fails on the [reliability card](reliability.md): reseed noise, ordering\n" in text
    assert text.count("⚠") == 2
    assert "⚠" not in page(*scores)
