"""Files that are broken, lie about their size or carry code, and limits under which they are read."""

import io
import json
import pickle
import resource
import signal
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import hub_repos as repos
import psutil
import pytest
import torch
from torch import Tensor

D, LATENTS = 16, 64
SECONDS, GIGABYTES = 5.0, 2
Files = Mapping[str, Any]
"""Content by name: bytes as they are, anything else as JSON."""
Weights = dict[str, Tensor]


@contextmanager
def limited(seconds: float = SECONDS, gigabytes: float = GIGABYTES) -> Iterator[None]:
    """Ends what hangs, and refuses memory beyond what a small SAE could possibly need."""

    def hangs(*_: Any) -> NoReturn:
        pytest.fail(f"hangs: not done after {seconds} s", pytrace=False)

    own, hard = resource.getrlimit(resource.RLIMIT_AS)
    now = psutil.Process().memory_info().vms
    before = signal.signal(signal.SIGALRM, hangs)
    resource.setrlimit(resource.RLIMIT_AS, (int(now + gigabytes * 1e9), hard))
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (own, hard))


class Code:
    """Pickled, it creates a file when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.mark), "w")


def script(mark: Path, *names: str) -> bytes:
    """A module of classes that creates a file when it is imported."""
    classes = "\n".join(f"class {name}: pass" for name in names)
    return f"open({str(mark)!r}, 'w').close()\n{classes}\n".encode()


def written(folder: Path, files: Files) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return folder


# safetensors


def entry(shape: Any, begin: Any, end: Any, dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def safetensors(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def saved(weights: Weights) -> bytes:
    from safetensors.torch import save

    return save({name: value.contiguous() for name, value in weights.items()})


# numpy


def npy(shape: object, descr: object = "<f4", data: bytes = b"", header: str | None = None) -> bytes:
    """An array of numpy's format that says what it likes."""
    text = header or f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode("latin1") + data


def archive(members: Sequence[tuple[str, bytes]], kind: int = zipfile.ZIP_STORED, says: int | None = None) -> bytes:
    """A zip file, of whose members its directory `says` how large they are."""
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", kind) as archive:
        warnings.simplefilter("ignore")  # two members of one name
        for name, content in members:
            archive.writestr(name, content)
        for info in archive.filelist if says is not None else ():
            info.file_size = says
    return file.getvalue()


def npz(weights: Mapping[str, Any], *, compressed: bool = False) -> bytes:
    import numpy as np

    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **{name: np.asarray(w) for name, w in weights.items()})
    return file.getvalue()


# torch


def checkpoint(value: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def stretched(*shape: int) -> Tensor:
    """A tensor of one number that says that it is larger."""
    return torch.zeros(1).as_strided(shape, [0] * len(shape))


def old_checkpoint(value: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


# SAEs in all formats


@cache
def _arrays() -> Weights:
    draw = torch.Generator().manual_seed(0)
    shapes = {"W_enc": (D, LATENTS), "W_dec": (LATENTS, D), "b_enc": (LATENTS,), "b_dec": (D,), "threshold": (LATENTS,)}
    return {name: torch.randn(shape, generator=draw).abs() for name, shape in shapes.items()}


def arrays(**others: Any) -> Weights:
    return {**_arrays(), **others}


def skipping() -> Weights:
    return {**arrays(), "W_skip": torch.eye(D)}


def linear() -> Weights:
    """As sparsify names them."""
    w = arrays()
    return {"encoder.weight": w["W_enc"].T, "encoder.bias": w["b_enc"], "W_dec": w["W_dec"], "b_dec": w["b_dec"]}


SPARSIFY = {"k": 5, "d_in": D, "activation": "topk", "num_latents": LATENTS}
TRAINERS = {
    "AutoEncoder": "StandardTrainer", "GatedAutoEncoder": "GatedSAETrainer", "AutoEncoderTopK": "TopKTrainer",
    "BatchTopKSAE": "BatchTopKTrainer", "JumpReluAutoEncoder": "JumpReluTrainer",
}  # fmt: skip


class Format:
    """An SAE of one format: its weights, and the files that they are put into."""

    def __init__(self, weights: Callable[[], Weights], files: Callable[[Weights], Files]) -> None:
        self.weights = cache(weights)
        self.files = files


def _sae_lens(architecture: Any) -> Format:
    known = cache(lambda: repos.sae_lens_folder(architecture, D, LATENTS, l0=5))

    def weights() -> Weights:
        from safetensors.torch import load

        return load(known()["sae_weights.safetensors"])

    return Format(weights, lambda w: {**known(), "sae_weights.safetensors": saved(w)})


def _dictionary_learning(kind: str) -> Format:
    known = cache(lambda: repos.dictionary_learning_folder(TRAINERS[kind], kind, D, LATENTS, k=5))
    read = lambda: torch.load(io.BytesIO(known()["ae.pt"]), weights_only=True)  # noqa: E731
    return Format(read, lambda w: {**known(), "ae.pt": checkpoint(w)})


def _scope_2(affine: bool) -> Format:
    known = cache(lambda: repos.gemma_scope_2_folder(D, LATENTS, site="transcoder", affine=affine))

    def weights() -> Weights:
        from safetensors.torch import load

        return load(known()["params.safetensors"])

    return Format(weights, lambda w: {**known(), "params.safetensors": saved(w)})


FORMATS = {
    "safetensors": Format(arrays, lambda w: {"x.safetensors": saved(w)}),
    "skip": Format(skipping, lambda w: {"x.safetensors": saved(w)}),
    "npz": Format(arrays, lambda w: {"params.npz": npz(w)}),
    "pt": Format(arrays, lambda w: {"x.pt": checkpoint(w)}),
    "sparsify": Format(linear, lambda w: {"sae.safetensors": saved(w), "cfg.json": SPARSIFY}),
    "gemma scope 2": _scope_2(affine=True),
    **{f"sae-lens {name}": _sae_lens(name) for name in ("topk", "jumprelu", "gated")},
    **{f"dictionary_learning {name}": _dictionary_learning(name) for name in TRAINERS},
}
"""A lone file is its folder's only one."""
PLAIN, SCALED = "W_enc W_dec b_enc b_dec", "W_enc W_dec b_enc b_dec threshold"
TORCH = "encoder.weight decoder.weight encoder.bias"
USED = {
    "safetensors": SCALED, "skip": "W_skip", "npz": SCALED, "pt": SCALED,
    "sparsify": "encoder.weight encoder.bias W_dec b_dec",
    "gemma scope 2": "w_enc w_dec b_enc b_dec threshold affine_skip_connection",
    "sae-lens topk": PLAIN, "sae-lens jumprelu": SCALED, "sae-lens gated": "W_enc W_dec b_dec b_gate b_mag r_mag",
    "dictionary_learning AutoEncoder": f"{TORCH} bias",
    "dictionary_learning GatedAutoEncoder": "encoder.weight decoder.weight decoder_bias gate_bias mag_bias r_mag",
    "dictionary_learning AutoEncoderTopK": f"{TORCH} b_dec", "dictionary_learning BatchTopKSAE": f"{TORCH} b_dec threshold",
    "dictionary_learning JumpReluAutoEncoder": SCALED,
}  # fmt: skip
"""The arrays of each format that its SAE computes with; written down, since a list of tests should be quick to make."""
WAYS = {2: ["0-D", "1-D", "empty", "3-D", "cut", "narrow", "transposed", "no rows"], 1: ["0-D", "empty", "3-D", "cut"]}


def dimensions(form: str, name: str) -> int:
    if name == "threshold" and form.endswith("BatchTopKSAE"):
        return 0
    return 2 if name.lower().startswith("w_") or name.endswith(("weight", "connection")) else 1


def place(folder: Path, files: Files) -> Path:
    """What `--sae` names: the folder, or the only file in it."""
    written(folder, files)
    return folder / next(iter(files)) if len(files) == 1 and "params.npz" not in files else folder


def misshapen(value: Tensor, how: str) -> Tensor:
    """The same numbers in a shape that they should not have."""
    ways: dict[str, Callable[[], Tensor]] = {
        "0-D": lambda: value.flatten()[0], "1-D": value.flatten, "empty": lambda: value.flatten()[:0],
        "3-D": lambda: value.expand(1, 1, *value.shape), "cut": lambda: value[:-1], "narrow": lambda: value[:, :-1],
        "transposed": lambda: value.T, "no rows": lambda: value[:0],
    }  # fmt: skip
    return ways[how]()


def raw_pickle(value: Any) -> bytes:
    return pickle.dumps(value)


# Names

HOSTILE = {
    "line": "a\nb", "ansi": "a\x1b[31mb", "nul": "a\0b", "bidi": "a\u202eb", "invisible": "a\u200bb",
    "html": "<img src=x onerror=alert(1)>", "table": "a|b", "code": "`a`", "link": "[a](javascript:alert(1))",
    "long": "a" * 10_000, "half": "a\ud800b", "separator": "a\u2028b",
}  # fmt: skip
UNSHOWABLE = ("line", "ansi", "nul", "bidi", "invisible", "half", "separator")
"""What would break a line or steer a terminal."""
