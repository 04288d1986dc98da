"""A cache with a limit: what was used least recently goes, and never what anyone is reading."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from paths import ROOT
from torch import Tensor

from saebench.record.places import LIMIT, cache_limit
from saebench.subject.cache import Cache
from saebench.subject.eviction import entries

NUMBERS, ENTRY = 250_000, 1_000_100
"""Of one entry: its numbers, and its bytes with what safetensors writes before them."""
READER = """
import sys, time
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from saebench.subject import cache
folder, seal = Path(sys.argv[1]), cache._seal

def slow(key, data):
    (folder / "reading").touch()
    while not (folder / "go on").exists():
        time.sleep(0.01)
    return seal(key, data)

def compute():
    raise AssertionError("it was removed")

cache._seal = slow
print(float(cache.Cache(folder / "cache", limit=4_000_000).get({"number": 0}, compute)["x"].sum()))
"""
FILLER = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
import torch
from saebench.subject.cache import Cache
cache = Cache(Path(sys.argv[1]) / "cache", limit=4_000_000)
for round in range(3):
    for number in range(8):
        own = int(sys.argv[2]) + number
        found = cache.get({"number": own}, lambda: {"x": torch.full((250_000,), float(own))})
        assert found["x"].eq(own).all()
"""


def get(cache: Cache, number: int, made: list[int] | None = None) -> Tensor:
    def compute() -> dict[str, Tensor]:
        if made is not None:
            made.append(number)
        return {"x": torch.full((NUMBERS,), float(number))}

    return cache.get({"number": number}, compute)["x"]


def held(cache: Cache) -> int:
    return sum(entry.size for entry in entries(cache.folder))


@contextmanager
def process(script: str, folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", script, str(folder), *arguments, str(ROOT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as started:
        try:
            yield started
        finally:
            started.kill()


def wait_for(found: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not found():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_least_recently_used_makes_room(tmp_path: Path) -> None:
    cache, made = Cache(tmp_path, limit=3 * ENTRY), list[int]()
    for number in (0, 1, 2, 0, 3, 0, 1, 3):
        assert get(cache, number, made).eq(number).all()
        assert held(cache) <= 3 * ENTRY
    assert made == [0, 1, 2, 3, 1]
    assert len(list(tmp_path.glob("*.sha256"))) == 3


def test_results_are_the_same_with_and_without_a_limit(tmp_path: Path) -> None:
    with_limit, without = Cache(tmp_path / "a", limit=2 * ENTRY), Cache(tmp_path / "b")
    for number in (0, 1, 2, 3, 0, 2, 1, 3):
        assert torch.equal(get(with_limit, number), get(without, number))
    assert held(with_limit) <= 2 * ENTRY < held(without)


def test_what_another_process_reads_stays(tmp_path: Path) -> None:
    """The oldest of all, and the only one that is left of the first three."""
    cache = Cache(tmp_path / "cache", limit=4_000_000)
    for number in (0, 1, 2):
        get(cache, number)
    with process(READER, tmp_path) as reader:
        wait_for((tmp_path / "reading").exists)
        for number in range(10, 20):
            get(cache, number)
        assert held(cache) <= 4_000_000
        (tmp_path / "go on").touch()
        assert reader.communicate(timeout=60)[0] == "0.0\n"
        assert reader.returncode == 0


def test_a_reader_that_is_killed_pins_nothing(tmp_path: Path) -> None:
    cache, made = Cache(tmp_path / "cache", limit=4_000_000), list[int]()
    get(cache, 0)
    with process(READER, tmp_path) as reader:
        wait_for((tmp_path / "reading").exists)
        reader.send_signal(signal.SIGKILL)
        reader.wait()
    for number in range(10, 14):
        get(cache, number)
    get(cache, 0, made)
    assert made == [0]
    assert held(cache) <= 4_000_000


def test_processes_that_fill_one_cache_keep_its_limit(tmp_path: Path) -> None:
    with process(FILLER, tmp_path, "0") as first, process(FILLER, tmp_path, "4") as second:
        assert [one.wait(timeout=120) for one in (first, second)] == [0, 0]
    assert 0 < held(Cache(tmp_path / "cache")) <= 4_000_000


def test_a_limit_below_one_entry_is_told_once(tmp_path: Path) -> None:
    cache, made = Cache(tmp_path, limit=ENTRY // 2), list[int]()
    for _ in range(2):
        assert get(cache, 5, made).eq(5).all()
    assert made == [5, 5]
    assert not list(entries(tmp_path))
    (note,) = cache.notes
    assert note.startswith(f"{LIMIT} allows 0.5 MB, less than one entry of 1.0 MB: ")


def test_an_entry_that_may_not_be_removed_does_not_stop_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(tmp_path, limit=2 * ENTRY)
    get(cache, 0)
    (first,) = (entry.key for entry in entries(tmp_path))
    get(cache, 1)
    remove = Path.unlink

    def guarded(path: Path, missing_ok: bool = False) -> None:
        if path.stem == first:
            raise PermissionError
        remove(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", guarded)
    get(cache, 2)
    assert first in {entry.key for entry in entries(tmp_path)}
    assert held(cache) <= 2 * ENTRY


@pytest.mark.parametrize(
    ("text", "size"), [("500MB", 500_000_000), ("1.5 gb", 1_500_000_000), ("2TB", 2 * 10**12), ("", None)]
)
def test_limits_are_sizes(text: str, size: int | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(LIMIT, text)
    assert cache_limit() == size == Cache(tmp_path).limit


@pytest.mark.parametrize("text", ["much", "12", "-3GB", "0GB", "1e3GB", "9" * 400 + "GB"])
def test_what_is_no_size_is_refused_in_one_sentence(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT, text)
    with pytest.raises(ValueError, match=rf"^{LIMIT} is '.*': expected a size such as 500MB, 200GB or 2TB$"):
        cache_limit()
