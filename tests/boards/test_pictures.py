"""Pictures show what the scores say, have names that every system takes, and know what they were drawn from."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import altair
import pytest
from drawn import CURVE, HOSTILE, RESPONSE, elements, svg, texts
from factories import make_score

from saebench.boards.pictures import context_length_picture, drawing, pictures, response_pictures
from saebench.boards.plot import PALETTE
from saebench.boards.scatter import CONTROL, drawable, looks, scatter
from saebench.boards.sealed import Sealed, digest
from saebench.record.score import Score
from saebench.record.store import Store


def f1(sae: str, value: float, l0: float | None, **overrides: Any) -> Score:
    known = {"property": "first_letter.f1", "better": "higher", "floor": 0.0, "ceiling": 1.0, "architecture": "topk"}
    return make_score(sae=sae, value=value, l0=l0, **(known | overrides))


def layer(spec: dict[str, Any], mark: str, panel: int = 0) -> list[dict[str, Any]]:
    return [one for one in spec["concat"][panel]["layer"] if one["mark"]["type"] == mark]


SCORES = [
    f1("a", 0.6, 16.0), f1("b", 0.8, 32.0, architecture="gated"), f1("c", 0.7, 33.0), f1("d", 0.5, 15.0, control=True),
    make_score(sae="e", property="first_letter.f1", unscored="no letters", better="higher"), f1("f", 0.9, None),
]  # fmt: skip


def test_front_error_bars_and_controls_of_a_panel() -> None:
    spec = scatter([("f1", SCORES)], "first_letter", looks(SCORES))
    altair.Chart.from_dict(spec)
    (front,) = layer(spec, "line")
    assert front["data"]["values"] == [{"l0": 16, "y": 0.6}, {"l0": 32, "y": 0.8}, {"l0": 33, "y": 0.8}]
    assert front["mark"]["interpolate"] == "step-after"
    rows = spec["concat"][0]["data"]["values"]
    assert [row["kind"] for row in rows] == ["topk", "gated", "topk", "control"]
    assert all(row["low"] < row["y"] < row["high"] for row in rows)
    assert "↑" in spec["concat"][0]["encoding"]["y"]["axis"]["title"]
    drawn = svg(spec)
    assert {"topk", "gated", "control", "first_letter", "f1  ↑ higher is better"} <= set(texts(drawn))
    assert drawn == svg(scatter([("f1", SCORES)], "first_letter", looks(SCORES)))


def test_the_scale_is_of_the_saes_and_controls_do_not_squeeze_it() -> None:
    far = [*SCORES, f1("far", -40.0, 2000.0, control=True)]
    spec = scatter([("f1", far)], "first_letter", looks(far))
    low, high = spec["concat"][0]["encoding"]["y"]["scale"]["domain"]
    left, right = spec["concat"][0]["encoding"]["x"]["scale"]["domain"]
    assert 0.2 < low < 0.57
    assert 0.83 < high < 1.0
    assert 10 < left < 16
    assert 33 < right < 50
    assert spec["concat"][0]["encoding"]["y"]["scale"]["clamp"]


def test_floor_and_ceiling_are_lines_where_they_are_the_same_for_all() -> None:
    same = [f1("a", 0.03, 16.0), f1("b", 0.97, 32.0)]
    own = [f1("a", 0.1, 16.0, floor=0.05), f1("b", 0.9, 32.0, floor=0.2, ceiling=50.0)]
    dashed = [one for one in layer(scatter([("f1", same)], "t", looks(same)), "rule") if "data" in one]
    assert [one["data"]["values"][0]["y"] for one in dashed] == [0.0, 1.0]
    points = [one for one in layer(scatter([("f1", own)], "t", looks(own)), "point") if "data" in one]
    assert [row["y"] for row in points[0]["data"]["values"]] == [0.05, 0.2]


def test_kinds_have_colours_and_shapes_of_their_own() -> None:
    many = [make_score(architecture=f"arch{i:02}") for i in range(20)] + [make_score(control=True), make_score()]
    found = looks(many)
    assert len(set(found.values())) == len(found) == 22
    assert list(found)[-1] == CONTROL
    assert found[CONTROL][0] not in PALETTE
    assert drawable([make_score(l0=0.0), make_score(l0=None), make_score(unscored="no")]) == []


def test_an_architecture_called_control_is_not_taken_for_one() -> None:
    assert len(looks([make_score(architecture="control"), make_score(control=True)])) == 2


def test_files_and_markdown_of_a_board(tmp_path: Path) -> None:
    store = Store(tmp_path / "zoo.jsonl")
    known = {"property": "context_length.kl_retention", "better": "higher"}
    scores = [*SCORES, store.append(make_score(sae="a", **known), CURVE)]
    scores.append(store.append(make_score(sae="o/a", property="distinguishability.angle", better="neither"), RESPONSE))
    files, shown = pictures(store, scores, "zoo")
    assert set(files) == {
        "zoo.pictures/first_letter.svg", "zoo.pictures/context_length.svg", "zoo.pictures/kl_by_position.svg",
        "zoo.pictures/responses/a.svg",
    }  # fmt: skip
    assert set(shown) == {"first_letter", "context_length", "distinguishability"}
    assert all(f"({path})" in "".join(shown.values()) for path in files)
    for file in files.values():
        altair.Chart.from_dict(file.source)
        drawn = file.text()
        assert ElementTree.fromstring(drawn).tag.endswith("svg")
        assert file.source["config"]["background"] == "#ffffff"
        assert file.matches(drawn)


def test_models_have_panels_of_their_own(tmp_path: Path) -> None:
    other = [score.model_copy(update={"model": "gpt2", "model_digest": "g"}) for score in SCORES]
    files, _ = pictures(Store(tmp_path / "zoo.jsonl"), [*SCORES, *other], "zoo")
    titles = [
        panel["encoding"]["y"]["axis"]["title"] for panel in files["zoo.pictures/first_letter.svg"].source["concat"]
    ]
    assert [title.split("  ")[0] for title in titles] == ["f1 on organism", "f1 on gpt2"]


def test_other_seeds_and_boards_without_scores_are_not_drawn(tmp_path: Path) -> None:
    seeded = [score.model_copy(update={"seed": 1}) for score in SCORES]
    assert (
        pictures(Store(tmp_path / "zoo.jsonl"), seeded, "zoo")
        == pictures(Store(tmp_path / "x.jsonl"), [], "zoo")
        == ({}, {})
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_harmless(name: str, tmp_path: Path) -> None:
    store = Store(tmp_path / "zoo.jsonl")
    angle = make_score(property="distinguishability.angle", sae=f"../{name}", better="neither")
    # What cannot be written as UTF-8 cannot stand in a file of scores either.
    angle = store.append(angle, RESPONSE) if name.isascii() else angle
    scores = [f1(f"../{name}", 0.5, 16.0, architecture=name), f1(f"../{name}2", 0.5, 17.0), angle]
    files, shown = pictures(store, scores, "zoo")
    for path, file in files.items():
        assert len(Path(path).name) < 120
        assert ".." not in Path(path).parts
        assert not elements(file.text(), "script")
    assert "<script" not in "".join(shown.values())


def test_names_that_would_share_a_file_do_not(tmp_path: Path) -> None:
    store = Store(tmp_path / "zoo.jsonl")
    known = {"property": "distinguishability.angle", "better": "neither"}
    names = ["x/a b", "x/a_b", "x/a?b", "x/A_B", "y/a_b"]
    scores = [store.append(make_score(sae=sae, **known), RESPONSE) for sae in names]
    files, _ = pictures(store, scores, "zoo")
    assert len({path.lower() for path in files}) == 5


def test_kl_by_position_has_a_chart_per_architecture_and_controls_only_where_there_is_nothing_else(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path / "zoo.jsonl")
    known = {"property": "context_length.kl_retention", "better": "higher"}

    def retention(sae: str, **overrides: Any) -> Score:
        return store.append(make_score(sae=sae, **known, **overrides), CURVE)

    scores = [retention(f"s{i}", architecture="topk") for i in range(14)] + [retention("g", architecture="gated")]
    control = retention("control", control=True)
    spec = context_length_picture(store, [*scores, control])
    assert spec is not None
    assert [chart["title"] for chart in spec["concat"]] == ["gated", "topk"]
    drawn = texts(svg(spec))
    assert [text for text in drawn if text.startswith("s")] == [f"s{i}" for i in range(12)]
    assert "training context (64)" in drawn
    assert context_length_picture(store, [make_score()]) is None
    alone = context_length_picture(store, [control])
    assert alone is not None
    assert [chart["title"] for chart in alone["concat"]] == ["control"]


def test_responses_of_active_features_are_optional(tmp_path: Path) -> None:
    store = Store(tmp_path / "zoo.jsonl")
    inactive = {key: value for key, value in RESPONSE.items() if key.startswith("angle")}
    known = {"property": "distinguishability.angle", "better": "neither"}
    scores = [
        store.append(make_score(sae="both", **known), RESPONSE),
        store.append(make_score(sae="one", **known), inactive),
    ]
    assert {name: len(spec["vconcat"]) for name, spec in response_pictures(store, scores).items()} == {
        "both": 2,
        "one": 1,
    }


def test_a_sealed_file_is_known_by_its_source_and_not_by_its_pixels() -> None:
    file = Sealed({"b": 1, "a": [0.5]}, lambda: "<svg>1</svg>\n")
    text = file.text()
    assert file.matches(text)
    assert Sealed({"a": [0.5], "b": 1}, lambda: "<svg>another library</svg>").matches(text)
    assert not Sealed({"a": [0.6], "b": 1}, lambda: "<svg>1</svg>").matches(text)
    assert not file.matches(text.replace("<svg>1", "<svg>2"))
    assert not file.matches(text + "more")
    assert not file.matches("<svg>1</svg>\n")
    with pytest.raises(ValueError, match="JSON"):
        digest(float("nan"))


def test_looks_are_part_of_what_a_picture_is_drawn_from() -> None:
    spec = scatter([("f1", SCORES)], "first_letter", looks(SCORES))
    assert drawing(spec).source["config"]["background"] == "#ffffff"
    assert digest(drawing(spec).source) != digest(spec)
