"""`saebench show`: everything about one SAE, on one screen, whatever its scores and names are."""

from pathlib import Path
from typing import Any

import pytest
from factories import make_sae_folder, make_score

from saebench.boards.overview import WIDTH, Board, overview
from saebench.boards.scale import bar
from saebench.catalogue.spec import SAESpec
from saebench.cli import main
from saebench.record.score import Score
from saebench.record.store import Store


def score(name: str, value: float | None = 0.5, **overrides: Any) -> Score:
    known = {"property": name, "value": value, "half": 0.05, "better": "higher", "n_unit": "word", "sae": "f/a"}
    return make_score(**(known | ({"unscored": "no"} if value is None else {}) | overrides))


def lines(scores: list[Score], sae: str = "f/a", spec: SAESpec | None = None, **options: Any) -> list[str]:
    board = Board(scores, **{k: options.pop(k) for k in list(options) if k != "everything"})
    return overview(board, sae, spec, **options).split("\n")


def words(found: list[str], start: str) -> list[str]:
    (line,) = [line for line in found if line.strip().startswith(start)]
    return line.split()


def test_a_line_says_what_it_is_and_where() -> None:
    found = lines([score("x.y", architecture="topk", d_sae=1024, half=0.0)])
    assert found[0] == "f/a: topk, 1024 latents, L0 16.0, FVU 0.200"
    assert found[1] == "  organism at blocks.2, digest digest of f/"


def test_facts_that_no_score_has_come_from_the_spec() -> None:
    spec = SAESpec(
        "f/a", "files", "here", model="m", hook="h", context_size=64, d_sae=8, facts={"l0": 3.0}, control=True
    )
    assert lines([score("x.y", l0=None, fvu=None)], spec=spec)[:2] == [
        "f/a: 8 latents, L0 3.000, a control",
        "  organism at blocks.2, digest digest of f/; trained on 64 tokens per context",
    ]
    found = lines([], spec=spec)
    assert found[-1] == "no scores"
    assert any(line.split() == ["context_size", "64"] for line in found)


def test_a_row_has_value_scale_n_and_rank() -> None:
    others = [score("x.y", value, sae=f"f/{name}") for name, value in (("b", 0.51), ("c", 0.9), ("d", None))]
    control = score("x.y", 0.95, sae="f/e", control=True)
    found = lines([score("x.y", floor=0.0, ceiling=1.0), *others, control])
    assert words(found, "x.y") == [
        "x.y", "↑", "0.500", "±0.050", "0.000", "····━●····", "1.000", "40", "words", "=2", "of", "3",
    ]  # fmt: skip
    assert words(lines([score("x.y"), *others], "f/c"), "x.y")[-3:] == ["1", "of", "3"]


def test_rank_says_where_the_floor_keeps_it_from_one() -> None:
    scores = [score("x.y", 0.5, sae=f"f/{name}", floor=floor) for name, floor in (("a", 0.48), ("b", 0.7), ("c", 0.1))]
    ends = {name: " ".join(words(lines(scores, f"f/{name}"), "x.y")[-2:]) for name in "abc"}
    assert ends == {"a": "at floor", "b": "below floor", "c": "of 3"}


def test_an_sae_alone_has_no_rank() -> None:
    assert words(lines([score("x.y")]), "x.y")[-1] == "words"


def test_failing_lenses_stand_with_the_property() -> None:
    found = lines([score("x.y"), score("x.z")], failing={"x.z": ["ordering"]})
    assert words(found, "x.z")[-2:] == ["⚠", "ordering"]
    assert "⚠" not in " ".join(words(found, "x.y"))


def test_what_only_describes_is_one_line() -> None:
    found = lines([score("x.l0", 16.0, better="neither"), score("x.angle", 3.0, better="neither"), score("x.y")])
    assert "described: l0 16.000 ±0.050, angle 3.000 ±0.050" in found
    assert words(lines([score("x.l0", 16.0, better="neither")], everything=True), "x.l0")[:3] == [
        "x.l0", "16.000", "±0.050",
    ]  # fmt: skip


def test_many_parametrizations_are_one_row_unless_all_are_asked_for() -> None:
    scores = [score("x.auc", 0.5 + 0.1 * i if i else None, params={"rung": f"r{i}"}) for i in range(5)]
    assert words(lines(scores), "x.auc (")[:7] == ["x.auc", "(4", "of", "5)", "↑", "0.600", "to"]
    assert [line.split()[0] for line in lines(scores, everything=True) if line.startswith("x.auc")] == [
        f"x.auc.r{i}" for i in range(1, 5)
    ]


def test_a_reason_is_one_line_for_all_that_it_holds_for() -> None:
    scores = [
        score("x.a", None, unscored="F1 of 0.6 only"), score("x.b", None, unscored="F1 of 0.7 only"),
        score("y.c", None, unscored="F1 of 0.65 only"), score("y.d", None, unscored="other", broken=True), score("x.y"),
        score("x.e", None, unscored="no model", params={"k": 1}), score("x.e", None, unscored="no model", params={"k": 2}),
    ]  # fmt: skip
    found = lines(scores)
    assert found[found.index("unscored: 6 of 7") + 1 :] == [
        "  x ×2, y: F1 of 0.6 to 0.7 only", "  y.d: the SAE is broken: other", "  x.e ×2: no model",
    ]  # fmt: skip
    assert "  x.e 1, x.e 2: no model" in lines(scores, everything=True)


def test_all_shows_intervals_and_controls() -> None:
    skewed = score("x.y", ci_low=0.1, ci_high=0.6, controls={"random": 0.25})
    assert lines([skewed], everything=True)[-1].endswith("[0.100, 0.600], random 0.250")
    assert "random" not in "".join(lines([skewed]))


def test_other_weights_and_seeds_are_not_shown() -> None:
    scores = [
        score("x.y", 0.1, sae_digest="old", created="2025"), score("x.y", 0.9, seed=3, created="2027"), score("x.y", 0.5)
    ]  # fmt: skip
    assert [line.split()[2] for line in lines(scores) if line.startswith("x.y")] == ["0.500"]


def test_models_stand_one_after_the_other() -> None:
    found = lines([score("x.y", 0.1), score("x.y", 0.9, model="gpt2", model_digest="g")])
    assert found[1].startswith("  organism at blocks.2, digest digest of f/; gpt2 at blocks.2")
    assert [line.split()[2] for line in found if line.startswith("x.y")] == ["0.100", "0.900"]


HOSTILE = "a|b\n\x1b[31m\u202e<img>`" + "long " * 60


def test_nothing_steers_the_terminal_or_leaves_the_screen() -> None:
    scores = [
        score(f"x.{HOSTILE}", sae=HOSTILE, model=HOSTILE, hook=HOSTILE, architecture=HOSTILE, n_unit=HOSTILE),
        score("x.z", None, unscored=HOSTILE, sae=HOSTILE), score("x.l", better="neither", sae=HOSTILE, model=HOSTILE),
        *(score("x.p", sae=HOSTILE, model=HOSTILE, hook=HOSTILE, params={HOSTILE: i}) for i in range(5)),
    ]  # fmt: skip
    found = lines(scores, HOSTILE, failing={"x.p": [HOSTILE]})
    assert all(line.isprintable() and len(line) <= WIDTH for line in found)
    assert all(line.isprintable() for line in lines(scores, HOSTILE, everything=True))


def test_a_screen_is_enough() -> None:
    """45 scores of which ten are unscored for five reasons: no more lines than a screen has."""
    scores = [score(f"f{i % 6}.property_{i}", floor=0.0, ceiling=1.0) for i in range(35)]
    scores += [score(f"g.property_{i}", None, unscored="why " + "very " * 60 + "abcde"[i % 5]) for i in range(10)]
    found = lines(scores)
    assert len(found) <= 50
    assert max(map(len, found)) <= WIDTH


@pytest.mark.parametrize(
    ("floor", "ceiling", "ends", "drawn"),
    [
        (0.0, 1.0, (0.4, 0.5, 0.6), "····━●····"), (1.0, 0.0, (0.0, 0.1, 0.2), "·······━●━"),
        (0.0, 1.0, (-3.0, -2.0, 0.3), "◂━━━······"), (0.0, 1.0, (0.9, 1.5, 2.0), "········━▸"),
        (7.5, 0.0, (0.013, 0.014, 0.015), "·········●"), (0.5, 1.0, (0.5, 0.5, 0.5), "●·········"),
        (None, 1.0, (0.1, 0.2, 0.3), ""), (0.0, None, (0.1, 0.2, 0.3), ""), (1.0, 1.0, (0.1, 0.2, 0.3), ""),
        (0.0, 5e-324, (-1e308, 1.0, 1e308), "━━━━━━━━━▸"),
    ],
)  # fmt: skip
def test_bar(floor: float | None, ceiling: float | None, ends: tuple[float, float, float], drawn: str) -> None:
    low, value, high = ends
    assert bar(floor, ceiling, low, high, value) == drawn


# As a user calls it


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.chdir(tmp_path)
    store = Store(tmp_path / "s.jsonl")
    for name in ("f/a", "f/b", "g/c"):
        store.append(score("x.y", sae=name))
    return store


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["show", *arguments, "--scores", "s.jsonl"]) == 0
    return capsys.readouterr().out


def test_a_glob_shows_one_after_the_other(stored: Store, capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(capsys, "f/*")
    assert [line.partition(":")[0] for line in out.splitlines() if line.startswith(("f/", "g/"))] == ["f/a", "f/b"]
    assert "\n\nf/b" in out


def test_a_folder_that_was_scored_shows_both(stored: Store, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(make_sae_folder(stored.path.parent / "mine"))
    stored.append(score("x.y", sae="local/mine"))
    out = shown(capsys, folder)
    assert out.startswith("local/mine: topk, 8 latents, L0 16.0, FVU 0.200\n")
    assert "trained on 64 tokens per context" in out
    assert "normalisation" not in out
    assert "normalisation            none" in shown(capsys, folder, "--all")


def test_absorbed_words_are_few_and_the_strongest(stored: Store, capsys: pytest.CaptureFixture[str]) -> None:
    n = 9
    items = {
        "carrier_concept": ["S"] * n, "carrier_word": [f"word{i}" for i in range(n)], "carrier_main": [1] * n,
        "carrier": [2] * n, "carrier_activation": [1.0] * n, "carrier_cosine": [0.3] * n,
        "carrier_share": [(i * 7 % n) / 10 for i in range(n)],
    }  # fmt: skip
    stored.append(score("absorption.full_rate_0_6_0", sae="f/a"), items)
    out = shown(capsys, "f/a")
    assert [line.split("'")[1] for line in out.splitlines() if "fires on" in line] == [
        f"word{i}" for i in sorted(range(n), key=lambda i: -(i * 7 % n))[:5]
    ]
    assert "4 more words: --all\n" in out
    assert shown(capsys, "f/a", "--all").count("fires on") == n
