"""Settings of a process that any code in it can change, and that change what other code computes or how it ends."""

import gc
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import torch
from torch import backends


class Setting(NamedTuple):
    read: Callable[[], Any]
    put: Callable[[Any], Any]
    name: str = ""
    """What users call it, where an SAE's own numbers may follow from it."""


TINY = 5e-324
SIGNALS = ("SIGINT", "SIGTERM", "SIGALRM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGCHLD", "SIGPIPE")
"""Those that libraries handle."""
UNKNOWN = object()


@contextmanager
def kept_settings() -> Iterator[list[str]]:
    """Put back what has changed in here; once it is, the names of what an SAE may have meant to compute with."""
    before, changed = [(setting, _read(setting)) for setting in _settings()], list[str]()
    try:
        yield changed
    finally:
        for setting, value in before:
            if value is not UNKNOWN and _read(setting) != value:
                setting.put(value)
                changed += [setting.name] if setting.name else []


def _read(setting: Setting) -> Any:
    """torch cannot tell some settings once two others contradict each other."""
    with suppress(RuntimeError):
        return setting.read()
    return UNKNOWN


def _settings() -> Iterator[Setting]:
    """In an order in which none spoils one that was put back before. Of threads that torch uses between operations there
    is none: their number moves no result, and cannot be set twice.
    """
    yield Setting(torch.get_default_dtype, torch.set_default_dtype, "default dtype")
    yield Setting(torch.get_default_device, _set_device, "default device")
    yield Setting(_flushes, torch.set_flush_denormal, "treatment of denormal numbers")
    precision = torch.get_float32_matmul_precision, torch.set_float32_matmul_precision
    yield Setting(*precision, "precision of matrix products")
    yield Setting(torch.get_num_threads, torch.set_num_threads)
    yield Setting(_deterministic, lambda modes: torch.use_deterministic_algorithms(modes[0], warn_only=modes[1]))
    for owner, name in _attributes():
        yield _attribute(owner, name)
    yield Setting(backends.mha.get_fastpath_enabled, backends.mha.set_fastpath_enabled)
    for kind in ("flash", "mem_efficient", "math", "cudnn"):
        yield Setting(getattr(backends.cuda, f"{kind}_sdp_enabled"), getattr(backends.cuda, f"enable_{kind}_sdp"))
    yield Setting(sys.getrecursionlimit, sys.setrecursionlimit)
    yield Setting(gc.isenabled, lambda on: gc.enable() if on else gc.disable())
    if threading.current_thread() is threading.main_thread():
        yield from (_handler(getattr(signal, name)) for name in SIGNALS if hasattr(signal, name))


def _attributes() -> Iterator[tuple[Any, str]]:
    for owner in (backends.cudnn, backends.mkldnn, backends.cuda.matmul):
        for name in ("enabled", "deterministic", "benchmark", "benchmark_limit", "allow_tf32"):
            yield owner, name
    for name in ("fp16_reduced_precision_reduction", "bf16_reduced_precision_reduction", "fp16_accumulation"):
        yield backends.cuda.matmul, f"allow_{name}"
    yield backends.opt_einsum, "enabled"
    yield backends.opt_einsum, "strategy"
    # The general precision is what the others begin with.
    for owner in (backends, backends.cudnn, backends.mkldnn, backends.cuda.matmul):
        yield owner, "fp32_precision"
    for owner in (backends.cudnn, backends.mkldnn):
        for part in ("matmul", "conv", "rnn"):
            yield getattr(owner, part, None), "fp32_precision"
    for name in ("stdout", "stderr", "stdin", "displayhook", "excepthook"):
        yield sys, name


def _attribute(owner: Any, name: str) -> Setting:
    return Setting(lambda: getattr(owner, name, UNKNOWN), lambda value: setattr(owner, name, value))


def _set_device(device: torch.device) -> None:
    torch.set_default_device(None if device.type == "cpu" else device)


def _deterministic() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _flushes() -> bool:
    """Whether the processor takes the tiniest numbers for zero, which torch sets and does not tell."""
    return TINY * 1.0 == 0.0


def _handler(number: int) -> Setting:
    """One that was not set from Python cannot be put back from there."""

    def read() -> Any:
        handler = signal.getsignal(number)
        return UNKNOWN if handler is None else handler

    return Setting(read, lambda handler: signal.signal(number, handler))
