"""A hit is never stale and never torn, and what several processes need is computed once."""

import errno
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hostile import limited
from paths import ROOT
from torch import Tensor

from saebench.record.places import cache_dir
from saebench.subject.cache import Cache

INPUTS = {"model": "tiny", "hook": "blocks.0", "version": 1}
VALUES = {"x": torch.arange(12.0).view(3, 4), "half": torch.ones(2, dtype=torch.bfloat16)}
WORKER = """
import sys, time
from pathlib import Path
sys.path[:0] = sys.argv[3:]
import torch
from saebench.subject.cache import Cache
folder, name = Path(sys.argv[1]), sys.argv[2]

def compute():
    with (folder / "computed").open("a") as file:
        file.write(name)
    time.sleep(0.5)
    return {"x": torch.tensor([7.0])}

(folder / f"ready {name}").touch()
while len(list(folder.glob("ready *"))) < 2:
    time.sleep(0.01)
assert Cache(folder / "cache").get({"model": "tiny"}, compute)["x"].tolist() == [7.0]
"""


class Counted:
    """A computation that knows how often it ran."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> dict[str, Tensor]:
        self.calls += 1
        return VALUES


@pytest.fixture
def counted() -> Counted:
    return Counted()


def same(found: dict[str, Tensor]) -> bool:
    return found.keys() == VALUES.keys() and all(torch.equal(found[name], VALUES[name]) for name in VALUES)


def stored(folder: Path, suffix: str) -> Path:
    (path,) = folder.glob(f"*{suffix}")
    return path


def test_second_time_is_read(tmp_path: Path, counted: Counted) -> None:
    for _ in range(2):
        assert same(Cache(tmp_path / "deep" / "down").get(INPUTS, counted))
    assert counted.calls == 1


def test_what_is_read_has_its_dtype(tmp_path: Path, counted: Counted) -> None:
    Cache(tmp_path).get(INPUTS, counted)
    assert Cache(tmp_path).get(INPUTS, counted)["half"].dtype == torch.bfloat16


@pytest.mark.parametrize("change", [{"version": 2}, {"hook": "blocks.1"}, {"more": True}])
def test_other_inputs_are_computed(tmp_path: Path, counted: Counted, change: dict[str, str | int]) -> None:
    for inputs in (INPUTS, INPUTS | change):
        Cache(tmp_path).get(inputs, counted)
    assert counted.calls == 2


def test_order_of_inputs_does_not_matter(tmp_path: Path, counted: Counted) -> None:
    for inputs in (INPUTS, dict(reversed(INPUTS.items()))):
        Cache(tmp_path).get(inputs, counted)
    assert counted.calls == 1


def flipped(data: bytes) -> bytes:
    return data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [
        (".safetensors", flipped),
        (".safetensors", lambda data: data[: len(data) // 2]),
        (".safetensors", lambda data: b""),
        (".safetensors", lambda data: data + b"x"),
        (".sha256", flipped),
        (".sha256", lambda data: b""),
        (".sha256", lambda data: data[:10]),
        (".sha256", lambda data: b"\xff" + data[1:]),
    ],
)
def test_damage_is_noticed_and_mended(
    tmp_path: Path, counted: Counted, suffix: str, damage: Callable[[bytes], bytes]
) -> None:
    Cache(tmp_path).get(INPUTS, counted)
    path = stored(tmp_path, suffix)
    path.write_bytes(damage(path.read_bytes()))
    assert same(Cache(tmp_path).get(INPUTS, counted))
    assert counted.calls == 2
    assert same(Cache(tmp_path).get(INPUTS, counted))
    assert counted.calls == 2


@pytest.mark.parametrize("suffix", [".safetensors", ".sha256"])
def test_missing_file_or_seal_is_computed(tmp_path: Path, counted: Counted, suffix: str) -> None:
    Cache(tmp_path).get(INPUTS, counted)
    stored(tmp_path, suffix).unlink()
    assert same(Cache(tmp_path).get(INPUTS, counted))
    assert counted.calls == 2


def test_sealed_nonsense_is_computed(tmp_path: Path, counted: Counted) -> None:
    Cache(tmp_path).get(INPUTS, counted)
    path = stored(tmp_path, ".safetensors")
    path.write_bytes(b"nonsense")
    stored(tmp_path, ".sha256").write_text(f"{hashlib.sha256(b'nonsense').hexdigest()}  {path.name}\n")
    assert same(Cache(tmp_path).get(INPUTS, counted))


def test_entries_swapped_together_with_their_seals_are_computed(tmp_path: Path, counted: Counted) -> None:
    Cache(tmp_path).get(INPUTS, counted)
    own = {path.suffix: path.read_bytes() for path in tmp_path.iterdir()}
    Cache(tmp_path).get({"other": 1}, lambda: {"x": torch.zeros(3)})
    (name,) = {path.stem for path in tmp_path.glob("*.sha256")} - {stored_name(own)}
    for suffix in (".safetensors", ".sha256"):
        (tmp_path / f"{name}{suffix}").write_bytes(own[suffix])
    assert Cache(tmp_path).get({"other": 1}, lambda: {"x": torch.zeros(3)})["x"].tolist() == [0, 0, 0]


def stored_name(own: dict[str, bytes]) -> str:
    """The key that a seal is of."""
    return own[".sha256"].split()[1].decode().removesuffix(".safetensors")


def test_a_seal_that_names_no_key_is_of_nothing(tmp_path: Path, counted: Counted) -> None:
    Cache(tmp_path).get(INPUTS, counted)
    data = stored(tmp_path, ".safetensors").read_bytes()
    stored(tmp_path, ".sha256").write_text(hashlib.sha256(data).hexdigest())
    Cache(tmp_path).get(INPUTS, counted)
    assert counted.calls == 2


@pytest.mark.parametrize("call", ["write", "flush", "replace"])
def test_a_full_disk_leaves_nothing_temporary(
    tmp_path: Path, counted: Counted, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if call == "replace":
        monkeypatch.setattr(Path, "replace", full)
    else:
        opened = Path.open

        def open_full(path: Path, mode: str = "r", *rest: object) -> object:
            file = opened(path, mode, *rest)  # type: ignore[call-overload]
            return Full(file, call) if "x" in mode else file

        monkeypatch.setattr(Path, "open", open_full)
    with pytest.raises(OSError, match=r"the cache .* cannot be written: No space left on device; SAEBENCH_CACHE names"):
        Cache(tmp_path).get(INPUTS, counted)
    assert {path.suffix for path in tmp_path.iterdir()} <= {".lock"}


class Full:
    """A file on a disk that is full."""

    def __init__(self, file: Any, call: str) -> None:
        self.file, self.call = file, call

    def __enter__(self) -> "Full":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        if self.call == "flush":
            raise OSError(errno.ENOSPC, "No space left on device")

    def write(self, data: bytes) -> int:
        if self.call == "write":
            raise OSError(errno.ENOSPC, "No space left on device")
        return int(self.file.write(data))


def test_what_lies_in_the_place_of_an_entry_or_a_lock_neither_hangs_nor_is_changed(
    tmp_path: Path, counted: Counted
) -> None:
    Cache(tmp_path).get(INPUTS, counted)
    stored(tmp_path, ".safetensors").unlink()
    os.mkfifo(tmp_path / f"{stored(tmp_path, '.sha256').stem}.safetensors")
    lock = stored(tmp_path, ".lock")
    with limited(5):
        assert same(Cache(tmp_path).get(INPUTS, counted))
        lock.write_text("[[package]]")
        with pytest.raises(ValueError, match="is no lock of saebench"):
            Cache(tmp_path).get(INPUTS, counted)
        lock.unlink()
        os.mkfifo(lock)
        with pytest.raises(ValueError, match="is a pipe"):
            Cache(tmp_path).get(INPUTS, counted)


def test_a_folder_that_is_none_is_one_sentence(tmp_path: Path, counted: Counted) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"the cache .*file cannot be written"):
        Cache(tmp_path / "file").get(INPUTS, counted)


def test_fresh_computes_once_per_key(tmp_path: Path, counted: Counted) -> None:
    Cache(tmp_path).get(INPUTS, counted)
    fresh = Cache(tmp_path, fresh=True)
    for _ in range(3):
        fresh.get(INPUTS, counted)
    assert counted.calls == 2
    fresh.get({"other": 1}, counted)
    assert counted.calls == 3


def test_failed_computation_stores_nothing(tmp_path: Path, counted: Counted) -> None:
    def fail() -> dict[str, Tensor]:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        Cache(tmp_path).get(INPUTS, fail)
    assert same(Cache(tmp_path).get(INPUTS, counted))
    assert counted.calls == 1


def test_nothing_temporary_is_left(tmp_path: Path, counted: Counted) -> None:
    Cache(tmp_path).get(INPUTS, counted)
    assert not list(tmp_path.glob("*.tmp"))


def test_views_are_stored_whole(tmp_path: Path) -> None:
    values = torch.arange(6.0).view(2, 3)
    for _ in range(2):
        assert torch.equal(Cache(tmp_path).get(INPUTS, lambda: {"x": values.T})["x"], values.T)


def test_folder_is_that_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAEBENCH_CACHE", str(tmp_path))
    assert Cache().folder == cache_dir() == tmp_path


def test_an_empty_variable_names_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SAEBENCH_CACHE", raising=False)
    default = cache_dir()
    monkeypatch.setenv("SAEBENCH_CACHE", "")
    assert cache_dir() == default
    assert default.is_absolute()
    monkeypatch.setenv("SAEBENCH_CACHE", "~/somewhere")
    assert cache_dir() == Path.home() / "somewhere"


def test_two_processes_compute_once(tmp_path: Path) -> None:
    repository = str(ROOT)
    command = [sys.executable, "-c", WORKER, str(tmp_path)]
    workers = [subprocess.Popen([*command, name, repository]) for name in "ab"]
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0]
    assert len((tmp_path / "computed").read_text()) == 1
