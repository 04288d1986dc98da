"""Scores of jobs come together, whatever was killed: none lost, none doubled, and none that does not fit."""

import errno
from pathlib import Path

import pytest
from factories import make_score
from hypothesis import given
from hypothesis import strategies as st

from saebench.record.store import Store
from saebench.sweep import joining
from saebench.sweep.held import begun, held, start
from saebench.sweep.joining import REST, Joiner, leftovers, tidy
from saebench.sweep.ledger import Ledger
from saebench.sweep.packing import pack, unpack


def write(path: Path, *saes: str, value: float = 0.4) -> Path:
    for sae in saes:
        Store(path).append(make_score(sae=sae, value=value), {"x": [float(len(sae)), value]})
    return path


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    (tmp_path / "jobs").mkdir()
    return tmp_path / "jobs"


@pytest.fixture
def joiner(tmp_path: Path) -> Joiner:
    return Joiner(tmp_path / "scores.jsonl")


def saes(joiner: Joiner) -> list[str]:
    store = Store(joiner.target)
    for score in store.read():
        assert len(store.load_items(score)["x"]) == 2
    return sorted(score.sae for score in store.read())


def test_files_of_jobs_are_joined_and_go_away(jobs: Path, joiner: Joiner) -> None:
    for number, names in enumerate((["a/1", "a/2"], ["a/3"])):
        joiner.add(write(jobs / f"{number}.jsonl", *names))
    assert len(joiner.join()) == 2
    joiner.add(write(jobs / "2.jsonl", "a/4"))
    joiner.join()
    assert saes(joiner) == ["a/1", "a/2", "a/3", "a/4"]
    assert list(jobs.iterdir()) == []
    assert not joiner.due


def test_a_file_that_was_joined_and_not_removed_is_joined_again_without_doubles(jobs: Path, joiner: Joiner) -> None:
    joiner.add(write(jobs / "1.jsonl", "a/1", "a/2"))
    kept = pack(jobs / "1.jsonl")
    joiner.join()
    unpack(kept, jobs / "1.jsonl")
    for path in leftovers(jobs):
        joiner.add(path)
    joiner.join()
    assert saes(joiner) == ["a/1", "a/2"]


def test_what_contradicts_is_left_where_it_is_and_holds_up_no_other(jobs: Path, joiner: Joiner) -> None:
    joiner.add(write(jobs / "1.jsonl", "a/1", "a/2"))
    joiner.join()
    wrong = write(jobs / "2.jsonl", "a/1", value=0.9)
    for path in (wrong, write(jobs / "3.jsonl", "a/3"), jobs / "none.jsonl"):
        joiner.add(path)
    assert joiner.join() == [jobs / "3.jsonl"]
    assert saes(joiner) == ["a/1", "a/2", "a/3"]
    assert "contradict each other" in joiner.refused[wrong]
    assert len(Store(wrong).read()) == 1


@pytest.mark.parametrize("text", [b"", b"\n", b'{"schema":1,"prop'])
def test_a_file_without_scores_is_no_reason_to_stop(jobs: Path, joiner: Joiner, text: bytes) -> None:
    (jobs / "1.jsonl").write_bytes(text)
    joiner.add(jobs / "1.jsonl")
    joiner.add(write(jobs / "2.jsonl", "a/1"))
    joiner.join()
    assert saes(joiner) == ["a/1"]
    assert not joiner.refused


def test_on_a_full_disk_the_files_stay_and_are_joined_later(
    jobs: Path, joiner: Joiner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    joiner.add(write(jobs / "1.jsonl", "a/1"))
    with monkeypatch.context() as patch:
        patch.setattr(joining, "merge", full)
        with pytest.raises(OSError, match="No space"):
            joiner.join()
    assert joiner.due
    joiner.join()
    assert saes(joiner) == ["a/1"]


def test_joining_takes_a_tenth_of_the_time_at_most(jobs: Path, tmp_path: Path) -> None:
    now = iter([0.0, 0.0, 10.0, 10.0, 10.0 + 10 * REST - 1, 10.0 + 10 * REST, 200.0, 200.0, 200.0])
    joiner = Joiner(tmp_path / "scores.jsonl", clock=lambda: next(now))
    joiner.add(write(jobs / "1.jsonl", "a/1"))
    assert joiner.due
    joiner.join()
    joiner.add(write(jobs / "2.jsonl", "a/2"))
    assert [joiner.due, joiner.due] == [False, True]


def test_many_files_are_joined_with_few_open_at_once(
    jobs: Path, joiner: Joiner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "LOCKED", 3)
    for number in range(8):
        joiner.add(write(jobs / f"{number}.jsonl", f"a/{number}"))
    assert len(joiner.join()) == 8
    assert len(saes(joiner)) == 8


@given(st.binary(max_size=200) | st.lists(st.tuples(st.text(), st.text(), st.integers())).map(repr).map(str.encode))
def test_a_damaged_ledger_is_as_if_it_were_not_there(tmp_path_factory: pytest.TempPathFactory, text: bytes) -> None:
    path = tmp_path_factory.mktemp("ledger") / "done.txt"
    path.write_bytes(text + b"\n")
    Ledger(path).add([("a/1", "f", 2)])
    assert Ledger(path).read().done("a/1", "f", {"a/1": 2})


def test_an_sae_is_done_if_it_is_the_same_and_its_scores_are_there(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "done.txt")
    ledger.add([("a/1", "f", 2)])
    known = ledger.read()
    assert known.done("a/1", "f", {"a/1": 3})
    assert not known.done("a/1", "g", {"a/1": 3})
    assert not known.done("a/1", "f", {"a/1": 1})
    assert not known.done("a/1", None, {"a/1": 3})
    assert not known.done("a/2", "f", {"a/1": 3})


def test_what_a_job_begins_with_is_what_was_measured(tmp_path: Path, jobs: Path) -> None:
    joined = write(tmp_path / "scores.jsonl", "a/1", "a/2", "a/3")
    assert held(joined).scores == {"a/1": 1, "a/2": 1, "a/3": 1}
    found = begun(joined, {"a/1", "a/3", "a/9"})
    start(jobs / "1.jsonl", [score for scores in found.values() for score in scores], joined)
    store = Store(jobs / "1.jsonl")
    assert [score.sae for score in store.read()] == ["a/1", "a/3"]
    assert all(len(store.load_items(score)["x"]) == 2 for score in store.read())
    unpack(pack(jobs / "1.jsonl"), tmp_path / "elsewhere" / "1.jsonl")
    assert Store(tmp_path / "elsewhere" / "1.jsonl").read() == store.read()


def test_what_is_no_scores_file_is_refused_when_it_is_unpacked(tmp_path: Path) -> None:
    packed = pack(write(tmp_path / "1.jsonl", "a/1"))
    with pytest.raises(ValueError, match=r"a worker sent '1\.jsonl'"):
        unpack(packed, tmp_path / "there" / "2.jsonl")
    (tmp_path / "bad.jsonl").write_text("[]\n")
    with pytest.raises(ValueError, match=r"bad\.jsonl, line 1 is not a score"):
        held(tmp_path / "bad.jsonl")


def test_what_killed_processes_leave_goes_away_and_nothing_else(tmp_path: Path, jobs: Path) -> None:
    write(jobs / "1.jsonl", "a/1")
    kept = ["1.jsonl.lock", "1.xml", "1.log", "2.log", "done.txt", "3.jsonl.torn-1"]
    for name in [
        *kept,
        ".driver-7",
        ".1.jsonl.0f.tmp",
        "2.jsonl.lock",
        "2.xml",
        "../.scores.jsonl.a.tmp",
        "../.else.tmp",
    ]:
        (jobs / name).touch()
    tidy(tmp_path)
    assert sorted(path.name for path in jobs.iterdir()) == sorted([*kept, "1.jsonl", "1.items"])
    assert sorted(path.name for path in tmp_path.iterdir()) == [".else.tmp", "jobs"]
