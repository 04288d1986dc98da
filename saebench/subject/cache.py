"""Content-addressed tensor files: the key is a hash of every input, so that a hit is never stale."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import torch
from filelock import FileLock
from torch import Tensor

from saebench.record.atomic import locked, write_atomically
from saebench.record.places import LIMIT, cache_dir, cache_limit
from saebench.stats.statistics import repetition
from saebench.subject.eviction import LOCK, SEAL, TENSORS, room

Tensors = dict[str, Tensor]
Inputs = dict[str, str | int | float | bool]


class Cache:
    """Safetensors files below one folder; read back only if they hash to what was written.

    Where there is a limit, what was not used for longest makes room for what is new.
    """

    def __init__(self, folder: Path | None = None, *, fresh: bool = False, limit: int | None = None) -> None:
        self.folder = folder or cache_dir()
        self.limit = cache_limit() if limit is None else limit
        """Bytes that it may hold."""
        self.notes: list[str] = []
        """What a user should read of it."""
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
        # It is held while what it stands for is read, too: nothing makes room of what is in use.
        with locked(FileLock(self.folder / f"{key}{LOCK}")):
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

        path, seal = self.folder / f"{key}{TENSORS}", self.folder / f"{key}{SEAL}"
        if not (path.is_file() and seal.is_file()):
            return None
        with contextlib.suppress(OSError):  # of a cache that others own, nothing is removed either
            os.utime(seal)
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
        if self.limit is not None and len(data) > self.limit:
            self._too_small(len(data), self.limit)
            return
        free = contextlib.nullcontext() if self.limit is None else room(self.folder, len(data), self.limit)
        try:
            with free:
                write_atomically(self.folder / f"{key}{TENSORS}", data, durable=False)
                write_atomically(self.folder / f"{key}{SEAL}", _seal(key, data), durable=False)
        except OSError as error:
            raise self._unwritable(error) from error
        self._written.add(key)

    def _too_small(self, size: int, limit: int) -> None:
        """What does not fit is made anew whenever it is needed; told once."""
        if not self.notes:
            self.notes.append(
                f"{LIMIT} allows {limit / 1e6:,.1f} MB, less than one entry of {size / 1e6:,.1f} MB: what is larger than the"
                " limit is not kept, and computed whenever it is needed; raise it"
            )

    def _unwritable(self, error: OSError) -> OSError:
        reason = f"the cache {self.folder} cannot be written: {error.strerror}; SAEBENCH_CACHE names another folder"
        return OSError(reason)


def _seal(key: str, data: bytes) -> bytes:
    """What was written, and for which key: a file in the place of another is not what its name says."""
    return f"{hashlib.sha256(data).hexdigest()}  {key}.safetensors\n".encode()


def to_cpu(tensors: Tensors) -> Tensors:
    return {name: tensor.detach().to("cpu", torch.float32) for name, tensor in tensors.items()}
