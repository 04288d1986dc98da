"""A feature's decomposition as it is read: bars with controls beside them and phrases, in the terminal and on the page."""

import json
from pathlib import Path
from typing import Any

import pytest
from factories import make_score

from saebench.boards.decompositions import PROPERTY, bar, decompositions
from saebench.boards.page_data import page_data
from saebench.cli import main
from saebench.record.store import Store

ITEMS: dict[str, list[Any]] = {
    "item": ["Einstein", "chess"], "contribution": [0.4, 0.9],
    "feature": ["Einstein", "Einstein", "chess", "chess"], "latent": [7, 7, 31, 31],
    "subcomponent": ["Germany", "<b>physics</b>", "pieces", "board"], "rate": [1.0, 1 / 3, 1.0, 1.0],
    "control_rate": [0.2, 0.3, 0.0, 0.2], "chance": [0.01, 0.4, 0.008, 0.009],
    "phrases": ["+ in Ulm\n+ in Bern", "- light\n+ mass", "+ a rook\n+ a pawn", "+ white\n+ black"],
    "class": ["partial", "partial", "all", "all"],
}  # fmt: skip


def stored(folder: Path, items: dict[str, Any] | None = None, sae: str = "f/a", **more: Any) -> Store:
    store = Store(folder / "scores.jsonl")
    known = {
        "property": PROPERTY,
        "params": {"source": "description"},
        "sae": sae,
        "n_unit": "feature",
        "better": "higher",
    }
    store.append(make_score(**{**known, **more}), ITEMS if items is None else items)
    return store


def test_latents_come_with_their_parts_those_with_the_largest_j_first(tmp_path: Path) -> None:
    store = stored(tmp_path)
    first, second = decompositions(store, store.read())
    assert (first.feature, first.latent, first.kind, first.j) == ("chess", 31, "all", pytest.approx(0.9))
    assert [part.name for part in second.parts] == ["Germany", "<b>physics</b>"]
    assert second.parts[1].hint == "active on: mass; not on: light"
    assert second.parts[0].cells == ["Germany", "██████████ 1.000", "██         0.200", "0.010"]


@pytest.mark.parametrize(("share", "blocks"), [(-0.1, 0), (0.0, 0), (0.5, 5), (1.0, 10)])
def test_a_bar_is_as_long_as_the_share(share: float, blocks: int) -> None:
    assert bar(share).count("█") == blocks


def test_show_prints_one_latent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(stored(tmp_path).path)
    assert main(["show", "f/a", "--scores", path, "--feature", "7"]) == 0
    told = capsys.readouterr().out
    assert "latent 7: Einstein (chosen on texts that name it), J 0.417, partial" in told
    assert "    - light\n    + mass\n" in told
    assert "chess" not in told


def test_show_says_which_latents_there_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(stored(tmp_path).path)
    assert main(["show", "f/a", "--scores", path, "--feature", "8"]) == 4
    assert "f/a: latent 8 was not taken apart by the suite decomposability; there are 7, 31" in capsys.readouterr().err


def test_without_such_scores_there_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(stored(tmp_path, property="x.y").path)
    assert main(["show", "f/a", "--scores", path, "--feature", "8"]) == 4
    assert "none was" in capsys.readouterr().err


@pytest.mark.parametrize(
    "broken", [{"rate": ["a", "b", "c", "d"]}, {"phrases": ["too", "few"]}, {"latent": [7, 7, 31, float("nan")]}]
)
def test_damaged_items_end_in_a_sentence(
    broken: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(stored(tmp_path, {**ITEMS, **broken}).path)
    assert main(["show", "f/a", "--scores", path, "--feature", "7"]) == 4
    assert "score that property again" in capsys.readouterr().err


def test_the_page_has_bars_controls_and_phrases_as_hints(tmp_path: Path) -> None:
    store = stored(tmp_path)
    (model,) = page_data(store, store.read(), title="t")["models"]
    grids = [grid for group in model["saes"][0]["items"].values() for grid in group["tables"] if "hints" in grid]
    assert [grid["title"].split(" (")[0] for grid in grids] == ["latent 31: chess", "latent 7: Einstein"]
    assert grids[1]["rows"][0][1:3] == ["██████████ 1.000", "██         0.200"]
    assert grids[1]["hints"][1] == "active on: mass; not on: light"
    assert json.dumps(grids)
