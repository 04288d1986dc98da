"""The page says what was measured, ranks only what noise can tell apart, and cannot be broken by a name."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from factories import make_score

from saebench.leaderboard import best, escaped, render, suite_questions
from saebench.pictures import context_length_picture
from saebench.score import Score
from saebench.store import Store


def page(*scores: Score, **options: Any) -> str:
    return render(scores, title="Organism", command="pytest suites/ --sae organism", **options)


def fvu(sae: str, value: float = 0.2, **overrides: Any) -> Score:
    return make_score(**{"property": "reconstruction.fvu", "sae": sae, "value": value, "half": 0.01} | overrides)


def row(text: str, name: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith("|") and line.split("|")[1].strip() == name]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_golden_table() -> None:
    scores = [
        fvu("organism/topk-k128", 0.1, floor=1.0, ceiling=0.0), fvu("organism/topk-k16", 0.3, floor=1.0, ceiling=0.0),
        fvu("organism/topk-k16", 0.7, property="reconstruction.ce", better="higher", floor=0.0, ceiling=1.0),
        fvu("organism/topk-k128", unscored="no clean loss", property="reconstruction.ce", better="higher", floor=0.5),
        make_score(property="throughput.tokens", better="neither", value=21000.0, half=300.0, sae="organism/topk-k16"),
    ]  # fmt: skip
    expected = """\
## reconstruction

| SAE                |   L0 |   FVU |            fvu ↓ |         ce ↑ |
|:-------------------|-----:|------:|-----------------:|-------------:|
| *floor*            |    — |     — |            1.000 |        0.000 |
| organism/topk-k16  | 16.0 | 0.200 |     0.300 ±0.010 | 0.700 ±0.010 |
| organism/topk-k128 | 16.0 | 0.200 | **0.100 ±0.010** |        — (1) |
| *ceiling*          |    — |     — |            0.000 |        1.000 |

(1) no clean loss: ce of organism/topk-k128

## throughput

| SAE                |   L0 |   FVU |     tokens |
|:-------------------|-----:|------:|-----------:|
| organism/topk-k16  | 16.0 | 0.200 | 21000 ±300 |
| organism/topk-k128 | 16.0 | 0.200 |      — (1) |

(1) not measured: tokens of organism/topk-k128
"""
    assert expected in page(*scores)
    assert page(*scores) == page(*scores)


def test_footer_says_how_it_was_made() -> None:
    text = page(fvu("a", dirty=True, created="2026-02-01"), fvu("b", created="2026-03-01", unscored="broken"))
    assert "```\npytest suites/ --sae organism\n```" in text
    assert "- Scores: 2, of which 1 unscored\n- Newest: 2026-03-01\n- Model: organism (mmmmmmmmmmmm)" in text
    assert "- Commit: abc1234, abc1234 with uncommitted changes\n- Versions: saebench 0.1.0" in text


@pytest.mark.parametrize(("better", "leaders"), [("lower", {"a", "b"}), ("higher", {"d"}), ("neither", set())])
def test_all_that_noise_cannot_tell_from_the_best_lead(better: str, leaders: set[str]) -> None:
    scores = [fvu(name, value, better=better) for name, value in (("a", 0.10), ("b", 0.115), ("c", 0.125), ("d", 0.5))]
    assert best([*scores, fvu("e", unscored="no", better=better)]) == leaders


def test_one_sae_alone_does_not_lead() -> None:
    assert best([fvu("a"), fvu("b", unscored="no")]) == set()


def test_floor_that_differs_between_rows_is_shown_as_a_range() -> None:
    text = page(fvu("a", floor=0.9, ceiling=0.0), fvu("b", floor=1.0, ceiling=0.0), fvu("c"))
    assert row(text, "*ceiling*")[-1] == "0.000"
    assert row(text, "*floor*")[-1] == "0.900 to 1.000"


def test_what_reaches_the_floor_does_not_lead() -> None:
    """The best of all may be no better than a useless SAE of its size."""
    f1 = {"better": "higher", "half": 0.05}
    scores = [fvu("a", 0.70, floor=0.68, **f1), fvu("b", 0.66, floor=0.50, **f1), fvu("c", 0.40, floor=0.30, **f1)]
    assert best(scores) == {"b"}
    assert best([fvu("a", 0.70, floor=0.68, **f1), fvu("b", 0.66, floor=0.65, **f1)]) == set()
    assert best([fvu("a", 0.3, floor=0.32, half=0.05), fvu("b", 0.31, floor=0.9, half=0.05)]) == {"b"}


def test_versions_parameters_and_corpora_are_not_mixed() -> None:
    text = page(fvu("a"), fvu("b", version=2), fvu("c", corpus="wiki"), fvu("d", params={"factor": 4}))
    header = row(text, "SAE")
    assert header[3:] == [
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


def test_hostile_names_cannot_leave_their_cell() -> None:
    name = "a|b`c`\n# d [x](http://e) <img src=x> **f** __g__ $h$"
    text = page(fvu(name, unscored=f"because {name}"), fvu("plain"))
    lines = [line for line in text.splitlines() if line.startswith("| a\\|b")]
    assert len(lines) == 1
    assert lines[0].replace("\\|", "").count("|") == 5
    assert "<img" not in text
    assert "](http" not in text.replace("\\](http", "")
    assert not [line for line in text.splitlines() if line.startswith("# d")]


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
    assert row(text, "SAE")[3:] == ["ce ↓"]


def test_questions_come_from_the_suites(tmp_path: Path) -> None:
    (tmp_path / "test_reconstruction.py").write_text('"""What is lost?\n\nSee X (2024)."""\nimport torch_is_not_here\n')
    (tmp_path / "test_silent.py").write_text("x = 1\n")
    questions = suite_questions(tmp_path)
    assert questions == {"reconstruction": "What is lost? See X (2024)."}
    text = page(fvu("a"), questions=questions)
    assert (
        "**reconstruction**: What is lost? See X (2024).\n\n- reconstruction.fvu, version 1: ratio; n = 40 letters"
        in text
    )


def test_no_scores_still_make_a_page() -> None:
    assert "Scores: 0, of which 0 unscored" in page()


def test_picture_has_a_line_per_sae(tmp_path: Path) -> None:
    store = Store(tmp_path / "scores.jsonl")
    items = {
        "position": [16.0, 80.0],
        "kl": [0.1, 0.5],
        "kl_low": [0.05, 0.4],
        "kl_high": [0.2, 0.6],
        "context_size": [64],
    }
    scores = [store.append(fvu(f"s{i}", property="context_length.kl_retention"), items) for i in range(14)]
    picture = context_length_picture(store, scores)
    assert picture is not None
    texts = [e.text for e in ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")]
    assert [text for text in texts if text and text.startswith("s")] == [f"s{i}" for i in range(12)]
    assert "training context (64)" in texts
    assert context_length_picture(store, [fvu("a")]) is None


def test_controls_stand_apart_and_never_lead() -> None:
    scores = [make_score(sae=f"f/{name}", value=value, half=0.01) for name, value in (("a", 0.5), ("c", 0.3))]
    control = make_score(sae="f/b", value=0.1, half=0.01).model_copy(update={"control": True})
    text = render([*scores, control], title="t", command="c")
    names = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith(("| f/", "| *controls*"))]
    assert names == ["f/a", "f/c", "*controls*", "f/b"]
    assert best([*scores, control]) == {"f/c"}


def test_a_value_beyond_the_ceiling_is_no_better_than_the_ceiling() -> None:
    at = make_score(sae="f/a", value=1.0, half=0.02, better="higher", ceiling=1.0)
    beyond = make_score(sae="f/b", value=2.0, half=0.02, better="higher", ceiling=1.0)
    below = make_score(sae="f/c", value=0.8, half=0.02, better="higher", ceiling=1.0)
    assert best([at, beyond, below]) == {"f/a", "f/b"}
