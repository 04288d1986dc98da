"""What is on disk survives kills, races and edits, or says in one sentence what is wrong."""

import subprocess
import sys
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from factories import make_score
from filelock import FileLock

from saebench.store import Store

APPEND = """
import sys
sys.path[:0] = sys.argv[3:]
from factories import make_score
from filelock import FileLock
from saebench.store import Store
store = Store(sys.argv[1])
for i in range(40):
    store.append(make_score(sae=f"{sys.argv[2]}/{i}", hook="x" * 9000))
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "deep" / "scores.jsonl")


def test_what_is_appended_is_read_in_order(store: Store) -> None:
    scores = [store.append(make_score(sae=name)) for name in ("b", "a", "c")]
    assert store.read() == scores


def test_absent_file_holds_no_scores(store: Store) -> None:
    assert store.read() == []
    assert store.repair() == 0
    assert not store.path.parent.exists()


def test_newest_line_wins_at_its_first_place(store: Store) -> None:
    for name, value in (("a", 0.1), ("b", 0.2), ("a", 0.3)):
        store.append(make_score(sae=name, value=value))
    assert [(s.sae, s.value) for s in store.newest().values()] == [("a", 0.3), ("b", 0.2)]


@pytest.mark.parametrize("torn", [b'{"schema":1,"prop', b"\x00\x00\x00", b'{"cut": \n', b'{"name": "\xc3'])
def test_torn_tail_is_ignored_then_dropped(store: Store, torn: bytes) -> None:
    first = store.append(make_score())
    with store.path.open("ab") as file:
        file.write(torn)
    assert store.read() == [first]
    assert store.repair() == len(torn)
    assert store.repair() == 0
    assert store.read() == [first]


def test_append_repairs_first(store: Store) -> None:
    first = store.append(make_score())
    with store.path.open("ab") as file:
        file.write(b'{"schema":1')
    second = store.append(make_score(sae="other"))
    assert store.read() == [first, second]


def test_whole_line_without_newline_is_kept(store: Store) -> None:
    first = store.append(make_score())
    store.path.write_bytes(store.path.read_bytes().rstrip())
    assert store.repair() == 0
    second = store.append(make_score(sae="other"))
    assert store.read() == [first, second]


@pytest.mark.parametrize("bad", ["not json", '{"schema": 1}', '{"schema": 2, "value": NaN}'])
def test_malformed_line_in_the_middle_is_named(store: Store, bad: str) -> None:
    line = make_score().to_line()
    store.path.parent.mkdir()
    store.path.write_text(f"{line}\n{bad}\n{line}\n")
    with pytest.raises(ValueError, match=r"scores\.jsonl, line 2 is not a score \(.*\): correct or delete") as caught:
        store.read()
    assert "\n" not in str(caught.value)


def test_last_line_of_another_schema_is_not_thrown_away(store: Store) -> None:
    store.append(make_score())
    with store.path.open("a") as file:
        file.write('{"schema": 2}\n')
    assert store.repair() == 0
    with pytest.raises(ValueError, match="line 2"):
        store.read()


def test_names_with_line_separators_stay_one_line(store: Store) -> None:
    score = store.append(make_score(sae="a\u2028b\nc\x85d"))
    assert store.read() == [score]


def test_two_processes_append_every_line(store: Store) -> None:
    workers = [subprocess.Popen([sys.executable, "-c", APPEND, str(store.path), name, *sys.path]) for name in "ab"]
    assert [worker.wait(timeout=60) for worker in workers] == [0, 0]
    assert {s.sae for s in store.read()} == {f"{name}/{i}" for name in "ab" for i in range(40)}


def test_items_come_back_as_they_went(store: Store) -> None:
    items = {"kl": np.array([1.5, 2.5], dtype=np.float32), "document": np.array([7, 8]), "plain": [1.0, 2.0]}
    score = store.append(make_score(), items)
    found = store.load_items(store.read()[0])
    assert score.items == store.read()[0].items
    assert {name: array.dtype.name for name, array in found.items()} == {
        "kl": "float32", "document": "int64", "plain": "float64",
    }  # fmt: skip
    assert found["kl"].tolist() == [1.5, 2.5]


def test_equal_items_have_one_address_and_others_differ(store: Store) -> None:
    rows: list[dict[str, Any]] = [{"x": [1.0]}, {"x": [1.0]}, {"x": [2.0]}, {"y": [1.0]}, {"x": [[1.0]]}, {"x": [1]}]
    addresses = [store.append(make_score(), row).items for row in rows]
    assert addresses[0] == addresses[1]
    assert len(set(addresses)) == 5
    assert len(list(store.items_dir.iterdir())) == 5


def test_python_objects_are_refused_before_anything_is_written(store: Store) -> None:
    with pytest.raises(ValueError, match="items x hold Python objects"):
        store.append(make_score(), {"x": [object()]})
    assert store.read() == []


def test_score_without_items_has_none(store: Store) -> None:
    assert store.load_items(store.append(make_score())) == {}


def test_missing_damaged_or_changed_items_are_one_sentence(store: Store) -> None:
    score = store.append(make_score(), {"x": np.arange(500.0)})
    other = store.append(make_score(), {"x": [2.0]})
    path, other_path = (store.items_dir / f"{s.items}.npz" for s in (score, other))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="is damaged: delete it"):
        store.load_items(score)
    path.write_bytes(other_path.read_bytes())
    with pytest.raises(ValueError, match="does not hold what its name says"):
        store.load_items(score)
    path.unlink()
    with pytest.raises(ValueError, match="is missing: restore it"):
        store.load_items(score)


def test_address_cannot_leave_its_folder(store: Store) -> None:
    with pytest.raises(ValueError, match="is not an address"):
        store.load_items(make_score(items="../../secret"))


def test_copy_is_compact_and_drops_orphans(store: Store, tmp_path: Path) -> None:
    store.append(make_score(sae="a"), {"x": [1.0]})
    target = Store(tmp_path / "boards" / "organism.jsonl")
    store.copy_to(target.path)
    old = {path.name for path in target.items_dir.iterdir()}
    newest = [store.append(make_score(sae="a"), {"x": [2.0]}), store.append(make_score(sae="b"))]
    store.copy_to(target.path)
    assert target.read() == newest
    assert target.load_items(newest[0])["x"].tolist() == [2.0]
    assert old.isdisjoint(path.name for path in target.items_dir.iterdir())
    assert {path.name for path in target.path.parent.iterdir()} == {"organism.jsonl", "organism.items"}


def test_copy_onto_itself_compacts(store: Store) -> None:
    for value in (0.1, 0.2):
        store.append(make_score(value=value), {"x": [value]})
    store.copy_to(store.path)
    assert [score.value for score in store.read()] == [0.2]
    assert store.load_items(store.read()[0])["x"].tolist() == [0.2]


def test_copy_stops_at_damaged_items(store: Store, tmp_path: Path) -> None:
    score = store.append(make_score(), {"x": [1.0]})
    (store.items_dir / f"{score.items}.npz").write_bytes(b"torn")
    with pytest.raises(ValueError, match="is damaged"):
        store.copy_to(tmp_path / "copy.jsonl")
    assert not (tmp_path / "copy.jsonl").exists()


def test_append_waits_for_another_writer(store: Store) -> None:
    first = store.append(make_score())
    with FileLock(f"{store.path}.lock"):
        writer = Thread(target=Store(store.path).append, args=(make_score(sae="late"),))
        writer.start()
        writer.join(timeout=0.3)
        assert writer.is_alive()
        assert store.read() == [first]
    writer.join(timeout=10)
    assert len(store.read()) == 2
