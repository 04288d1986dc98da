"""The client libraries, unchanged, get models, SAEs and texts from the stand-in for the hub, and its errors."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hub_repos as repos
import pytest
import torch
from hub import Hub, environment, redirect, serve
from torch import Tensor

torch.set_num_threads(1)
GEMMA, SCOPE, SCOPE_2 = "google/gemma-2-2b", "google/gemma-scope-2b-pt-res", "google/gemma-scope-2-270m-pt"
LAYER, LATENTS, L0 = 1, 256, 12.0
TEXTS = repos.documents(12, seed=1)


@pytest.fixture(scope="module")
def gemma() -> repos.Files:
    return repos.gemma2_model()


@pytest.fixture(scope="module")
def activations(gemma: repos.Files) -> Tensor:
    return repos.activations_of(gemma, TEXTS, LAYER)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """An empty hub to which this process is redirected, with an empty cache."""
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with serve() as served:
        redirect(monkeypatch.setattr, served, tmp_path / "cache")
        yield served


def fraction_unexplained(x: Tensor, y: Tensor) -> float:
    return float((x - y).square().sum() / (x - x.mean(0)).square().sum())


def check_sae(sae: Any, x: Tensor, l0: float = L0) -> None:
    """It is as sparse as it was made, and reads and writes the same activations."""
    with torch.no_grad():
        codes = sae.encode(x)
        assert float((codes > 0).sum(1).float().mean()) == pytest.approx(l0, rel=0.15)
        assert fraction_unexplained(x, sae.decode(codes)) < 0.8


# Models


def test_tokenizer_and_model(hub: Hub, gemma: repos.Files) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer, GemmaTokenizer

    commit = hub.add(GEMMA, gemma)
    tokenizer, model = AutoTokenizer.from_pretrained(GEMMA), AutoModelForCausalLM.from_pretrained(GEMMA)
    assert type(tokenizer) is GemmaTokenizer
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id) == (0, 1, 2)
    assert type(model).__name__ == "Gemma2ForCausalLM"
    assert ("GET", f"/{GEMMA}/resolve/{commit}/model.safetensors") in hub.log


def test_words_are_tokens(hub: Hub, gemma: repos.Files) -> None:
    from transformers import AutoTokenizer

    hub.add(GEMMA, gemma)
    tokenizer = AutoTokenizer.from_pretrained(GEMMA)
    words = [word for word in repos.words() if len(tokenizer(f" {word}")["input_ids"]) == 2]
    letters = [sum(word.startswith(letter) for word in words) for letter in {word[0] for word in words}]
    assert len(words) >= 900
    assert sum(count >= 15 for count in letters) >= 20
    for text in ["Été at 10:30,\n\n  two  spaces.", TEXTS[0]]:
        assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text
    assert "<0xC3>" in tokenizer.tokenize("é")


def test_bridge(hub: Hub, gemma: repos.Files, activations: Tensor) -> None:
    from transformer_lens.model_bridge import TransformerBridge

    hub.add(GEMMA, gemma)
    bridge = TransformerBridge.boot_transformers(GEMMA, device="cpu")
    tokens = bridge.to_tokens(TEXTS[0], prepend_bos=True, truncate=False)[:, :128]
    names = [f"blocks.{LAYER}.{name}" for name in ("hook_resid_post", "attn.hook_z", "hook_mlp_out")]
    with torch.no_grad():
        _, cache = bridge.run_with_cache(tokens, names_filter=names)
    for name, site in zip(names, ("resid_post", "attn_out", "mlp_out"), strict=True):
        expected = repos.activations_of(gemma, TEXTS[:1], LAYER, site)
        torch.testing.assert_close(cache[name][0, 1:].reshape(expected.shape), expected, rtol=1e-3, atol=1e-4)
    assert activations.std(0).min() > 0.1, "activations hardly differ between tokens"


def test_gpt2(hub: Hub) -> None:
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import GPT2Tokenizer

    hub.add("openai-community/gpt2", repos.gpt2_model())
    bridge = TransformerBridge.boot_transformers("openai-community/gpt2", device="cpu")
    assert (bridge.cfg.d_model, bridge.cfg.n_layers, bridge.cfg.n_ctx) == (48, 3, 256)
    assert isinstance(bridge.tokenizer, GPT2Tokenizer)
    assert bridge.tokenizer.tokenize(" snake, dog") == ["Ġsnake", ",", "Ġdog"]


# SAEs


def override(monkeypatch: pytest.MonkeyPatch, release: str, **values: int) -> None:
    """Tell sae-lens of sizes that it has by heart."""
    from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

    monkeypatch.setattr(get_pretrained_saes_directory()[release], "config_overrides", values)


def test_gemma_scope(hub: Hub, activations: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    from sae_lens import SAE

    d_in = activations.shape[1]
    override(monkeypatch, "gemma-scope-2b-pt-res-canonical", d_in=d_in, d_sae=LATENTS)
    content = repos.gemma_scope_npz(d_in, LATENTS, l0=L0, x=activations)
    hub.add(SCOPE, {"layer_12/width_16k/average_l0_82/params.npz": content})
    sae = SAE.from_pretrained("gemma-scope-2b-pt-res-canonical", "layer_12/width_16k/canonical", device="cpu")
    assert sae.cfg.metadata.hook_name == "blocks.12.hook_resid_post"
    check_sae(sae, activations)


@pytest.mark.parametrize(
    ("release", "sae_id", "folder", "site", "reads"),
    [
        ("res", "layer_5_width_16k_l0_small", "resid_post", "resid_post", "output"),
        ("att", "layer_5_width_16k_l0_small", "attn_out", "attn_out", "self_attn.o_proj.input"),
        ("mlp", "layer_5_width_16k_l0_small", "mlp_out", "mlp_out", "post_feedforward_layernorm.output"),
    ],
)
def test_gemma_scope_2(
    hub: Hub, activations: Tensor, release: str, sae_id: str, folder: str, site: str, reads: str
) -> None:
    from sae_lens import SAE

    files = repos.gemma_scope_2_folder(activations.shape[1], LATENTS, site=site, layer=5, l0=L0, x=activations)
    hub.add(SCOPE_2, repos.under(f"{folder}/{sae_id}", files))
    sae = SAE.from_pretrained(f"gemma-scope-2-270m-pt-{release}", sae_id, device="cpu")
    assert sae.cfg.metadata.hf_hook_name == f"model.layers.5.{reads}"
    assert hub.ranges[0][1] == "bytes=0-7"
    check_sae(sae, activations)


@pytest.mark.parametrize("affine", [True, False])
def test_gemma_scope_2_transcoder(hub: Hub, affine: bool) -> None:
    from sae_lens import SAE

    sae_id = "layer_0_width_16k_l0_small" + "_affine" * affine
    files = repos.gemma_scope_2_folder(32, LATENTS, site="transcoder", affine=affine)
    hub.add(SCOPE_2, repos.under(f"transcoder_all/{sae_id}", files))
    sae = SAE.from_pretrained("gemma-scope-2-270m-pt-transcoders-all", sae_id, device="cpu")
    assert sae.cfg.metadata.hf_hook_name == "model.layers.0.pre_feedforward_layernorm.output"
    assert sae.cfg.metadata.hf_hook_name_out == "model.layers.0.post_feedforward_layernorm.output"
    assert hasattr(sae, "W_skip") == affine


@pytest.mark.parametrize("architecture", ["standard", "topk", "jumprelu", "gated"])
def test_sae_lens_folder(hub: Hub, activations: Tensor, architecture: Any) -> None:
    from sae_lens import SAE

    files = repos.sae_lens_folder(architecture, activations.shape[1], LATENTS, l0=L0, x=activations)
    hub.add("me/saes", repos.under("layer_2", files))
    sae = SAE.from_pretrained("me/saes", "layer_2", device="cpu")
    assert (sae.cfg.architecture(), sae.cfg.metadata.hook_name) == (architecture, "blocks.2.hook_resid_post")
    check_sae(sae, activations)


@pytest.mark.parametrize(
    ("trainer", "dictionary"),
    [
        ("StandardTrainer", "AutoEncoder"),
        ("GatedSAETrainer", "GatedAutoEncoder"),
        ("TopKTrainer", "AutoEncoderTopK"),
        ("BatchTopKTrainer", "BatchTopKSAE"),
        ("MatryoshkaBatchTopKTrainer", "MatryoshkaBatchTopKSAE"),
        ("JumpReluTrainer", "JumpReluAutoEncoder"),
    ],
)
def test_dictionary_learning_folder(hub: Hub, activations: Tensor, trainer: str, dictionary: str) -> None:
    from sae_lens import SAE
    from sae_lens.loading.pretrained_sae_loaders import dictionary_learning_sae_huggingface_loader_1

    files = repos.dictionary_learning_folder(
        trainer, dictionary, activations.shape[1], LATENTS, k=round(L0), x=activations
    )
    hub.add("them/saes", repos.under("trainer_0", files))
    load = dictionary_learning_sae_huggingface_loader_1
    check_sae(SAE.from_pretrained("them/saes", "trainer_0", device="cpu", converter=load), activations)


# Texts


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
@pytest.mark.parametrize("streaming", [True, False])
def test_data_set(hub: Hub, form: Any, streaming: bool) -> None:
    from datasets import load_dataset

    first = hub.add("datasets/NeelNanda/pile-10k", repos.text_dataset(TEXTS, form))
    hub.add("datasets/NeelNanda/pile-10k", repos.text_dataset(["other"], form))
    for revision, texts in ((first, TEXTS), (None, ["other"])):
        found = load_dataset("NeelNanda/pile-10k", split="train", streaming=streaming, revision=revision)
        assert [row["text"] for row in found] == texts


def test_documents() -> None:
    lengths = [len(text.split()) for text in repos.documents(50, seed=2)]
    assert lengths == [len(text.split()) for text in repos.documents(50, seed=2)]
    assert 20 <= min(lengths) < 80
    assert 320 < max(lengths) <= 400


# The transport


def fetched(repo: str, path: str, **options: Any) -> bytes:
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(repo, path, **options)).read_bytes()


def test_old_commits_stay(hub: Hub) -> None:
    first, second = (hub.add("a/b", {"config.json": content}) for content in (b"1", b"2"))
    assert first != second != hub.add("a/b", {"config.json": b"2"})
    assert fetched("a/b", "config.json", revision=first) == b"1"
    assert fetched("a/b", "config.json") == b"2"


def test_interrupted_download_resumes(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    # The client forgets what it has of a block when the connection breaks.
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    (tmp_path / "big").write_bytes(bytes(range(256)) * 40)
    hub.add("a/b", {"folder/model.safetensors": tmp_path / "big"})
    hub.cut["folder/model.safetensors"] = 4500
    assert fetched("a/b", "folder/model.safetensors") == (tmp_path / "big").read_bytes()
    assert [header for _, header in hub.ranges] == ["bytes=4000-"]
    assert not hub.cut


def test_gate_opens_to_a_token(hub: Hub) -> None:
    from huggingface_hub import model_info
    from huggingface_hub.errors import GatedRepoError

    hub.add(GEMMA, {"config.json": b"{}"})
    hub.gated.add(GEMMA)
    with pytest.raises(GatedRepoError, match="Access to model google/gemma-2-2b is restricted"):
        fetched(GEMMA, "config.json")
    assert model_info(GEMMA).gated == "manual"
    assert fetched(GEMMA, "config.json", token="hf_any") == b"{}"


def test_what_is_absent(hub: Hub) -> None:
    from huggingface_hub.errors import RemoteEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

    hub.add("a/b", {"config.json": b"{}"})
    with pytest.raises(RevisionNotFoundError):
        fetched("a/b", "config.json", revision="0" * 40)
    with pytest.raises(RemoteEntryNotFoundError):
        fetched("a/b", "absent.json")
    with pytest.raises(RepositoryNotFoundError):
        fetched("a/c", "config.json")


def test_corrupt_file_has_its_length_and_etag(hub: Hub) -> None:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    content = b"\0" + bytes(5000)
    hub.add("a/b", {"params.npz": content})
    hub.corrupt["params.npz"] = lambda body: body[:-1] + b"x"
    assert fetched("a/b", "params.npz") == content[:-1] + b"x"
    told = get_hf_file_metadata(hf_hub_url("a/b", "params.npz"))
    assert (told.size, told.etag) == (len(content), hashlib.sha256(content).hexdigest())


def test_what_is_told_of_files(hub: Hub) -> None:
    from huggingface_hub import HfApi, list_repo_files, list_repo_tree, model_info

    binary, text = b"\0" * 3000, b"{}"
    commit = hub.add("a/b", {"x/y/ae.pt": binary, "x/config.json": text, "README.md": text})
    sha256 = hashlib.sha256(binary).hexdigest()
    git = hashlib.sha1(b"blob 2\0{}").hexdigest()
    info = model_info("a/b", revision=commit, files_metadata=True)
    assert info.sha == commit
    assert [(s.rfilename, s.size, s.lfs and s.lfs.sha256) for s in info.siblings] == [
        ("README.md", 2, None),
        ("x/config.json", 2, None),
        ("x/y/ae.pt", 3000, sha256),
    ]
    assert list_repo_files("a/b") == ["README.md", "x/config.json", "x/y/ae.pt"]
    assert [entry.path for entry in list_repo_tree("a/b", "x")] == ["x/config.json", "x/y"]
    assert [entry.path for entry in list_repo_tree("a/b", "x", recursive=True)][-1] == "x/y/ae.pt"
    (folder, file) = HfApi().get_paths_info("a/b", ["x/y", "README.md", "absent"], expand=True)
    assert (folder.path, file.blob_id, file.last_commit.oid) == ("x/y", git, commit)


def test_new_process(hub: Hub, tmp_path: Path) -> None:
    hub.add("a/b", {"config.json": b"{}"})
    code = "from huggingface_hub import *; print(model_info('a/b').sha, hf_hub_download('a/b', 'config.json'))"
    variables = {**os.environ, **environment(hub, tmp_path / "new")}
    result = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True)
    commit, path = result.stdout.split()
    assert commit in path
    assert Path(path).is_relative_to(tmp_path / "new" / "hub")
    assert {path.split("/")[1] for _, path in hub.log} == {"a", "api"}
