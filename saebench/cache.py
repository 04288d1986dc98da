"""Content-addressed tensor files: the key is a hash of every input, so that a hit is never stale."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import torch
from filelock import FileLock
from torch import Tensor

from saebench.places import cache_dir
from saebench.statistics import repetition

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
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / f"{key}.lock"):
            stored = None if self.fresh and key not in self._written else self._read(key)
            if stored is None:
                stored = compute()
                self._write(key, stored)
            return stored

    def _read(self, key: str) -> Tensors | None:
        from safetensors import SafetensorError
        from safetensors.torch import load

        path, seal = self.folder / f"{key}.safetensors", self.folder / f"{key}.sha256"
        if not (path.exists() and seal.exists()):
            return None
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest().encode() != seal.read_bytes():
            return None
        try:
            return load(data)
        except SafetensorError:
            return None

    def _write(self, key: str, tensors: Tensors) -> None:
        from safetensors.torch import save

        try:
            self._put(key, save({name: tensor.contiguous() for name, tensor in tensors.items()}))
        except OSError as error:
            reason = f"the cache {self.folder} cannot be written: {error.strerror}; SAEBENCH_CACHE names another folder"
            raise OSError(reason) from error
        self._written.add(key)

    def _put(self, key: str, data: bytes) -> None:
        for name, content in (
            (f"{key}.safetensors", data),
            (f"{key}.sha256", hashlib.sha256(data).hexdigest().encode()),
        ):
            temporary = self.folder / f"{name}.{os.getpid()}.tmp"
            temporary.write_bytes(content)
            os.replace(temporary, self.folder / name)


def to_cpu(tensors: Tensors) -> Tensors:
    return {name: tensor.detach().to("cpu", torch.float32) for name, tensor in tensors.items()}
