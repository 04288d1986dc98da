"""What is on disk survives kills, races and edits, or says in one sentence what is wrong."""

import contextlib
import gc
import gzip
import os
import socket
import subprocess
import sys
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from factories import make_score
from filelock import FileLock
from hostile import limited

from saebench.record.lines import Line
from saebench.record.score import Score
from saebench.record.store import Store

APPEND = """
import sys
sys.path[:0] = sys.argv[3:]
from factories import make_score
from filelock import FileLock
from saebench.record.store import Store
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
    assert not store.stored()
    assert not store.path.parent.exists()


def test_newest_line_wins_at_its_first_place(store: Store) -> None:
    for name, value in (("a", 0.1), ("b", 0.2), ("a", 0.3)):
        store.append(make_score(sae=name, value=value))
    assert [(s.sae, s.value) for s in store.newest().values()] == [("a", 0.3), ("b", 0.2)]


TORN = [
    b'{"schema":1,"prop',
    b"\x00\x00\x00",
    b'{"cut": \n',
    b'{"name": "\xc3',
    b'{"a": "' + b"x" * 9000,
    b'{"a":\0\0\0',
]


def torn_files(store: Store) -> list[bytes]:
    return [path.read_bytes() for path in sorted(store.path.parent.glob("*.torn-*"))]


@pytest.mark.parametrize("torn", TORN)
def test_torn_tail_is_ignored_then_moved_aside_by_an_append(store: Store, torn: bytes) -> None:
    first = store.append(make_score())
    with store.path.open("ab") as file:
        file.write(torn)
    whole = store.path.read_bytes()
    again = Store(store.path)
    assert again.read() == [first]
    assert list(again.stored().values()) == [first]
    assert store.path.read_bytes() == whole, "reading changes nothing"
    second = again.append(make_score(sae="other"))
    assert again.read() == [first, second]
    assert torn_files(store) == [torn]
    assert again.notes == [
        f"the last line of {store.path} was unfinished, as a killed process leaves it; it is in scores.jsonl.torn-1 now"
    ]


def test_each_torn_tail_has_a_file_of_its_own(store: Store) -> None:
    store.append(make_score())
    for torn in TORN[:3]:
        with store.path.open("ab") as file:
            file.write(torn)
        store.append(make_score())
    assert torn_files(store) == TORN[:3]
    assert len(store.notes) == 3


def test_a_first_score_that_is_torn_is_moved_aside(store: Store) -> None:
    store.path.parent.mkdir()
    store.path.write_text(make_score().to_line()[:300])
    assert store.read() == []
    score = store.append(make_score())
    assert store.read() == [score]
    assert len(torn_files(store)) == 1


def test_whole_line_without_newline_is_kept(store: Store) -> None:
    first = store.append(make_score())
    store.path.write_bytes(store.path.read_bytes().rstrip())
    second = store.append(make_score(sae="other"))
    assert store.read() == [first, second]
    assert torn_files(store) == []


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
    whole = store.path.read_bytes()
    for action in (store.read, store.stored, lambda: store.append(make_score())):
        with pytest.raises(ValueError, match="line 2"):
            action()
    assert store.path.read_bytes() == whole


LINE = make_score().to_line().encode()
FOREIGN: dict[str, bytes] = {
    "notes": b"buy milk",
    "notes with an end": b"buy milk\n",
    "lines": b"a\nb\nc",
    "json": b'{"a": [1,\n 2]}',
    "one line of json": b'{"a": 1}',
    "unfinished json": b'{"a": [1, 2',
    "csv": b"step,loss\n1,0.5\n2,0.4\n",
    "weights": (len(b"{}")).to_bytes(8, "little") + b"{}" + bytes(range(256)) * 8000,
    "zeros": bytes(1000),
    "gzip": gzip.compress(LINE + b"\n"),
    "zip": b"PK\x03\x04" + bytes(100),
    "utf-16": LINE.decode().encode("utf-16"),
    "old mac": (LINE + b"\r") * 20,
    "old mac, unfinished": (LINE + b"\r") * 20 + LINE[:100],
    "nested": LINE + b"\n" + b'{"a":' * 100_000,
    "nested lists": LINE + b"\n" + b"[" * 100_000,
    "scores, then notes": LINE + b"\nbuy milk",
    "scores, then another object": LINE + b'\n{"a": 1}',
    "scores, then a torn line, then scores": LINE + b"\n" + LINE[:50] + b"\n" + LINE + b"\n",
    "a number that is none": LINE.replace(b"0.412", b"NaN") + b"\n",
}


@pytest.mark.parametrize("content", [pytest.param(content, id=name) for name, content in FOREIGN.items()])
def test_what_holds_anything_but_scores_is_refused_and_stays_as_it_is(store: Store, content: bytes) -> None:
    store.path.parent.mkdir()
    store.path.write_bytes(content)
    actions = (store.read, store.stored, lambda: store.append(make_score()), lambda: store.replace([]))
    for action in (*actions, lambda: Store(store.path).append(make_score(), {"x": [1.0]})):
        with pytest.raises(ValueError, match=r"scores\.jsonl, line \d is not a score \(.*\): ") as caught:
            action()
        assert "\n" not in str(caught.value)
    assert store.path.read_bytes() == content
    assert {path.name for path in store.path.parent.iterdir()} <= {"scores.jsonl", "scores.jsonl.lock"}


def test_what_another_kind_of_file_is_is_said(store: Store) -> None:
    store.path.parent.mkdir()
    for name, said in (("utf-16", "save it as UTF-8"), ("gzip", "gunzip"), ("old mac", r"replace each \r by \n")):
        store.path.write_bytes(FOREIGN[name])
        with pytest.raises(ValueError, match="is not a score") as caught:
            store.read()
        assert said in str(caught.value)


def test_a_byte_order_mark_and_line_ends_of_windows_are_read(store: Store) -> None:
    score = make_score()
    store.path.parent.mkdir()
    store.path.write_bytes(b"\xef\xbb\xbf" + LINE + b"\r\n\r\n" + LINE + b"\r\n")
    assert store.read() == [score, score]
    assert list(store.stored().values()) == [score]
    store.append(score)
    assert store.read() == [score] * 3
    assert torn_files(store) == []


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "endless device", "socket"])
@pytest.mark.parametrize("place", ["scores.jsonl", "scores.jsonl.lock"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str, place: str) -> None:
    path = tmp_path / place
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listening:
        match kind:
            case "folder":
                path.mkdir()
            case "pipe":
                os.mkfifo(path)
            case "socket":
                listening.bind(str(path))
            case "device" | "endless device":
                path.symlink_to("/dev/full" if kind == "device" else "/dev/zero")
        store = Store(tmp_path / "scores.jsonl")
        with limited(2):
            for action in (store.check_writable, lambda: store.append(make_score())):
                with pytest.raises(ValueError, match=f"{place} is a {kind.split()[-1]}, and "):
                    action()
            if place == "scores.jsonl":
                for action in (store.read, store.newest, store.stored, store.lines):
                    with pytest.raises(ValueError, match=f"{place} is a {kind.split()[-1]}, and "):
                        action()


def test_a_file_in_the_place_of_the_lock_is_not_emptied(store: Store) -> None:
    store.path.parent.mkdir()
    lock = store.path.with_name("scores.jsonl.lock")
    lock.write_text("[[package]]")
    for action in (store.check_writable, lambda: store.append(make_score())):
        with pytest.raises(ValueError, match="is no lock of saebench, and would be emptied"):
            action()
    assert lock.read_text() == "[[package]]"


def test_a_line_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "sparse.jsonl"
    with path.open("wb") as file:
        file.truncate(2**40)
    with limited(10), pytest.raises(ValueError, match="line 1 is not a score"):
        Store(path).stored()


def test_where_scores_could_not_be_appended_is_noticed_before(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("")
    (tmp_path / "b.items").write_text("")
    for name in ("notes/a.jsonl", "notes/below/a.jsonl", f"{'a' * 252}.jsonl", "b.jsonl", "\0.jsonl"):
        with pytest.raises((OSError, ValueError)):
            Store(tmp_path / name).check_writable()
    for name in ("", ".", "/"):
        with pytest.raises(ValueError, match="is no name of a scores file"):
            Store(name)


def test_a_check_leaves_nothing_but_a_lock_behind(store: Store) -> None:
    store.check_writable()
    assert [path.name for path in store.path.parent.iterdir()] == ["scores.jsonl.lock"]
    score = store.append(make_score(), {"x": [1.0]})
    before = store.path.read_bytes()
    store.check_writable()
    assert store.path.read_bytes() == before
    assert [path.stem for path in store.items_dir.iterdir()] == [score.items]


class Counting(Store):
    """Knows which lines it parsed."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.parsed: list[int] = []

    def _parse(self, line: Line) -> Score:
        self.parsed.append(line.number)
        return super()._parse(line)


def test_an_append_reads_no_more_than_what_others_wrote(store: Store) -> None:
    for number in range(5):
        store.append(make_score(sae=str(number)))
    own = Counting(store.path)
    own.append(make_score())
    own.append(make_score())
    assert own.parsed == [1, 2, 3, 4, 5, 6]
    store.append(make_score(sae="of another process"))
    own.append(make_score())
    own.append(make_score())
    assert own.parsed == list(range(1, 10))
    assert len(own.read()) == 10


def test_stored_scores_are_read_when_they_are_asked_for(store: Store) -> None:
    scores = [store.append(make_score(sae=name, value=value)) for name, value in (("a", 0.1), ("b", 0.2), ("a", 0.3))]
    stored = store.stored()
    assert len(stored) == 2
    assert [stored[identity] for identity in stored] == [scores[2], scores[1]]
    lines = store.path.read_bytes().splitlines(keepends=True)
    store.path.write_bytes(lines[0] + lines[2])
    assert stored.get(scores[1].identity()) is None, "what is not there any more is measured again"
    store.path.unlink()
    assert stored.get(scores[0].identity()) is None


@pytest.mark.parametrize("harm", ["deleted", "cut", "replaced", "edited"])
def test_scores_that_vanish_during_a_run_are_told(store: Store, harm: str) -> None:
    scores = [store.append(make_score(sae=name)) for name in "abc"]
    assert store.lost(scores) == ""
    lines = store.path.read_bytes().splitlines(keepends=True)
    match harm:
        case "deleted":
            store.path.unlink()
        case "cut":
            store.path.write_bytes(lines[0])
        case "replaced":
            (store.path.parent / "new").write_bytes(lines[2])
            (store.path.parent / "new").replace(store.path)
        case "edited":
            store.path.write_bytes(lines[0].replace(b"0.412", b"0.411") * 4)
    scores.append(store.append(make_score(sae="d")))
    gone = 3 - len(store.read()[:-1]) if harm != "edited" else 3
    assert f"4 scores were recorded, and {gone} of them are not in {store.path}" in store.lost(scores)
    assert store.read()[-1] == scores[-1]


def test_notes_that_took_the_place_of_scores_during_a_run_stay_as_they_are(store: Store) -> None:
    scores = [store.append(make_score())]
    store.path.write_text("buy milk")
    with pytest.raises(ValueError, match="line 1 is not a score"):
        store.append(make_score())
    assert "1 scores were recorded, and " in store.lost(scores)
    assert store.path.read_text() == "buy milk"


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


def test_scores_of_a_file_hold_the_names_of_their_fields_together(tmp_path: Path) -> None:
    """They are half of what a score takes in memory."""
    store = Store(tmp_path / "s.jsonl")
    for name in ("a", "b"):
        store.append(make_score(sae=name))
    first, second = store.read()
    assert first.model_fields_set is second.model_fields_set
    assert first.model_copy(update={"sae": "c"}).model_fields_set is not second.model_fields_set
    assert [first.to_line(), second.to_line()] == store.path.read_text().splitlines()


def test_the_collector_of_cycles_is_on_again_after_a_file_was_refused(tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_text('{"schema": 2}\n{}\n')
    with pytest.raises(ValueError, match="line 1 is not a score"):
        Store(tmp_path / "s.jsonl").newest()
    assert gc.isenabled()
