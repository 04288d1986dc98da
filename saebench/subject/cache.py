"""Content-addressed tensor files: the key is a hash of every input, so that a hit is never stale."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import torch
from filelock import FileLock
from torch import Tensor

from saebench.record.atomic import locked, write_atomically
from saebench.record.places import cache_dir
from saebench.stats.statistics import repetition

Tensors = dict[str, Tensor]
Inputs = dict[str, str | int | float | bool]


class Cache:
    """Safetensors files below one folder; read back only if they hash to what was written."""

    def __init__(self, folder: Path | None = None, *, fresh: bool = False) -> None:
        self.folder = folder or cache_dir()
        self.fresh = fresh
        """Ignore what is stored; compute and store anew, once per key."""
        self._written: set[str] = set()

    def get(self, inputs: Inputs, compute: Callable[[], Tensors], *, random: bool = True) -> Tensors:
        """The tensors that `compute` makes from `inputs`, from disk if they are there, whole.

        `random` is False for what is the same in every repetition of the random stages.
        """
        if random and repetition():
            inputs = {**inputs, "repetition": repetition()}
        key = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:32]
        self._make_folder()
        with locked(FileLock(self.folder / f"{key}.lock")):
            stored = None if self.fresh and key not in self._written else self._read(key)
            if stored is None:
                stored = compute()
                self._write(key, stored)
            return stored

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error

    def _read(self, key: str) -> Tensors | None:
        from safetensors import SafetensorError
        from safetensors.torch import load

        path, seal = self.folder / f"{key}.safetensors", self.folder / f"{key}.sha256"
        if not (path.is_file() and seal.is_file()):
            return None
        data = path.read_bytes()
        if _seal(key, data) != seal.read_bytes():
            return None
        try:
            return load(data)
        except SafetensorError:
            return None

    def _write(self, key: str, tensors: Tensors) -> None:
        from safetensors.torch import save

        data = save({name: tensor.contiguous() for name, tensor in tensors.items()})
        try:
            write_atomically(self.folder / f"{key}.safetensors", data, durable=False)
            write_atomically(self.folder / f"{key}.sha256", _seal(key, data), durable=False)
        except OSError as error:
            raise self._unwritable(error) from error
        self._written.add(key)

    def _unwritable(self, error: OSError) -> OSError:
        reason = f"the cache {self.folder} cannot be written: {error.strerror}; SAEBENCH_CACHE names another folder"
        return OSError(reason)


def _seal(key: str, data: bytes) -> bytes:
    """What was written, and for which key: a file in the place of another is not what its name says."""
    return f"{hashlib.sha256(data).hexdigest()}  {key}.safetensors\n".encode()


def to_cpu(tensors: Tensors) -> Tensors:
    return {name: tensor.detach().to("cpu", torch.float32) for name, tensor in tensors.items()}
