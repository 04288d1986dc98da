"""Labelled sets furthest below and above the activation, as `saebench show` prints them."""

from pathlib import Path

import pytest
from factories import make_score

from saebench.boards.probed import GAP, probed_rows
from saebench.cli import main
from saebench.record.store import Store

SETS = 14


def stored(folder: Path) -> Store:
    """Set i is as far above the activation as i - 7 hundredths."""
    store = Store(folder / "scores.jsonl")
    above = [(i - 7) / 100 for i in range(SETS)]
    items = {
        "item": [f"set {i}" for i in range(SETS)], "contribution": [-gap for gap in above],
        "dense": [0.8] * SETS, "all": [0.8 + gap for gap in above], "told_by": [f"{i} (Rome, Oslo)" for i in range(SETS)],
    }  # fmt: skip
    store.append(make_score(property=GAP, params={}, sae="f/a", n_unit="labelled set", better="lower"), items)
    return store


def test_the_furthest_below_come_first_and_the_furthest_above_last(tmp_path: Path) -> None:
    store = stored(tmp_path)
    rows = probed_rows(store, store.read(), 5)
    assert rows is not None
    assert [row[0] for row in rows] == [f"set {i}" for i in (0, 1, 2, 3, 4, 9, 10, 11, 12, 13)]
    assert rows[0] == ["set 0", "0.800", "0.730", "-0.070", "0 (Rome, Oslo)"]
    assert len(probed_rows(store, store.read(), None) or []) == SETS
    assert len(probed_rows(store, store.read(), 7) or []) == SETS


def test_nothing_is_said_where_it_was_not_measured(tmp_path: Path) -> None:
    assert probed_rows(Store(tmp_path / "scores.jsonl"), [], 5) is None


def test_show_prints_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(stored(tmp_path).path)
    assert main(["show", "f/a", "--scores", path]) == 0
    told = capsys.readouterr().out
    assert "set 13" in told
    assert "set 6" not in told
    assert "0 (Rome, Oslo)" in told
