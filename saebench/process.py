"""Settings of a process that any code in it can change, and that change what other code computes or how it ends."""

import gc
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import backends

Setting = tuple[Callable[[], Any], Callable[[Any], Any]]
"""How it is read, and how it is set."""
TINY = 5e-324
SIGNALS = ("SIGINT", "SIGTERM", "SIGALRM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGCHLD", "SIGPIPE")
"""Those that libraries handle."""
UNKNOWN = object()


@contextmanager
def kept_settings() -> Iterator[None]:
    """Put back what has changed in here."""
    before = [(setting, _read(setting)) for setting in _settings()]
    try:
        yield
    finally:
        for setting, value in before:
            if value is not UNKNOWN and _read(setting) != value:
                setting[1](value)


def _read(setting: Setting) -> Any:
    """torch cannot tell some settings once two others contradict each other."""
    with suppress(RuntimeError):
        return setting[0]()
    return UNKNOWN


def _settings() -> Iterator[Setting]:
    """In an order in which none spoils one that was put back before. Of threads that torch uses between operations there
    is none: their number moves no result, and cannot be set twice.
    """
    yield torch.get_default_dtype, torch.set_default_dtype
    yield torch.get_default_device, _set_device
    yield torch.get_num_threads, torch.set_num_threads
    yield _deterministic, lambda modes: torch.use_deterministic_algorithms(modes[0], warn_only=modes[1])
    yield _flushes, torch.set_flush_denormal
    yield torch.get_float32_matmul_precision, torch.set_float32_matmul_precision
    for owner, name in _attributes():
        yield _attribute(owner, name)
    yield backends.mha.get_fastpath_enabled, backends.mha.set_fastpath_enabled
    for kind in ("flash", "mem_efficient", "math", "cudnn"):
        yield getattr(backends.cuda, f"{kind}_sdp_enabled"), getattr(backends.cuda, f"enable_{kind}_sdp")
    yield sys.getrecursionlimit, sys.setrecursionlimit
    yield gc.isenabled, lambda on: gc.enable() if on else gc.disable()
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
    return lambda: getattr(owner, name, UNKNOWN), lambda value: setattr(owner, name, value)


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

    return read, lambda handler: signal.signal(number, handler)
