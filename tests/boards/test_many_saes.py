"""Boards of a sweep: what is left out for its size is said, and nothing else changes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn import RESPONSE
from factories import make_score

from saebench.boards import page_data as written
from saebench.boards import page_pairs, pictures, scatter
from saebench.boards.page import page
from saebench.boards.page_data import LARGE, page_data
from saebench.record.score import Score
from saebench.record.store import Store

LETTERS = {"item": list("ABCDE"), "contribution": [0.1, 0.2, 0.3, 0.4, 0.5]}


def sweep(count: int) -> list[Score]:
    """SAEs of rising L0, whose scores are noise but for those of the front."""
    rng = np.random.default_rng(0)
    known: dict[str, Any] = {"property": "first_letter.f1", "better": "higher", "floor": 0.0, "ceiling": 1.0}
    return [
        make_score(sae=f"zoo/{i}", value=float(rng.uniform(0.3, 0.9)), l0=10.0 + i, architecture="topk", **known)
        for i in range(count)
    ]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    found = Store(tmp_path / "zoo.jsonl")
    for score in sweep(6):
        found.append(score, LETTERS)
    return found


@pytest.mark.parametrize("most", [5, 6])
def test_a_page_of_many_has_scores_and_ranks_and_says_what_it_leaves_out(
    store: Store, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(written, "MOST_SAES", most)
    monkeypatch.setattr(page_pairs, "MOST_SAES", most)
    monkeypatch.setattr(page_pairs, "MOST", 2)
    data = page_data(store, store.read(), title="zoo", headlines=["first_letter.f1"])
    (model,), large = data["models"], most < 6
    assert data.get("notes", []) == [LARGE] * large
    assert [pairs is None for pairs in model["pairs"]] == [large]
    assert [bool(sae["items"]) for sae in model["saes"]] == [not large] * 6
    assert all(sae["cells"][0]["rank"] and sae["cells"][0]["text"] for sae in model["saes"])
    assert ("data.notes.map" in page(data).text()) == large


def test_of_many_points_those_of_the_front_and_an_even_choice_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scatter, "MOST_POINTS", 50)
    scores = sweep(400)
    spec = scatter.scatter([("f1", scores)], "t", scatter.looks(scores))
    (panel,) = spec["concat"]
    drawn = {row["l0"] for row in panel["data"]["values"]}
    (front,) = (one["data"]["values"] for one in panel["layer"] if one["mark"]["type"] == "line")
    assert 50 <= len(drawn) < 70
    assert {row["l0"] for row in front[:-1]} <= drawn
    assert max(np.diff(sorted(drawn))) <= 8
    assert scatter.THINNED in spec["title"]["subtitle"]
    few = scatter.scatter([("f1", scores[:50])], "t", scatter.looks(scores))
    assert len(few["concat"][0]["data"]["values"]) == 50
    assert scatter.THINNED not in few["title"]["subtitle"]


def test_response_curves_of_the_first_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "s.jsonl")
    for name in ("b", "a", "c"):
        store.append(make_score(sae=name, property="distinguishability.angle", better="neither"), RESPONSE)
    _, all_shown = pictures.pictures(store, store.read(), "board")
    monkeypatch.setattr(pictures, "MOST_RESPONSES", 2)
    files, shown = pictures.pictures(store, store.read(), "board")
    assert [path for path in files if "responses" in path] == [
        "board.pictures/responses/a.svg",
        "board.pictures/responses/b.svg",
    ]
    assert ", of the first 2 of 3 SAEs: [a]" in shown["distinguishability"]
    assert "of the first" not in all_shown["distinguishability"]
