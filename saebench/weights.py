"""What a file of weights says that it holds, read from its header: before, and without, loading any of it.

Everything that could execute code, fill the memory or lie about its size is refused here, in one sentence.
"""

import json
import math
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from saebench.naming import one_sentence

FLOATS = ("float16", "float32", "float64", "bfloat16")
SAFETENSORS = {"F16": "float16", "F32": "float32", "F64": "float64", "BF16": "bfloat16"}
WIDTH = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
MOST = 1_000
"""Arrays in a file of an SAE."""
LONGEST_HEADER = 100_000_000


@dataclass(frozen=True)
class Array:
    """Shape and kind of numbers of one array in a file."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        """Bytes in memory as float32."""
        return 4 * math.prod(self.shape)


@one_sentence
def inspect(path: Path) -> dict[str, Array]:
    """Arrays of an SAE's file by name.

    Raises ValueError with one sentence also where they are no floating-point numbers, or do not fit into memory.
    """
    arrays = header(path)
    for name, array in arrays.items():
        if array.dtype not in FLOATS:
            raise ValueError(f"{path}: {name!r} holds {array.dtype}, where weights are {', '.join(FLOATS)}")
    _check_fits(path, sum(array.size for array in arrays.values()))
    return arrays


@one_sentence
def header(path: Path) -> dict[str, Array]:
    """Arrays of a `.safetensors` or `.npz` file by name; nothing for a torch checkpoint, whose header is a pickle.

    Raises ValueError with one sentence for a file that is damaged, or of another format.
    """
    kind = {".safetensors": _safetensors, ".npz": _npz, ".pt": _torch, ".pth": _torch}.get(path.suffix)
    if kind is None:
        raise ValueError(f"{path} is not a file of weights: expected .safetensors, .npz or .pt")
    try:
        return kind(path)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError):
        raise ValueError(f"{path} is damaged, or not a {path.suffix} file: {_size(path)}") from None


def _check_fits(path: Path, size: int) -> None:
    if size > (free := psutil.virtual_memory().available):
        raise ValueError(f"{path} says that it holds {size / 1e9:.3g} GB, and {free / 1e9:.3g} GB of memory are free")


def _size(path: Path) -> str:
    return f"it has {path.stat().st_size} bytes"


def _safetensors(path: Path) -> dict[str, Array]:
    """The header is its length in 8 bytes, then JSON; the data follow, and nothing else."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > LONGEST_HEADER:
                raise ValueError
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        found = {name: _entry(entry) for name, entry in header.items()}
        end = max((int(entry["data_offsets"][1]) for entry in header.values()), default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        raise ValueError(f"{path} is not a safetensors file: empty, cut off, or of another format") from None
    if (size := path.stat().st_size) != (promised := 8 + length + end):
        raise ValueError(f"{path} is damaged: it has {size} bytes, and its header promises {promised}")
    return found


def _entry(entry: dict[str, Any]) -> Array:
    begin, end = entry["data_offsets"]
    shape = tuple(int(n) for n in entry["shape"])
    found = Array(shape, SAFETENSORS.get(entry["dtype"], str(entry["dtype"])))
    if min(shape, default=0) < 0 or (
        end - begin != math.prod(shape) * WIDTH.get(found.dtype, 0) and found.dtype in WIDTH
    ):
        raise ValueError
    return found


def _npz(path: Path) -> dict[str, Array]:
    with zipfile.ZipFile(path) as archive:
        if len(archive.infolist()) > MOST:
            raise ValueError(f"{path} holds {len(archive.infolist())} arrays, more than an SAE has")
        return {entry.filename.removesuffix(".npy"): _member(path, archive, entry) for entry in archive.infolist()}


def _member(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Array:
    """An archive may say that a kilobyte unpacks to terabytes; an array may say that it is larger than its file."""
    with archive.open(entry) as file:
        shape, dtype = _npy_header(path, entry.filename, file)
        if dtype.hasobject:
            raise ValueError(f"{path}: {entry.filename} holds Python objects, which are never unpickled")
        if entry.file_size - file.tell() != (promised := math.prod(shape) * dtype.itemsize):
            raise ValueError(f"{path} is damaged: {entry.filename} is not the {promised} bytes that it says it is")
    return Array(shape, dtype.name)


def _npy_header(path: Path, name: str, file: IO[bytes]) -> tuple[tuple[int, ...], Any]:
    from numpy.lib import format as npy

    try:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(file)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile):
        raise ValueError(f"{path}: {name} is not an array of numpy's format") from None
    return shape, dtype


def _torch(path: Path) -> dict[str, Array]:
    """A zip archive of a pickle, which is read with `weights_only` alone, and of raw numbers."""
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is damaged, or not a torch checkpoint of version 1.6 or later: {_size(path)}")
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError(f"{path} is compressed, which no torch checkpoint is")
    _check_fits(path, sum(entry.file_size for entry in entries))
    return {}
