"""What the tests of hostile input share: cases, and how long and large an answer may be."""

import errno
import importlib
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import hostile
import hub_repos as repos
import pytest
import torch
from factories import make_sae_folder
from hostile import (
    FORMATS,
    D,
)

from saebench.catalogue.registry import resolve
from saebench.catalogue.spec import SAESpec
from saebench.hub.needs import ensure, of_corpus, of_sae
from saebench.hub.texts import source_of
from saebench.saes.loaders import load_sae
from saebench.saes.sae import LoadedSAE

torch.set_num_threads(1)

LONGEST = 700
"""Characters of a sentence; folders of tests have long names."""


HOOK = "blocks.1.hook_resid_post"


Told = Callable[..., str]


Case = tuple[Any, str]


def check_sentence(sentence: str) -> None:
    assert sentence.strip(), "it says nothing"
    assert len(sentence.splitlines()) == 1, f"more than a line: {sentence!r}"
    assert sentence.isprintable(), f"what steers a terminal: {sentence!r}"
    assert len(sentence) <= LONGEST, f"{len(sentence)} characters: {sentence[:200]}"


def ids(cases: list[tuple[Any, ...]] | dict[str, Any]) -> Any:
    """Parametrizes a test by name."""
    named = cases.items() if isinstance(cases, dict) else ((case[0], case[1:]) for case in cases)
    return pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in named])


def loaded(path: Path) -> LoadedSAE:
    """An SAE that lies here, as it is before its first score."""
    (spec,) = resolve(str(path))
    sae = load_sae(spec)
    sae.decode(sae.encode(torch.ones(2, sae.spec.d_in or D)), torch.ones(2, sae.spec.d_in or D))
    return sae


def named(pattern: str, families: Path | None = None) -> list[SAESpec]:
    """SAEs by a pattern, with the repositories that they are in."""
    specs = resolve(pattern, families)
    for spec in specs[:3]:
        of_sae(spec)
    return specs


FOUR = bytes(4)


def changed(form: str, name: str, value: torch.Tensor) -> hostile.Files:
    known = FORMATS[form]
    return known.files({**known.weights(), name: value})


BROKEN: dict[str, bytes] = {
    "nothing": b"", "binary": bytes(range(256)), "half": b"{", "a list": b"[]", "text": b'"x"', "null": b"null",
    "nested": b'{"a":' * 100_000, "5000 digits": b'{"d_in": ' + b"9" * 5000 + b"}", "UTF-16": '{"a": 1}'.encode("utf-16"),
}  # fmt: skip


REPO = '\nrepo = "a/b"\nformat = "gemma_2"\nlocation = "c"\n'


def suite(more: str, name: str = '"x-{a}"', where: str = 'repo = "a/b"\npath = "p/{a}"\nformat = "gemma_2"') -> str:
    return f"[[suite]]\nname = {name}\n{where}\n{more}\n"


def family(folder: Path, text: str, name: str = "evil.toml") -> Path:
    make_sae_folder(folder / "family" / "here")
    make_sae_folder(folder / "outside")
    (folder / "family" / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    return folder / "family" / name


def module(code: str) -> str:
    """The address of an SAE of Python."""
    Path("evil_sae.py").write_text(f"import torch\nclass SAE:\n    def encode(self, x): return x\n{code}\n")
    sys.modules.pop("evil_sae", None)
    importlib.invalidate_caches()
    return "evil_sae:make"


def with_attribute(name: str, value: str) -> str:
    return module(f"def make():\n    sae = SAE()\n    sae.{name} = {value}\n    return sae")


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def kept(name: str) -> list[str]:
    source = source_of(name)
    ensure(of_corpus(source), print)
    assert source is not None
    return source.texts()


@cache
def tiny() -> repos.Files:
    return repos.gpt2_model(D, 2, 2)
