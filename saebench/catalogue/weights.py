"""What a file of weights says that it holds, read from its header: before, and without, loading any of it.

Everything that could execute code, fill the memory or lie about its size is refused here, in one sentence.
"""

import json
import math
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import psutil

from saebench.record.json_files import once
from saebench.record.naming import one_sentence, shown

FLOATS = ("float16", "float32", "float64", "bfloat16")
WHOLE = ("int32", "int64", "uint8", "int16", "int8")
"""What a single number, as k, may be."""
SAFETENSORS = {
    "F16": "float16", "F32": "float32", "F64": "float64", "BF16": "bfloat16", "I32": "int32", "I64": "int64",
    "I16": "int16", "I8": "int8", "U8": "uint8",
}  # fmt: skip
WIDTH = {
    "float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "int32": 4, "int64": 8, "int16": 2, "int8": 1, "uint8": 1,
}  # fmt: skip
MOST = 1_000
"""Arrays in a file of an SAE."""
LONGEST_HEADER = 100_000_000
LONGEST_OF_SAE = 1_000_000
"""Bytes of a header; an SAE has few arrays, whose names and shapes take a kilobyte."""


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
    arrays = header(path, LONGEST_OF_SAE)
    check_numbers(path, arrays)
    _check_fits(path, sum(array.size for array in arrays.values()))
    return arrays


def check_numbers(path: Path, arrays: Mapping[str, Array]) -> None:
    """Weights are floating-point numbers; a single number, as k, may be a whole one."""
    for name, array in arrays.items():
        if array.dtype not in FLOATS and not (array.size == 4 and array.dtype in WHOLE):
            raise ValueError(
                f"{path}: {shown(repr(name), 60)} holds {array.dtype}, where weights are {', '.join(FLOATS)}"
            )


@one_sentence
def header(path: Path, longest: int = LONGEST_HEADER) -> dict[str, Array]:
    """Arrays of a `.safetensors` or `.npz` file by name; nothing for a torch checkpoint, whose header is a pickle.

    Raises ValueError with one sentence for a file that is damaged, or of another format.
    """
    kinds: dict[str, Callable[[Path], dict[str, Array]]] = {
        ".safetensors": partial(_safetensors, longest=longest), ".npz": _npz, ".pt": _torch, ".pth": _torch,
    }  # fmt: skip
    kind = kinds.get(path.suffix)
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


def _safetensors(path: Path, longest: int) -> dict[str, Array]:
    """The header is its length in 8 bytes, then JSON; the data follow, and nothing else."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        content = file.read(length) if length <= longest else b""
    if longest < length <= path.stat().st_size:
        raise ValueError(f"{path} has a header of {length} bytes, more than the names of an SAE's arrays take")
    try:
        header = json.loads(content, object_pairs_hook=once)
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
        _check_entries(path, archive)
        return {entry.filename.removesuffix(".npy"): _member(path, archive, entry) for entry in archive.infolist()}


def _check_entries(path: Path, archive: zipfile.ZipFile) -> None:
    if (many := len(archive.infolist())) > MOST:
        raise ValueError(f"{path} holds {many} arrays, more than an SAE has")
    if len({name.removesuffix(".npy") for name in archive.namelist()}) < many:
        raise ValueError(f"{path} holds two arrays of one name")


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
        _check_entries(path, archive)
        entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError(f"{path} is compressed, which no torch checkpoint is")
    if any(entry.filename.endswith("data.pkl") and entry.file_size > LONGEST_OF_SAE for entry in entries):
        raise ValueError(f"{path} has a longer header than the names of an SAE's arrays take")
    _check_fits(path, sum(entry.file_size for entry in entries))
    return {}
