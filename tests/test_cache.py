"""A hit is never stale and never torn, and what several processes need is computed once."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from saebench.cache import Cache
from saebench.places import cache_dir

INPUTS = {"model": "tiny", "hook": "blocks.0", "version": 1}
VALUES = {"x": torch.arange(12.0).view(3, 4), "half": torch.ones(2, dtype=torch.bfloat16)}
WORKER = """
import sys, time
from pathlib import Path
sys.path[:0] = sys.argv[3:]
import torch
from saebench.cache import Cache
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
        (".sha256", lambda data: b"\xff" + data[1:]),  # DEFECT: UnicodeDecodeError, for ever after
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
    import hashlib

    Cache(tmp_path).get(INPUTS, counted)
    stored(tmp_path, ".safetensors").write_bytes(b"nonsense")
    stored(tmp_path, ".sha256").write_text(hashlib.sha256(b"nonsense").hexdigest())
    assert same(Cache(tmp_path).get(INPUTS, counted))


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


def test_two_processes_compute_once(tmp_path: Path) -> None:
    repository = str(Path(__file__).parent.parent)
    command = [sys.executable, "-c", WORKER, str(tmp_path)]
    workers = [subprocess.Popen([*command, name, repository]) for name in "ab"]
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0]
    assert len((tmp_path / "computed").read_text()) == 1
