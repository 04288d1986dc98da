"""A hub, a cache and a disk that fail in the middle, and repositories whose files stray."""

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import hostile
import hub_repos as repos
import pytest
import torch
from hostile import (
    LATENTS,
    Code,
    D,
)
from hostile_cases import Told, full, kept, tiny
from hub import Hub

from saebench.catalogue.registry import resolve, resolve_all
from saebench.hub.files import here
from saebench.hub.needs import ensure, of_model, of_sae
from saebench.saes.loaders import load_sae
from saebench.saes.sae import LoadedSAE

torch.set_num_threads(1)


@cache
def gemma() -> bytes:
    return repos.gemma_scope_npz(D, LATENTS)


def fetched(pattern: str) -> LoadedSAE:
    specs = resolve_all([pattern])
    ensure([need for spec in specs for need in of_sae(spec)], print)
    return load_sae(specs[0])


def test_unknown_repository_revision_and_path(hub: Hub, told: Told) -> None:
    hub.add("a/b", {"x/params.npz": gemma()})
    told(lambda: fetched("hf:a/nope/x"), "a/nope: no such model on the hub")
    told(lambda: fetched("hf:a/b/x@nope"), "a/b has no revision 'nope'")
    told(lambda: fetched(f"hf:a/b/x@{'0' * 40}"), f"a/b has no revision '{'0' * 40}'")
    told(lambda: fetched("hf:a/b/nope"), "a/b has no nope")
    told(lambda: ensure(of_model("a/nope"), print), "a/nope: no such model on the hub")
    told(lambda: ensure(of_model("a/b@nope"), print), "a/b has no revision 'nope'")
    told(lambda: ensure(of_model("a/b"), print), "the model a/b", "config.json")


def test_gated_without_a_token(hub: Hub, told: Told) -> None:
    hub.add("g/sae", {"x/params.npz": gemma()})
    hub.add("g/model", tiny())
    hub.add("datasets/g/texts", repos.text_dataset(["a b c"]))
    hub.gated |= {"g/sae", "g/model", "datasets/g/texts"}
    told(lambda: fetched("hf:g/sae/x"), "g/sae is gated: accept its terms", "HF_TOKEN")
    told(lambda: ensure(of_model("g/model"), print), "g/model is gated: accept its terms", "HF_TOKEN")
    told(lambda: kept("g/texts"), "g/texts", "gated")


def test_disk_that_is_too_small(hub: Hub, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("a/b", {"x/params.npz": gemma()})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=10**9, used=10**9, free=1))
    told(lambda: fetched("hf:a/b/x"), "a/b: needs ", " left")


def test_disk_that_fills_up(hub: Hub, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import file_download

    hub.add("a/b", {"x/params.npz": gemma()})
    with monkeypatch.context() as patch:
        patch.setattr(file_download, "http_get", full)
        told(lambda: fetched("hf:a/b/x"), "a/b: No space left on device")
    assert fetched("hf:a/b/x").spec.d_in == D


def test_texts_on_a_disk_that_fills_up(hub: Hub, told: Told, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hub.add("datasets/a/b", repos.text_dataset(["a b c"]))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        told(lambda: kept("a/b"), "a/b", "No space left on device", seconds=10)
    assert not [path for path in tmp_path.rglob("*.json") if "texts" in path.parts]
    assert kept("a/b") == ["a b c"]


def flipped(content: bytes, at: int = 3000) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def test_download_that_is_cut_off_goes_on(hub: Hub) -> None:
    hub.add("a/b", {"x/params.npz": gemma()})
    hub.cut["x/params.npz"] = 500
    assert fetched("hf:a/b/x").spec.d_in == D


def test_download_that_is_damaged_is_not_kept(hub: Hub, told: Told) -> None:
    hub.add("a/b", {"x/params.npz": gemma()})
    hub.corrupt["x/params.npz"] = flipped
    told(lambda: fetched("hf:a/b/x"), "a/b: x/params.npz arrived damaged")
    hub.corrupt.clear()
    assert fetched("hf:a/b/x").spec.d_in == D


@pytest.mark.parametrize("online", [True, False])
@pytest.mark.parametrize("how", [flipped, lambda content: content[:-100], lambda _: b""])
def test_cached_file_that_is_damaged(
    hub: Hub, told: Told, monkeypatch: pytest.MonkeyPatch, online: bool, how: Callable[[bytes], bytes]
) -> None:
    from huggingface_hub import constants

    hub.add("a/b", {"x/params.npz": gemma()})
    fetched("hf:a/b/x")
    (path,) = here(resolve("hf:a/b/x")[0])
    path.resolve().write_bytes(how(gemma()))
    if not online:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        told(lambda: fetched("hf:a/b/x"), "HF_HUB_OFFLINE is set", "hf:a/b/x")
    else:
        assert fetched("hf:a/b/x").spec.d_in == D
        assert path.read_bytes() == gemma()


@pytest.mark.parametrize("name", ["../../evil.json", "a/../../../evil.json", "a\nb.json", "/evil.json"])
def test_repository_whose_files_stray(hub: Hub, told: Told, tmp_path: Path, name: str) -> None:
    hub.add("a/b", {name: b"{}", **tiny()})
    told(lambda: ensure(of_model("a/b"), print))
    assert not list(tmp_path.rglob("*evil*"))


def test_model_whose_weights_are_pickled(hub: Hub, told: Told, tmp_path: Path) -> None:
    hub.add(
        "a/b",
        {
            "config.json": b"{}",
            "tokenizer.json": b"{}",
            "pytorch_model.bin": hostile.raw_pickle(Code(tmp_path / "ran")),
        },
    )
    told(lambda: ensure(of_model("a/b"), print), "the model a/b has no weights as safetensors", "pickled")
    assert not (tmp_path / "ran").exists()
