"""SAEs as strangers write them: each does something to the process, to what it is given, or to what it returns.

Behind that all compute the same. `HARMLESS` ones are scored as `Plain` is, `BROKEN` ones are not scored, with a sentence,
and `UNREADABLE` ones cannot be loaded, with one.
"""

import gc
import os
import random
import signal
import sys
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor

D, LATENTS = 32, 64
KEPT: list[object] = []


def _weights() -> Tensor:
    basis = torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(1))).Q
    return torch.cat([basis, -basis])


class Plain:
    context_size = 30

    def __init__(self) -> None:
        self.w_dec = _weights()
        self.b_dec = torch.full((D,), 0.1)

    def encode(self, x: Tensor) -> Tensor:
        return ((x - self.b_dec) @ self.w_dec.T - 0.5).relu()

    def decode(self, latents: Tensor) -> Tensor:
        return latents @ self.w_dec + self.b_dec


class InPlaceEncode(Plain):
    def encode(self, x: Tensor) -> Tensor:
        x -= self.b_dec
        return (x @ self.w_dec.T - 0.5).relu()


class InPlaceDecode(Plain):
    def decode(self, latents: Tensor) -> Tensor:
        made = latents @ self.w_dec + self.b_dec
        latents.zero_()
        return made


class ThroughNumpy(Plain):
    """Of which torch's counter of changes knows nothing."""

    def encode(self, x: Tensor) -> Tensor:
        found = super().encode(x)
        x.numpy()[:] = 7
        return found


class SameBuffer(Plain):
    def encode(self, x: Tensor) -> Tensor:
        if not hasattr(self, "buffer"):
            self.buffer = torch.zeros(5000, LATENTS)
        self.buffer[: len(x)] = super().encode(x)
        return self.buffer[: len(x)]


class KeepsWhatItReturned(Plain):
    def encode(self, x: Tensor) -> Tensor:
        for tensor in KEPT:
            if isinstance(tensor, Tensor):
                tensor.fill_(3.0)
        KEPT.append(found := super().encode(x))
        return found


class Gradients(torch.nn.Module):
    context_size = 30

    def __init__(self) -> None:
        super().__init__()
        self.w_dec = torch.nn.Parameter(_weights())
        self.b_dec = torch.nn.Parameter(torch.full((D,), 0.1))

    def encode(self, x: Tensor) -> Tensor:
        torch.set_grad_enabled(True)
        return ((x - self.b_dec) @ self.w_dec.T - 0.5).relu()

    def decode(self, latents: Tensor) -> Tensor:
        with torch.enable_grad():
            return latents @ self.w_dec + self.b_dec


class Dropout(Gradients):
    def __init__(self) -> None:
        super().__init__()
        self.drop = torch.nn.Dropout(0.5)
        self.train()

    def encode(self, x: Tensor) -> Tensor:
        return super().encode(self.drop(x))


class HeldDropout(Plain):
    """No module, but it holds one, in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = [torch.nn.Dropout(0.5).train()]

    def encode(self, x: Tensor) -> Tensor:
        return super().encode(self.parts[0](x))


class LateDropout(Plain):
    """Made when it is first asked."""

    def encode(self, x: Tensor) -> Tensor:
        if not hasattr(self, "drop"):
            self.drop = torch.nn.Dropout(0.5)
        return super().encode(self.drop(x))


class SparseLatents(Plain):
    def encode(self, x: Tensor) -> Tensor:
        return super().encode(x).to_sparse()


class SparseRows(Plain):
    def encode(self, x: Tensor) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return super().encode(x).to_sparse_csr()


class Warns(Plain):
    def __init__(self) -> None:
        super().__init__()
        warnings.warn("deprecated, says a library", DeprecationWarning, stacklevel=1)

    def encode(self, x: Tensor) -> Tensor:
        warnings.warn("x", stacklevel=1)
        return super().encode(x)


class Settings(Plain):
    """All that torch and numpy can be told for the whole process, when it is made and at every call."""

    def __init__(self) -> None:
        super().__init__()
        self.upset()

    def upset(self) -> None:
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        torch.set_num_threads(7)
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.set_flush_denormal(True)
        torch.set_float32_matmul_precision("medium")
        torch.backends.mkldnn.enabled = False
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.enable_flash_sdp(False)
        torch.autograd.set_detect_anomaly(True)
        torch.set_autocast_enabled("cpu", True)
        torch.set_printoptions(precision=1)
        np.seterr(all="raise")
        np.set_printoptions(precision=1)

    def encode(self, x: Tensor) -> Tensor:
        found = super().encode(x)
        self.upset()
        return found


class Process(Plain):
    def encode(self, x: Tensor) -> Tensor:
        torch.manual_seed(3)
        np.random.seed(3)
        random.seed(3)
        os.environ["HOSTILE"] = "1"
        os.environ.pop("HOME", None)
        os.chdir("/")
        sys.path.insert(0, "/hostile")
        sys.setrecursionlimit(400)
        gc.disable()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        warnings.simplefilter("error")
        return super().encode(x)


class Hooks(Plain):
    """On all modules, of which the language model is made."""

    def encode(self, x: Tensor) -> Tensor:
        torch.nn.modules.module.register_module_forward_hook(lambda module, given, found: None)
        torch.nn.modules.module.register_module_forward_pre_hook(lambda module, given: 1 / 0)
        return super().encode(x)


class Inference(Plain):
    def encode(self, x: Tensor) -> Tensor:
        KEPT.append(mode := torch.inference_mode())
        mode.__enter__()
        return super().encode(x)


HARMLESS = [
    InPlaceEncode, InPlaceDecode, ThroughNumpy, SameBuffer, KeepsWhatItReturned, Gradients, Dropout, HeldDropout,
    LateDropout, SparseLatents, SparseRows, Warns, Settings, Process, Hooks, Inference,
]  # fmt: skip


class Raises(Plain):
    error: BaseException = SystemExit(3)

    def encode(self, x: Tensor) -> Tensor:
        raise self.error


class Exits(Raises):
    error = SystemExit(3)


class Generator(Raises):
    error = GeneratorExit()


class Stops(Raises):
    error = StopIteration()


class Xfails(Plain):
    def encode(self, x: Tensor) -> Tensor:
        pytest.xfail("as expected")


class Skips(Plain):
    def encode(self, x: Tensor) -> Tensor:
        pytest.skip("not today")


class Fails(Plain):
    def decode(self, latents: Tensor) -> Tensor:
        pytest.fail("no")


class Leaves(Plain):
    def encode(self, x: Tensor) -> Tensor:
        pytest.exit("enough", returncode=0)


class Recurses(Plain):
    def encode(self, x: Tensor) -> Tensor:
        return self.encode(x)


class NoMemory(Raises):
    error = MemoryError("a list, not a tensor")


class NoDevice(Raises):
    error = torch.OutOfMemoryError("CUDA out of memory")


class Unprintable(Exception):
    def __str__(self) -> str:
        raise SystemExit(1)


class RaisesUnprintable(Raises):
    error = Unprintable()


class ComplexLatents(Plain):
    def encode(self, x: Tensor) -> Tensor:
        return super().encode(x) * 1j


class ComplexDecoder(Plain):
    def decode(self, latents: Tensor) -> Tensor:
        return super().decode(latents) + 5j


class OnlyShapes(Plain):
    def encode(self, x: Tensor) -> Tensor:
        return super().encode(x).to("meta")


class Noisy(Plain):
    def encode(self, x: Tensor) -> Tensor:
        return super().encode(x) * (1 + 0.01 * torch.rand(len(x), 1))


class NoisyDecoder(Plain):
    def decode(self, latents: Tensor) -> Tensor:
        return super().decode(latents) + torch.from_numpy(np.random.default_rng().normal(size=D)).float()


class Counts(Plain):
    calls = 0

    def encode(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().encode(x) * self.calls


class BatchTopK(Plain):
    """As in training, without the threshold."""

    def encode(self, x: Tensor) -> Tensor:
        latents = super().encode(x)
        least = latents.flatten().topk(8 * len(x)).values[-1]
        return torch.where(latents >= least, latents, 0.0)


class Centres(Plain):
    def encode(self, x: Tensor) -> Tensor:
        return super().encode(x - x.mean(0))


RANDOM = "gave two different answers to the same input"
BATCHED = "depends on the others in the batch"
BROKEN = {
    Exits: r"encode of shape \(.*\) raised SystemExit: 3", Generator: "raised GeneratorExit", Stops: "raised StopIteration",
    Xfails: "raised XFailed: as expected", Skips: "raised Skipped: not today", Fails: "decode .* raised Failed: no",
    Leaves: "raised Exit: enough", Recurses: "raised RecursionError", NoMemory: "raised MemoryError: a list, not a tensor",
    NoDevice: "raised OutOfMemoryError", RaisesUnprintable: "raised Unprintable", OnlyShapes: "values that are only shapes",
    ComplexLatents: "encode returned complex64", ComplexDecoder: "decode returned complex64", Noisy: RANDOM,
    NoisyDecoder: RANDOM, Counts: RANDOM, BatchTopK: BATCHED, Centres: BATCHED,
}  # fmt: skip


def exits() -> None:
    raise SystemExit(0)


def skips() -> None:
    pytest.skip("not here")


def leaves() -> None:
    pytest.exit("enough", returncode=0)


class BadAttribute(Plain):
    @property
    def hook(self) -> str:
        raise SystemExit("no hook")


class BadMove(Plain):
    def to(self, device: str) -> "BadMove":
        raise GeneratorExit


class BadEval(Gradients):
    def train(self, mode: bool = True) -> "BadEval":
        raise KeyError("mode")


UNREADABLE = {
    exits: "SystemExit: 0", skips: "Skipped: not here", leaves: "Exit: enough", BadAttribute: "SystemExit: no hook",
    BadMove: "GeneratorExit", BadEval: "KeyError: 'mode'",
}  # fmt: skip
