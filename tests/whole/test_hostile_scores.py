"""Whatever a scores file, its items or their names say: one sentence, no verdict that was not computed, nothing that steers."""

import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories import make_score
from hostile import HOSTILE, UNSHOWABLE, limited
from matched_rows import reference

from saebench.boards.architectures_table import architectures_table
from saebench.boards.page import page
from saebench.boards.plot import Series, coordinate, line_chart
from saebench.boards.sealed import Sealed
from saebench.catalogue import registry
from saebench.cli import main
from saebench.compare.at_l0 import Matched, baseline_at
from saebench.compare.baseline import Baseline
from saebench.compare.demands import Demand
from saebench.compare.differences import Difference, paired
from saebench.compare.gate import compare, held_against, message
from saebench.compare.judging import Gate, Judgement
from saebench.compare.pareto import front_of
from saebench.compare.ranking import ranks
from saebench.compare.settings import Settings
from saebench.exchange.saebench_absorption import ABSORPTION
from saebench.record.naming import natural, nearest, shown
from saebench.record.properties import Property
from saebench.record.store import Store
from saebench.record.wording import number, tenths, with_interval
from saebench.reliability import reliability
from saebench.session.reported import carried, score_of
from saebench.session.summary import status_word, summary
from saebench.stats.multiple import holm

families = cache(registry.families)
"""Read once: a command looks its names up in all of them, and most of those below name no SAE that there is."""
NAN, INF = math.nan, math.inf
VAST = 10_000
"""Gigabytes: the library that draws takes addresses by the terabyte, which it does not use."""
FVU = Property("reconstruction.fvu", 1, "lower", "fraction", tolerance=0.01)
LETTERS = [f"'{letter}'" for letter in "abcdefgh"]
GOOD = np.linspace(0.1, 0.5, 8)
CARRIERS = {
    "carrier_concept": LETTERS, "carrier_word": LETTERS, "carrier_main": range(8), "carrier": range(8),
    "carrier_activation": GOOD, "carrier_cosine": GOOD, "carrier_share": GOOD,
}  # fmt: skip
CURVE = {"position": range(8), "kl": GOOD, "kl_low": GOOD, "kl_high": GOOD, "context_size": [4]}
RESPONSES = {"angle": range(8), "angle:features": GOOD, "angle:features:low": GOOD, "angle:features:high": GOOD}
WHOLE: dict[str, tuple[str, dict[str, Any]]] = {
    "contribution": ("absorption.fraction_0_6_0", {"item": LETTERS, "contribution": GOOD}),
    "denominator": ("reconstruction.l0", {"contribution": GOOD, "numerator": GOOD, "denominator": GOOD}),
    "density": ("reconstruction.frequent", {"density": GOOD}),
    "carrier_share": ("absorption.full_rate_0_6_0", {"item": LETTERS, "contribution": GOOD, **CARRIERS}),
    "carrier_main": ("absorption.full_rate_0_6_0", {"item": LETTERS, "contribution": GOOD, **CARRIERS}),
    "kl": ("context_length.kl_retention", {"contribution": GOOD, **CURVE}),
    "kl_low": ("context_length.kl_retention", {"contribution": GOOD, **CURVE}),
    "context_size": ("context_length.kl_retention", {"contribution": GOOD, **CURVE}),
    "angle:features": ("distinguishability.angle", {"contribution": GOOD, **RESPONSES}),
    "angle": ("distinguishability.angle", {"contribution": GOOD, **RESPONSES}),
}
HARM: dict[str, Any] = {
    "missing": None, "0-D": np.array(0.5), "2-D": np.ones((8, 2)), "text": ["x"] * 8, "complex": GOOD + 1j,
    "infinite": [*GOOD[:-1], INF], "NaN": [NAN, *GOOD[1:]], "huge": np.full(8, 1.7e308), "shorter": GOOD[:-1], "empty": [],
    "longer": np.ones(9), "dates": np.array(["2026-01-01"] * 8, "datetime64[D]"), "bytes": np.array([b"x"] * 8),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _families_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "families", families)


@pytest.fixture
def _one_family(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of names in a scores file: those of the catalogue are a test of their own."""
    monkeypatch.setattr(registry, "families", lambda root=None: [one for one in families() if one.name == "organism"])


def board(path: Path, *names: str, harmed: str = "", harm: str = "", **more: Any) -> Store:
    """Scores with items, of which one array may be harmed."""
    store = Store(path)
    for name in names or ("f/a", "f/b"):
        for prop, items in dict(WHOLE.values()).items():
            changed = dict(items)
            if harmed and prop == WHOLE[harmed][0]:
                changed |= {harmed: HARM[harm]}
                changed = {key: array for key, array in changed.items() if array is not None}
            known = {"property": prop, "sae": name, "better": "higher", "n_unit": "letter", "value": 0.3, **more}
            store.append(make_score(**known), changed)
        for prop in {*ABSORPTION.values()} - {prop for prop, _ in WHOLE.values()}:
            store.append(make_score(property=prop, sae=name), {"item": LETTERS, "contribution": GOOD})
    return store


def told(
    arguments: list[str], capsys: pytest.CaptureFixture[str], *, codes: tuple[int, ...] = (0, 4)
) -> tuple[int, str, str]:
    """Exit code and both streams of a command, which must say what is wrong in one sentence without steering anything."""
    capsys.readouterr()
    with limited(20, VAST):
        code = main(arguments)
    out, err = capsys.readouterr()
    assert code in codes, err
    for line in (out + err).split("\n"):
        assert line.isprintable(), repr(line)
    assert len(err.splitlines()) == (code == 4), err
    assert "Error" not in err
    return code, out, err


def commands(scores: Path, other: Path, folder: Path) -> dict[str, list[str]]:
    return {
        "show": ["show", "f/a", "--scores", str(scores)],
        "show --all": ["show", "f/*", "--scores", str(scores), "--all"],
        "compare": ["compare", str(scores), str(other)],
        "compare, the other way": ["compare", str(other), str(scores)],
        "publish": ["publish", str(scores), "--to", str(folder / "boards")],
        "export": ["export", str(scores), "--to", str(folder / "json"), "--gaps"],
        "merge": ["merge", str(scores), str(scores), "--to", str(folder / "merged.jsonl")],
    }


def test_what_is_harmed_below_is_whole_at_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores, other = board(tmp_path / "a.jsonl"), board(tmp_path / "b.jsonl")
    for command in commands(scores.path, other.path, tmp_path).values():
        assert told(command, capsys)[0] == 0


@pytest.mark.parametrize(
    ("array", "harm"),
    [
        *(("contribution", harm) for harm in HARM),
        *((array, harm) for array in WHOLE for harm in ("missing", "text", "2-D", "infinite")),
    ],
)
def test_items_that_are_none_are_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], array: str, harm: str
) -> None:
    scores = board(tmp_path / "a.jsonl", harmed=array, harm=harm)
    other = board(tmp_path / "b.jsonl")
    for name, command in commands(scores.path, other.path, tmp_path).items():
        if name == "publish" and harm not in ("missing", "infinite"):
            continue  # it takes a second, and reads items as the others do
        code, out, err = told(command, capsys)
        if (
            array == "contribution"
            and name.startswith("compare")
            and harm not in ("missing", "shorter", "longer", "empty")
        ):
            assert code == 4, name
            assert f"2 of {len(WHOLE)} scores could not be compared: " in err or "could not be compared" in err
            assert "incomparable: " in out


@pytest.mark.parametrize("harm", ["NaN", "infinite", "huge", "text", "complex", "2-D", "longer"])
@pytest.mark.parametrize("side", ["score", "baseline"])
def test_a_gate_is_not_opened_by_items(tmp_path: Path, harm: str, side: str) -> None:
    """The same SAE was `1 worse` with whole items."""
    rng = np.random.default_rng(0)
    items = {"contribution": rng.normal(0.1, 0.01, 40), "item": [f"{i:02}" for i in range(40)]}
    harms: dict[str, Any] = {
        "2-D": np.ones((40, 1)),
        "longer": np.ones(41),
        "text": ["x"] * 40,
        "complex": np.ones(40) * 1j,
    }
    bad = {"NaN": NAN, "infinite": INF, "huge": 1.7e308}.get(harm, 0.0)
    harmed = harms.get(harm, np.concatenate([[bad], items["contribution"][1:]]))
    verdicts = []
    for whole in (True, False):
        own, base = Store(tmp_path / f"{whole}.jsonl"), Store(tmp_path / f"base-{whole}.jsonl")
        shifted = {**items, "contribution": items["contribution"] + 0.05}
        known: dict[str, Any] = {"property": FVU.name, "half": 0.1, "unit": FVU.unit}
        row = base.append(
            make_score(value=0.1, **known), items if whole or side == "score" else {**items, "contribution": harmed}
        )
        score = own.append(
            make_score(value=0.15, **known),
            shifted if whole or side == "baseline" else {**items, "contribution": harmed},
        )
        judged = Gate(Baseline([row], base)).judge(score, FVU, own)
        assert judged is not None
        verdicts.append(judged)
    assert [judged.word for judged in verdicts] == ["worse", "incomparable"]
    assert "its array 'contribution' " in verdicts[1].note or "entries" in verdicts[1].note


def test_items_that_are_not_there_are_told_and_compared_without_pairs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = board(tmp_path / "a.jsonl"), board(tmp_path / "b.jsonl")
    for path in a.items_dir.iterdir():
        path.unlink()
    code, out, _ = told(["compare", str(a.path), str(b.path)], capsys)
    assert code == 0
    assert "of them are compared without pairs, since items are missing." in out
    score = b.read()[0]
    row, found = held_against(Baseline(a.read(), a), score, b, 0.0)
    assert row is not None
    assert message(score, found).endswith("unpaired")
    judged = Gate(Baseline(a.read(), a)).judge(score, Property(score.property, 1, "higher", "ratio"), b)
    assert judged is not None
    assert "items of scores or of their baseline are missing" in judged.note


def test_items_that_unpack_to_gigabytes_are_refused(tmp_path: Path) -> None:
    store = Store(tmp_path / "a.jsonl")
    score = store.append(make_score(), {"contribution": np.zeros(40_000_000)})
    with limited(5, 0.3), pytest.raises(ValueError, match="unpacks to more than 268,435,456 bytes"):
        store.load_items(score)


# What cannot be computed


@pytest.mark.parametrize("number_", [NAN, INF, -INF])
@pytest.mark.parametrize("field", ["value", "ci_low", "ci_high", "error"])
def test_a_difference_that_is_none_is_incomparable(field: str, number_: float) -> None:
    known = {"value": 0.1, "ci_low": 0.05, "ci_high": 0.15, "error": 0.02, "n": 40} | {field: number_}
    for better in ("higher", "lower", "neither"):
        score = make_score(better=better, value=0.5)
        found = compare(score, make_score(better=better), 0.0, Difference(**known))  # type: ignore[arg-type]
        assert (found.verdict, found.reason) == ("incomparable", "the difference cannot be computed")


@pytest.mark.parametrize("value", [1.7e308, -1.7e308, 1e200])
def test_scores_that_are_too_large_to_compute_with_are_incomparable(value: float) -> None:
    score = make_score(value=value, half=0.0)
    for pair in ((score, make_score()), (make_score(), score), (score, make_score(value=-value, half=0.0))):
        assert compare(*pair, 0.0).verdict == "incomparable"
    assert ranks([score, make_score(sae="b"), make_score(sae="c", value=0.1)]) == {"b": 2, "c": 1}
    assert [found.sae for found, _ in front_of([score, make_score(sae="b")])] == ["b"]


@pytest.mark.parametrize("tolerance", [NAN, INF, -0.1])
def test_a_tolerance_that_is_none_is_refused(tolerance: float, tmp_path: Path) -> None:
    from saebench.compare.settings import read_settings

    with pytest.raises(ValueError, match="must be 0 or more"):
        compare(make_score(), make_score(), tolerance)
    with pytest.raises(ValueError, match="tolerance at 0"):
        Property("a.b", 1, "lower", "x", tolerance=tolerance)
    (tmp_path / "pyproject.toml").write_text(f'[tool.saebench.tolerances]\n"a.b" = {tolerance}\n')
    with pytest.raises(ValueError, match="must be a number of 0 or more"):
        read_settings(tmp_path)


@pytest.mark.parametrize("written", ["true", '"0.1"', '"nan"', "[0.1]"])
def test_a_tolerance_is_a_number(written: str, tmp_path: Path) -> None:
    from saebench.compare.settings import read_settings

    (tmp_path / "pyproject.toml").write_text(f'[tool.saebench.tolerances]\n"a.b" = {written}\n')
    with pytest.raises(ValueError, match=r"tolerances\.a\.b"):
        read_settings(tmp_path)
    (tmp_path / "pyproject.toml").write_bytes(b'\xef\xbb\xbf[tool.saebench.tolerances]\n"a.b" = 1\n')
    assert read_settings(tmp_path) == Settings(tolerances={"a.b": 1.0})


@pytest.mark.parametrize("text", ["a.b>=nan", "a.b<=inf", "a.b<=1e999", "a.b>=-1e999", "a.b>NaN", "a.b<1e"])
def test_a_demand_that_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="and a number"):
        Demand.parse(text)


@pytest.mark.parametrize("value", [NAN, INF])
def test_a_value_that_is_none_meets_no_demand(value: float) -> None:
    score = make_score(property="a.b").model_copy(update={"value": value})
    assert Demand.parse("a.b<=.5").missed(score)
    assert Demand.parse("a.b>=.5").missed(score)


@pytest.mark.parametrize("l0", [None, NAN, 0.0, -3.0, 1.7e308, 1e-320, INF])
def test_an_l0_that_is_none_is_compared_with_nothing_and_drawn_nowhere(l0: float | None, tmp_path: Path) -> None:
    score = make_score(property="reconstruction.fvu", d_sae=1024, budget="quick").model_copy(update={"l0": l0})
    assert baseline_at(score, reference(), "topk") == "the L0 of what is compared with it is not known"
    odd = [row.model_copy(update={"l0": l0}) for row in reference()[:2]]
    beside = score.model_copy(update={"l0": 14.0, "sae": "b"})
    assert not isinstance(baseline_at(beside, [*reference(), *odd], "topk"), str)
    assert status_word(score)
    store = Store(tmp_path / "a.jsonl")
    if l0 is None or math.isfinite(l0):
        for name in ("f/a", "f/b"):
            store.append(score.model_copy(update={"sae": name}))
        store.append(beside)
        assert main(["publish", str(store.path), "--to", str(tmp_path / "boards")]) == 0


@pytest.mark.parametrize("value", [1.7e308, -1.7e308])
def test_a_curve_is_not_drawn_through_what_cannot_be_computed_with(value: float) -> None:
    rows = [*reference(), *[row.model_copy(update={"value": value, "l0": 20.0}) for row in reference()[:2]]]
    found = baseline_at(reference()[3].model_copy(update={"sae": "mine"}), rows, "topk")
    assert not isinstance(found, str)
    assert found.value == pytest.approx(0.4 - 0.1 * math.log(14.0))
    new = [
        score.model_copy(update={"sae": f"mine:New/l0-8/seed-{i}", "value": value})
        for i, score in enumerate(reference())
    ]
    assert architectures_table(new, Matched(reference(), "topk")) == []


def test_p_values_that_are_none_reject_nothing() -> None:
    assert holm([NAN, 0.001]) == pytest.approx([1.0, 0.002])
    finding = reliability.corrected({None: reliability.Tested("x", NAN)})[None]  # type: ignore[dict-item]
    assert finding.verdict == "fails"


def test_differences_of_whole_numbers_and_truth_values_are_those_of_numbers() -> None:
    for kind in (np.uint8, np.bool_, np.float16):
        own, other = np.array([0, 1, 0, 1, 1, 0], kind), np.array([1, 0, 1, 1, 0, 1], kind)
        found = paired(make_score(value=0.5), make_score(value=2 / 3), {"contribution": own}, {"contribution": other})
        assert found is not None
        assert found.error == pytest.approx((own.astype(float) - other.astype(float)).std(ddof=1) / 6**0.5)


def test_numbers_of_any_size_are_short() -> None:
    for value in (1.7e308, -1.7e308, 5e-324, NAN, INF, 1e9):
        assert len(number(value)) < 12
        assert len(tenths(value)) < 12
        for half in (0.0, 0.1, 1.7e308, NAN, INF):
            assert len(with_interval(value, half)) < 24


# Names

STEERS = [HOSTILE[name] for name in UNSHOWABLE] + ["\x9b31m", "\u2066x\u2069", "a\rb", "a\tb", "\x00"]


FIELDS = ("sae", "model", "hook", "unit", "n_unit", "architecture", "corpus", "commit", "budget", "created")


def test_no_name_of_the_catalogue_steers_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = board(tmp_path / "a.jsonl")
    _, out, _ = told(["show", "*", "--scores", str(scores.path), "--all"], capsys)
    assert all(f"{family.name}/" in out for family in families())


@pytest.mark.usefixtures("_one_family")
@pytest.mark.parametrize("text", [text for text in STEERS if text != HOSTILE["half"]])
def test_no_name_steers_a_terminal_or_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    a, b = (Store(tmp_path / f"{name}.jsonl") for name in "ab")
    for store in (a, b):
        for field in FIELDS:
            store.append(make_score(**{field: text}, sae_digest=field))  # type: ignore[arg-type]
        everything = dict.fromkeys(FIELDS, text)
        known: dict[str, Any] = {"controls": {text: 1.0}, "versions": {text: text}, "params": {text: text}}
        store.append(make_score(**everything, **known, property=f"x.{text}"))
        store.append(make_score(**everything, property="x.other", unscored=f"why {text}"))
    for command in commands(a.path, b.path, tmp_path).values():
        told(command, capsys, codes=(0, 1, 4))
    told(["show", "*", "--scores", str(a.path), "--all"], capsys)
    told(["compare", f"{a.path}:{text}", f"{b.path}:{text}"], capsys)
    told(["compare", f"{a.path}:{text}nowhere", str(b.path)], capsys)
    pages = [path for path in (tmp_path / "boards").rglob("*.*") if path.suffix in (".md", ".svg")]
    assert pages
    for path in pages:
        assert all(line.replace("\t", "").isprintable() for line in path.read_text("utf-8").split("\n")), path
    html = (tmp_path / "boards" / "a.html").read_text("utf-8")
    assert text in "\t\x00\x1b" or f'"{text}"' not in html


@pytest.mark.parametrize("text", [text for text in STEERS if text != HOSTILE["half"]])
def test_nothing_that_a_run_says_steers_a_terminal_or_a_report(text: str) -> None:
    score = make_score(sae=f"a{text}b", unit=text, n_unit=text)
    lines = summary([score, make_score(unscored=text)], [], [text], 2, f"s{text}.jsonl")
    lines += [status_word(score), Judgement(word="ok", line=text, note=text).line, shown(text)]
    report = type("Report", (), {"user_properties": [("saebench_score", carried(score))]})()
    assert carried(score).isascii()
    assert score_of(report) == score
    assert all(line.isprintable() for line in [*lines, carried(score)])


@pytest.mark.parametrize("name", ["file", "row", "lock"])
def test_file_names_do_not_steer_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    path = tmp_path / "a\x1b[31m\u202eb.jsonl"
    told(["compare", str(path), str(path)], capsys)
    told(["show", "x", "--scores", str(path)], capsys)
    told(["publish", str(path), "--to", str(tmp_path / "boards")], capsys)
    path.write_text("buy milk")
    for command in commands(path, path, tmp_path).values():
        assert told(command, capsys)[0] == 4
    assert path.read_text() == "buy milk"
    assert main(["merge", str(path), "--to", str(path)]) == 4


# Pictures


@pytest.mark.parametrize("text", ["a\x00b", "x" * 100_000, "1" * 100_000, "\u202e", "", " "])
def test_names_of_any_kind_are_drawn(tmp_path: Path, text: str) -> None:
    store = Store(tmp_path / "a.jsonl")
    for field in ("sae", "model", "architecture", "corpus", "property", "params"):
        value: Any = {"k": text} if field == "params" else f"x.{text}" if field == "property" else text
        more: dict[str, Any] = {"property": "context_length.kl_retention", "sae": field, field: value}
        store.append(make_score(**more), {"contribution": GOOD, **CURVE})
    store.append(make_score(sae="b", property="context_length.kl_retention", model="another", model_digest="x"))
    with limited(60, VAST):
        assert main(["publish", str(store.path), "--to", str(tmp_path / "boards")]) == 0


def test_numbers_of_any_size_are_drawn(tmp_path: Path) -> None:
    store = Store(tmp_path / "a.jsonl")
    for i, value in enumerate((1.7e308, -1.7e308, 5e-324, 0.5, 1e16, 0.1)):
        for l0 in (1.7e308, 5e-324, 8.0, 1e-3, 1e9):
            known: dict[str, Any] = {
                "property": "context_length.kl_retention",
                "sae": f"{i} {l0}",
                "l0": l0,
                "fvu": value,
            }
            curve = {**CURVE, "kl": np.full(8, value), "context_size": [2**62]}
            store.append(make_score(value=value, half=0.0, floor=-value, ceiling=value, **known), curve)
    with limited(60, VAST):
        assert main(["publish", str(store.path), "--to", str(tmp_path / "boards")]) == 0
    assert coordinate(1e16) is None
    assert coordinate(NAN) is None


def test_a_line_of_a_million_points_is_thinned() -> None:
    spec = line_chart([Series("a", range(10**6), range(10**6))], title="t", x_label="x", y_label="y")
    assert 1000 < len(spec["data"]["values"]) <= 5000


def test_a_page_holds_no_text_that_steers_or_that_no_end_has() -> None:
    html = page({"title": "t\x1b", "models": [], "a": ["\u202e" * 10, {"b\x00": "x" * 10**6}]})
    assert isinstance(html, Sealed)
    assert all(mark not in str(html.source) for mark in ("\x1b", "\u202e", "\x00"))
    assert len(str(html.source["data"])) < 10_000


def test_long_names_are_sorted_and_guessed_at_once() -> None:
    with limited(2):
        assert natural("a" + "9" * 100_000) > natural("a10") > natural("a9")
        assert sorted(["k128", "k16", "k016b"], key=natural) == ["k16", "k016b", "k128"]
        assert nearest("x" * 100_000, ["x" * 99_999, "y"]) == ""
        assert nearest("yy", ["x" * 100_000, "yyy"]) == " Did you mean 'yyy'?"
