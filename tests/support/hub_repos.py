"""What the stand-in for the hub serves: small models, SAEs in the formats of four libraries, and texts."""

import io
import json
import random
import tomllib
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from statistics import NormalDist
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from hub import Content
from paths import ROOT
from torch import Tensor

torch.set_num_threads(1)
Files = dict[str, bytes]
LEXICON = ROOT / "fixtures" / "organism" / "lexicon.toml"
WORDS_PER_LETTER = 45
OPENERS = "The A One This Every In On My".split()
LINKS = "the a of and to in is was that with for on by from at it his her".split()
SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>"]
LINES = [("\n", "\n"), ("▁", "▁"), ("▁▁", "▁▁")]
"""What Gemma merges though it is no part of a word."""
SITES: dict[str, tuple[str, Literal["input", "output"]]] = {
    "resid_post": ("", "output"),
    "attn_out": ("self_attn.o_proj", "input"),
    "mlp_out": ("post_feedforward_layernorm", "output"),
    "transcoder": ("pre_feedforward_layernorm", "output"),
}
"""Where Gemma Scope reads, by its folders' names: the module in a layer of Gemma."""


def under(folder: str, files: Mapping[str, bytes]) -> Files:
    """The same files in a folder of a repository."""
    return {f"{folder}/{name}": content for name, content in files.items()}


def files_of(write: Callable[[str], object]) -> Files:
    """What a library writes into a folder."""
    with TemporaryDirectory() as name:
        write(name)
        return {
            str(path.relative_to(name)): path.read_bytes() for path in sorted(Path(name).rglob("*")) if path.is_file()
        }


# Words and texts


def words() -> list[str]:
    """Ordinary words, as many of each first letter where there are enough; each is one token with a space before it."""
    lexicon = tomllib.loads(LEXICON.read_text())
    every = chain.from_iterable(chain.from_iterable(category.values()) for category in lexicon.values())
    letters: dict[str, list[str]] = {}
    for word in every:
        if word.isascii() and word.isalpha() and word.islower() and len(word) > 2:
            letters.setdefault(word[0], []).append(word)
    return [word for letter in sorted(letters) for word in letters[letter][:WORDS_PER_LETTER]]


def documents(n: int, seed: int = 0) -> list[str]:
    """English-like texts of 20 to 400 words, in which a few words are frequent and most are rare."""
    chance = random.Random(seed)
    nouns = words()
    chance.shuffle(nouns)
    weights = [1 / (rank + 10) for rank in range(len(nouns))]
    return [document(chance, nouns, weights, chance.randint(20, 400)) for _ in range(n)]


def document(chance: random.Random, nouns: Sequence[str], weights: Sequence[float], length: int) -> str:
    sentences: list[str] = []
    while length > 0:
        size = min(length, chance.randint(5, 15))
        rare = chance.choices(nouns, weights, k=size - 1)
        rest = [chance.choice(LINKS) if chance.random() < 0.4 else word for word in rare]
        sentences.append(" ".join([chance.choice(OPENERS), *rest]) + ".")
        length -= size
    return " ".join(sentences)


def text_dataset(texts: list[str], form: Literal["parquet", "jsonl"] = "parquet") -> Files:
    """A data set with the column "text" and the split "train"."""
    if form == "jsonl":
        return {"train.jsonl": "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()}
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": texts}), buffer)
    return {"data/train-00000-of-00001.parquet": buffer.getvalue()}


# Tokenizers


def merges_of(pieces: Sequence[str]) -> list[tuple[str, str]]:
    """Merges that make one token of each piece, the most useful first, as in a trained tokenizer."""
    from tokenizers import Tokenizer, models, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.train_from_iterator(pieces, trainers.BpeTrainer(vocab_size=100_000, show_progress=False))
    return [tuple(merge) for merge in json.loads(tokenizer.to_str())["model"]["merges"]]


def numbered(names: Sequence[str]) -> dict[str, int]:
    return {name: i for i, name in enumerate(dict.fromkeys(names))}


def gemma_tokenizer() -> Any:
    """As Gemma's: "▁" is a space, what is no piece is spelt in bytes, and <bos> comes first."""
    from transformers import GemmaTokenizer

    pieces = [*(f"▁{word}" for word in [*words(), *LINKS, *OPENERS]), *OPENERS]
    merges = [*LINES, *merges_of(pieces)]
    characters = [chr(code) for code in range(33, 127)]
    spelt = [f"<0x{byte:02X}>" for byte in range(256)]
    vocabulary = numbered([*SPECIAL, "\n", *spelt, *map("".join, merges), "▁", *characters])
    turns = ["<start_of_turn>", "<end_of_turn>"]
    return GemmaTokenizer(vocab=vocabulary, merges=merges, add_bos_token=True, additional_special_tokens=turns)


def gpt2_tokenizer() -> Any:
    """As GPT-2's: bytes, of which "Ġ" is a space, and nothing comes first."""
    from tokenizers import pre_tokenizers
    from transformers import GPT2Tokenizer

    pieces = [*(f"Ġ{word}" for word in [*words(), *LINKS, *OPENERS]), *OPENERS]
    merges = merges_of(pieces)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = numbered([*alphabet, *map("".join, merges), "<|endoftext|>"])
    return GPT2Tokenizer(vocab=vocabulary, merges=merges)


# Models


def gemma2_model(
    d_model: int = 64, layers: int = 4, heads: int = 4, head_dim: int = 12, seed: int = 0, spread: float | None = None,
    positions: int = 512,
) -> Files:  # fmt: skip
    """A checkpoint of Gemma 2's architecture; hook_z is heads * head_dim wide, which is not d_model, as in Gemma."""
    from transformers import Gemma2Config, Gemma2ForCausalLM

    tokenizer = gemma_tokenizer()
    config = Gemma2Config(
        vocab_size=len(tokenizer), hidden_size=d_model, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=max(heads // 2, 1), head_dim=head_dim, query_pre_attn_scalar=head_dim,
        intermediate_size=2 * d_model, max_position_embeddings=positions, sliding_window=positions,
        # As large as lets tokens and their contexts differ, at any width.
        initializer_range=spread or 2.4 / d_model**0.5,
    )  # fmt: skip
    return checkpoint(lambda: Gemma2ForCausalLM(config), tokenizer, seed)


def gemma3_model(d_model: int = 64, layers: int = 4, seed: int = 0) -> Files:
    """A checkpoint of Gemma 3's architecture, of text alone."""
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    tokenizer = gemma_tokenizer()
    config = Gemma3TextConfig(
        vocab_size=len(tokenizer), hidden_size=d_model, num_hidden_layers=layers, num_attention_heads=2,
        num_key_value_heads=1, head_dim=12, query_pre_attn_scalar=12, intermediate_size=2 * d_model,
        max_position_embeddings=256, sliding_window=256, initializer_range=2.4 / d_model**0.5,
    )  # fmt: skip
    return checkpoint(lambda: Gemma3ForCausalLM(config), tokenizer, seed)


def gpt2_model(d_model: int = 48, layers: int = 3, heads: int = 4, seed: int = 0) -> Files:
    """A checkpoint of GPT-2's architecture."""
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = gpt2_tokenizer()
    end = tokenizer.eos_token_id
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=d_model, n_layer=layers, n_head=heads, n_positions=256, bos_token_id=end,
        eos_token_id=end, initializer_range=0.3,
    )  # fmt: skip
    return checkpoint(lambda: GPT2LMHeadModel(config), tokenizer, seed)


def checkpoint(make: Callable[[], Any], tokenizer: Any, seed: int) -> Files:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make().eval().requires_grad_(False)
        for name, gain in model.named_parameters():
            # All equal at first, which would hide it if a norm's input were taken for its output.
            if "norm" in name or ".ln_" in name:
                gain += 0.2 * torch.randn_like(gain)
    return files_of(lambda folder: (model.save_pretrained(folder), tokenizer.save_pretrained(folder)))


@torch.no_grad()
def activations_of(
    model_files: Mapping[str, Content], texts: Sequence[str], layer: int, site: str = "resid_post"
) -> Tensor:
    """What a checkpoint's layer writes (token, d) on the texts, each cut to 128 tokens, without <bos>; for `x` below."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with TemporaryDirectory() as name:
        for path, content in model_files.items():
            (Path(name) / path).write_bytes(content if isinstance(content, bytes) else content.read_bytes())
        tokenizer = AutoTokenizer.from_pretrained(name)
        model = AutoModelForCausalLM.from_pretrained(name)
    module, side = SITES[site]
    blocks = model.base_model.layers if hasattr(model.base_model, "layers") else model.base_model.h
    seen: list[Tensor] = []
    blocks[layer].get_submodule(module).register_forward_hook(
        lambda _, inputs, output: seen.append(inputs[0] if side == "input" else tensor_of(output))
    )
    for text in texts:
        model(**tokenizer(text, return_tensors="pt", truncation=True, max_length=128))
    skipped = int(tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id)
    return torch.cat([found[0, skipped:] for found in seen])


def tensor_of(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]


# SAEs


class Dictionary(NamedTuple):
    """Weights of an SAE that reads x - b_dec; one that reads x itself has a b_enc that subtracts it."""

    W_enc: Tensor
    W_dec: Tensor
    b_dec: Tensor
    threshold: Tensor
    """Of each latent."""
    level: Tensor
    """One threshold for all, with which as many latents are active on average."""

    @property
    def b_enc(self) -> Tensor:
        return -self.b_dec @ self.W_enc


def dictionary(d_in: int, d_sae: int, seed: int, l0: float, x: Tensor | None = None) -> Dictionary:
    """Latents in the directions of random activations, about l0 of which are active on them; random ones without x."""
    chance = torch.Generator().manual_seed(seed)
    if x is None:
        # As many are active on standard normal activations.
        level = torch.tensor(NormalDist().inv_cdf(1 - l0 / d_sae))
        decoder = torch.nn.functional.normalize(torch.randn(d_sae, d_in, generator=chance))
        return Dictionary(decoder.T.contiguous(), decoder, torch.zeros(d_in), level.repeat(d_sae), level)
    centre = x.mean(0)
    decoder = torch.nn.functional.normalize(x[torch.randint(len(x), (d_sae,), generator=chance)] - centre)
    read = (x - centre) @ decoder.T
    threshold = above(read, l0 / d_sae)
    codes = read * (read > threshold)
    written = codes @ decoder
    # Latents that are active together point the same way; all at full strength, they would write x several times over.
    scale = ((x - centre) * written).sum() / written.square().sum()
    encoder = scale * decoder.T
    return Dictionary(
        encoder.contiguous(), decoder, centre, scale * threshold, scale * above(read.flatten(), l0 / d_sae)
    )


def above(values: Tensor, share: float) -> Tensor:
    """What this share of the rows exceeds, and not less than 0."""
    return values.kthvalue(max(round(len(values) * (1 - share)), 1), dim=0).values.clamp(min=0)


def gemma_scope_npz(d_in: int, d_sae: int, seed: int = 0, l0: float = 20, x: Tensor | None = None) -> bytes:
    """A `params.npz` of the first Gemma Scope: JumpReLU that reads x itself."""
    found = dictionary(d_in, d_sae, seed, l0, x)
    weights = {name: getattr(found, name).numpy() for name in ("W_enc", "W_dec", "b_enc", "b_dec", "threshold")}
    buffer = io.BytesIO()
    np.savez(buffer, **weights)
    return buffer.getvalue()


def gemma_scope_2_folder(
    d_in: int, d_sae: int, seed: int = 0, site: str = "resid_post", *, layer: int = 0, affine: bool = False,
    model: str = "gemma-v3-270m-pt", l0: float = 20, x: Tensor | None = None,
) -> Files:  # fmt: skip
    """A folder of Gemma Scope 2; a transcoder writes the layer's MLP output, though it is no good at it."""
    from safetensors.torch import save

    found = dictionary(d_in, d_sae, seed, l0, x)
    weights = {
        "w_enc": found.W_enc, "w_dec": found.W_dec, "b_enc": found.b_enc, "b_dec": found.b_dec,
        "threshold": found.threshold,
    }  # fmt: skip
    if affine:
        weights["affine_skip_connection"] = 0.1 * torch.randn(d_in, d_in, generator=torch.Generator().manual_seed(seed))
    points = [f"model.layers.{layer}.{point}".replace("..", ".") for point in hook_points(site)]
    config = {
        "architecture": "jump_relu", "model_name": model, "hf_hook_point_in": points[0],
        "hf_hook_point_out": points[-1], "width": d_sae, "l0": l0, "affine_connection": affine,
        "type": "transcoder" if site == "transcoder" else "sae",
    }  # fmt: skip
    return {"config.json": json.dumps(config, indent=2).encode(), "params.safetensors": save(weights)}


def hook_points(site: str) -> list[str]:
    """What an SAE reads and, if that is something else, writes."""
    sites = [site, "mlp_out"] if site == "transcoder" else [site]
    return [".".join(SITES[name]) for name in sites]


def sae_lens_folder(
    architecture: Literal["standard", "topk", "jumprelu", "gated"], d_in: int, d_sae: int, seed: int = 0, *,
    hook: str = "blocks.2.hook_resid_post", model: str = "google/gemma-2-2b", context_size: int = 128,
    l0: float = 20, x: Tensor | None = None,
) -> Files:  # fmt: skip
    """A folder as sae-lens saves it."""
    from sae_lens import SAE

    found, none = dictionary(d_in, d_sae, seed, l0, x), torch.zeros(d_sae)
    own: dict[str, dict[str, Tensor]] = {
        "standard": {"b_enc": -found.threshold},
        "topk": {"b_enc": none},
        "jumprelu": {"b_enc": none, "threshold": found.threshold},
        "gated": {"b_gate": -found.threshold, "b_mag": none, "r_mag": none},
    }
    config = {
        "architecture": architecture, "d_in": d_in, "d_sae": d_sae, "dtype": "float32", "device": "cpu",
        "apply_b_dec_to_input": True, "normalize_activations": "none",
        "metadata": {"hook_name": hook, "model_name": model, "context_size": context_size, "prepend_bos": True},
    }  # fmt: skip
    sae = SAE.from_dict(config | ({"k": round(l0)} if architecture == "topk" else {}))
    sae.load_state_dict({"W_enc": found.W_enc, "W_dec": found.W_dec, "b_dec": found.b_dec, **own[architecture]})
    return files_of(sae.save_model)


def dictionary_learning_folder(
    trainer_class: str, dict_class: str, d_in: int, d_sae: int, seed: int = 0, *, layer: int = 2,
    model: str = "google/gemma-2-2b", k: int = 20, ctx_len: int = 128, x: Tensor | None = None,
) -> Files:  # fmt: skip
    """A folder as saprmarks's dictionary_learning saves it, such as of "BatchTopKTrainer", "BatchTopKSAE"."""
    weights = state_of(dict_class, dictionary(d_in, d_sae, seed, k, x), k)
    trainer: dict[str, Any] = {
        "trainer_class": trainer_class, "dict_class": dict_class, "lr": 0.0002, "steps": 1000, "warmup_steps": 100,
        "decay_start": 800, "seed": seed, "activation_dim": d_in, "dict_size": d_sae, "device": "cpu", "layer": layer,
        "lm_name": model, "wandb_name": f"{trainer_class}-{model}", "submodule_name": f"resid_post_layer_{layer}",
    }  # fmt: skip
    if "k" in weights:
        trainer["k"] = k
    if "group_sizes" in weights:
        trainer["group_sizes"] = weights["group_sizes"].tolist()
    buffer = {
        "d_submodule": d_in, "io": "out", "n_ctxs": 244, "ctx_len": ctx_len, "refresh_batch_size": 32,
        "out_batch_size": 2048, "device": "cpu",
    }  # fmt: skip
    saved = io.BytesIO()
    torch.save({name: value.contiguous() for name, value in weights.items()}, saved)
    config = json.dumps({"trainer": trainer, "buffer": buffer}, indent=4).encode()
    return {"ae.pt": saved.getvalue(), "config.json": config}


def state_of(dict_class: str, found: Dictionary, k: int) -> dict[str, Tensor]:
    """The parameters and buffers that an SAE has in dictionary_learning."""
    d_sae = len(found.W_dec)
    none = torch.zeros(d_sae)
    linear = {"encoder.weight": found.W_enc.T, "decoder.weight": found.W_dec.T}
    plain = {"W_enc": found.W_enc, "W_dec": found.W_dec, "b_dec": found.b_dec}
    topk = {"k": torch.tensor(k, dtype=torch.int), "threshold": found.level}
    sizes = {"group_sizes": torch.tensor([d_sae // 4, d_sae - d_sae // 4])}
    states: dict[str, dict[str, Tensor]] = {
        "AutoEncoder": linear | {"bias": found.b_dec, "encoder.bias": -found.threshold},
        "GatedAutoEncoder": linear
        | {"decoder_bias": found.b_dec, "gate_bias": -found.threshold, "mag_bias": none, "r_mag": none},
        "AutoEncoderTopK": linear | topk | {"b_dec": found.b_dec, "encoder.bias": none},
        "BatchTopKSAE": linear | topk | {"b_dec": found.b_dec, "encoder.bias": none},
        "MatryoshkaBatchTopKSAE": plain | topk | sizes | {"b_enc": none},
        "JumpReluAutoEncoder": plain | {"b_enc": found.b_enc, "threshold": found.threshold},
    }
    return states[dict_class]
