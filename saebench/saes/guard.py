"""The one guard around strangers' code: it starts from a known state, and nothing that it does to the process outlives it.

Whatever it raises becomes one sentence. Code that replaces functions of other modules is beyond this.
"""

import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import AbstractContextManager, ExitStack, chdir, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch._tensor_str import printoptions

from saebench.record.naming import shown
from saebench.record.score import Unscored
from saebench.saes.process import kept_settings

SEED = 0
"""What random numbers begin with in every call."""


Told = Callable[[BaseException], Exception]
"""What is raised in place of what strangers' code raised."""


@contextmanager
def guard(told: Told, *, seed: int = SEED) -> Iterator[list[str]]:
    """Run strangers' code in here: nothing that it does to the process stays, and what it raises is one sentence."""
    with in_words(told), isolated(seed) as changed:
        yield changed


@contextmanager
def in_words(told: Told) -> Iterator[None]:
    """Whatever is raised in here becomes what `told` makes of it.

    That holds for what ends programs or tests as well, but not for the user's Ctrl-C, nor for an Unscored, which is a
    sentence already. Where memory ran out, that is the sentence's cause: fewer rows may do, see `saebench.subject.batches`.
    """
    try:
        yield
    except (Unscored, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise told(error) from error


def broken(what: str, error: BaseException) -> Unscored:
    """Of an SAE that misbehaves while it is scored."""
    return Unscored(shown(f"{what} raised {said(error)}"), broken=True)


def unreadable(name: str, error: BaseException) -> ValueError:
    """Of an SAE that cannot be loaded; a sentence that names it stays as it is."""
    ours = isinstance(error, ValueError) and str(error).startswith(name)
    return ValueError(str(error) if ours else shown(f"{name} cannot be read: {said(error)}"))


def said(error: BaseException) -> str:
    """An exception in words, of which its own class may be strangers' code too."""
    try:
        return f"{type(error).__name__}: {error}"
    except BaseException:
        return type(error).__name__


@contextmanager
def isolated(seed: int = SEED) -> Iterator[list[str]]:
    """Put back whatever of the process is changed in here; in here, nothing needs a gradient and no warning is an error.

    It gives a list that in the end names the settings that were changed and with which an SAE may have meant to compute.
    """
    with ExitStack() as stack:
        changed = stack.enter_context(kept_settings())
        for context in _contexts():
            stack.enter_context(context)
        # torch's own function has GPUs that were never used seeded as well, one day, and notes where that was asked for.
        (torch.manual_seed if _on_gpu() else torch.default_generator.manual_seed)(seed)
        np.random.seed(seed)
        random.seed(seed)
        yield changed


def _contexts() -> Iterator[AbstractContextManager[Any]]:
    yield torch.inference_mode(False)  # tensors that are made in that mode can be used nowhere else
    yield torch.no_grad()
    yield torch.autograd.set_detect_anomaly(False)
    yield from (torch.autocast(device, enabled=False) for device in _devices())
    yield torch.random.fork_rng(range(torch.cuda.device_count()) if _on_gpu() else ())
    yield _kept_random()
    yield np.errstate()
    yield np.printoptions()
    yield printoptions()
    yield _warnings_shown()
    yield chdir(Path.cwd())
    yield kept_entries(os.environ)
    yield from map(kept_entries, _global_hooks())
    yield _path_kept_in_front()


def _devices() -> list[str]:
    return ["cpu", "cuda"] if _on_gpu() else ["cpu"]


def _on_gpu() -> bool:
    """Asking whether there is one would take it."""
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def _global_hooks() -> list[MutableMapping[Any, Any]]:
    """What is called at every call of any module, a language model's as well."""
    found = vars(torch.nn.modules.module).items()
    return [hooks for name, hooks in found if name.startswith("_global_") and isinstance(hooks, MutableMapping)]


@contextmanager
def _kept_random() -> Iterator[None]:
    ours, numpys = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(ours)
        np.random.set_state(numpys)


@contextmanager
def _warnings_shown() -> Iterator[None]:
    """Warnings that are errors, by a user's `-W error`, are only shown: they are about libraries, not about the SAE."""
    with warnings.catch_warnings():
        warnings.filters[:] = [("default", *rest) if action == "error" else (action, *rest) for action, *rest in warnings.filters]  # type: ignore[index]  # fmt: skip
        yield


@contextmanager
def kept_entries(mapping: MutableMapping[Any, Any]) -> Iterator[None]:
    before = dict(mapping)
    try:
        yield
    finally:
        for key in mapping.keys() - before.keys():
            del mapping[key]
        mapping.update({key: value for key, value in before.items() if mapping.get(key, mapping) != value})


@contextmanager
def _path_kept_in_front() -> Iterator[None]:
    """Folders that strangers' code adds stay, since it may import from them later, but behind all that were there."""
    before = list(sys.path)
    try:
        yield
    finally:
        sys.path[:] = [*before, *dict.fromkeys(folder for folder in sys.path if folder not in before)]
