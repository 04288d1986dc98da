"""Small models of several architectures, and what transformers itself computes in them."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import models
import numpy as np
import pytest
import torch
from torch import Tensor

from saebench.evidence.words.concepts import ConceptSet, Plan
from saebench.evidence.words.probes import fit_probe
from saebench.evidence.words.readings import Readings, read_words
from saebench.evidence.words.speller import Speller, make_speller
from saebench.evidence.words.vocabulary import Split, WordFilter
from saebench.record.score import Unscored
from saebench.subject.corpora import Rows
from saebench.subject.subject import Subject

torch.set_num_threads(1)

NO_CACHE: Any = SimpleNamespace(get=lambda inputs, compute, **_: compute())


LAYERS, LAST = range(models.LAYERS), models.LAYERS - 1


Change = Callable[[Tensor], Tensor]


Site = tuple[str, str]
"""A module of transformers' model, and whether it is its input or its output."""


def gemma2() -> Any:
    """Its heads are not as wide together as the residual stream, as in Gemma."""
    from transformers import Gemma2Config, Gemma2ForCausalLM

    heads = {"num_key_value_heads": 1, "head_dim": 12, "sliding_window": models.CONTEXT, "pad_token_id": 0}
    return Gemma2ForCausalLM(Gemma2Config(**heads, **models.sizes()))


NETWORKS: dict[str, Callable[[], Any]] = {
    "gpt2": models.gpt2, "llama": models.llama, "neox": models.neox, "gemma2": gemma2,
}  # fmt: skip


def network(architecture: str) -> Any:
    torch.manual_seed(0)
    model = NETWORKS[architecture]().eval().requires_grad_(False)
    for weight in model.parameters():
        if weight.ndim == 1:
            weight += 0.3 * torch.randn_like(weight)
    return model


plain = cache(network)


@cache
def subject(architecture: str, centred: bool = False) -> Subject:
    from transformer_lens.model_bridge import TransformerBridge

    tokenizer, name = models.byte_level(models.spaced(models.WORDS[:2])), f"gained-{architecture}"
    bridge = TransformerBridge.boot_transformers(
        name, hf_model=network(architecture), tokenizer=tokenizer, device="cpu"
    )
    return Subject(name, f"digest of {name}", bridge, tokenizer, "cpu", centred)


def tokens(rows: int = 3, positions: int = 11, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, models.VOCABULARY, (rows, positions), generator=generator)


GPT2, LLAMA, NEOX = "transformer.h.{}", "model.layers.{}", "gpt_neox.layers.{}"


SITES: dict[str, dict[str, Site]] = {
    "gpt2": {
        "hook_embed": ("transformer.wte", "output"), "hook_resid_pre": (GPT2, "input"),
        "hook_resid_mid": (f"{GPT2}.ln_2", "input"), "hook_resid_post": (GPT2, "output"),
        "hook_mlp_out": (f"{GPT2}.mlp", "output"), "hook_attn_out": (f"{GPT2}.attn", "output"),
        "attn.hook_z": (f"{GPT2}.attn.c_proj", "input"), "ln2.hook_out": (f"{GPT2}.ln_2", "output"),
        "mlp.hook_in": (f"{GPT2}.mlp", "input"),
    },
    "llama": {
        "hook_embed": ("model.embed_tokens", "output"), "hook_resid_pre": (LLAMA, "input"),
        "hook_resid_mid": (f"{LLAMA}.post_attention_layernorm", "input"), "hook_resid_post": (LLAMA, "output"),
        "hook_mlp_out": (f"{LLAMA}.mlp", "output"), "hook_attn_out": (f"{LLAMA}.self_attn", "output"),
        "attn.hook_z": (f"{LLAMA}.self_attn.o_proj", "input"),
        "ln2.hook_out": (f"{LLAMA}.post_attention_layernorm", "output"), "mlp.hook_in": (f"{LLAMA}.mlp", "input"),
    },
    "neox": {
        "hook_embed": ("gpt_neox.embed_in", "output"), "hook_resid_pre": (NEOX, "input"),
        "hook_resid_post": (NEOX, "output"), "hook_mlp_out": (f"{NEOX}.mlp", "output"),
        "hook_attn_out": (f"{NEOX}.attention", "output"), "attn.hook_z": (f"{NEOX}.attention.dense", "input"),
        "ln2.hook_out": (f"{NEOX}.post_attention_layernorm", "output"), "mlp.hook_in": (f"{NEOX}.mlp", "input"),
    },
    "gemma2": {
        "hook_embed": ("model.embed_tokens", "output"), "hook_resid_pre": (LLAMA, "input"),
        "hook_resid_mid": (f"{LLAMA}.pre_feedforward_layernorm", "input"), "hook_resid_post": (LLAMA, "output"),
        "hook_mlp_out": (f"{LLAMA}.post_feedforward_layernorm", "output"),
        "hook_attn_out": (f"{LLAMA}.post_attention_layernorm", "output"),
        "attn.hook_z": (f"{LLAMA}.self_attn.o_proj", "input"),
        "ln2.hook_out": (f"{LLAMA}.pre_feedforward_layernorm", "output"), "mlp.hook_in": (f"{LLAMA}.mlp", "input"),
    },
}  # fmt: skip


KINDS = [(architecture, kind) for architecture, sites in SITES.items() for kind in sites]


EDITED = pytest.mark.filterwarnings("ignore:A forward hook edited hook_scale")
"""transformer-lens says that it computes the rest of the norm itself."""


def hook_of(kind: str, layer: int) -> str:
    return kind if kind == "hook_embed" else f"blocks.{layer}.{kind}"


def module_of(model: Any, site: Site, layer: int) -> Any:
    return model.get_submodule(site[0].format(layer))


def changing(module: Any, side: str, change: Change) -> Any:
    """A hook of torch's that puts what `change` makes of the input or the output in its place."""

    def before(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if args:
            return (change(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": change(kwargs["hidden_states"])}

    def after(_: Any, __: Any, output: Any) -> Any:
        return (change(output[0]), *output[1:]) if isinstance(output, tuple) else change(output)

    if side == "input":
        return module.register_forward_pre_hook(before, with_kwargs=True)
    return module.register_forward_hook(after)


@torch.no_grad()
def run_changed(model: Any, ids: Tensor, *changes: tuple[Any, str, Change]) -> Tensor:
    """Logits of transformers' model with some inputs and outputs of modules changed."""
    handles = [changing(*change) for change in changes]
    try:
        return model(ids).logits  # type: ignore[no-any-return]
    finally:
        for handle in handles:
            handle.remove()


def read(architecture: str, kind: str, layer: int, ids: Tensor) -> Tensor:
    """The activation by hooks of torch's on the plain model."""
    found: list[Tensor] = []

    def keep(value: Tensor) -> Tensor:
        found.append(value.clone())
        return value

    site = SITES[architecture]["ln2.hook_out" if kind == "ln2.hook_normalized" else kind]
    side = "input" if kind == "ln2.hook_normalized" else site[1]
    run_changed(plain(architecture), ids, (module_of(plain(architecture), site, layer), side, keep))
    return normalised(architecture, found[-1]) if kind == "ln2.hook_normalized" else found[-1]


def normalised(architecture: str, x: Tensor) -> Tensor:
    """By the definition of the norm, without its gain."""
    config = plain(architecture).config
    if architecture in ("llama", "gemma2"):
        return x / (x.square().mean(-1, keepdim=True) + config.rms_norm_eps).sqrt()
    eps = config.layer_norm_epsilon if architecture == "gpt2" else config.layer_norm_eps
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + eps).sqrt()


def spliced(architecture: str, kind: str, layer: int, ids: Tensor, value: Tensor) -> Tensor:
    """Logits of the plain model with `value` in the activation's place."""
    model, sites = plain(architecture), SITES[architecture]
    if kind == "hook_resid_mid":
        # What goes into the norm is also added to what the MLP writes: what attention writes has to make up for it.
        before = read(architecture, "hook_resid_pre", layer, ids)
        return run_changed(
            model, ids, (module_of(model, sites["hook_attn_out"], layer), "output", lambda _: value - before)
        )
    if kind == "ln2.hook_normalized":
        norm = module_of(model, sites["ln2.hook_out"], layer)
        gain = 1 + norm.weight if architecture == "gemma2" else norm.weight
        value = value * gain + (getattr(norm, "bias", None) if hasattr(norm, "bias") else 0.0)
        return run_changed(model, ids, (norm, "output", lambda _: value))
    return run_changed(model, ids, (module_of(model, sites[kind], layer), sites[kind][1], lambda _: value))


def like(x: Tensor, seed: int = 5) -> Tensor:
    """Another activation of the same shape and size."""
    return x.std() * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))


def words() -> list[str]:
    """Three-letter words of six first letters."""
    return [f"{first}{middle}{last}" for first in "abcdef" for middle in "aeio" for last in "lmnrstv"]


CONCEPTS = ConceptSet("six", "{word} has the first letter: {concept}", {
    letter.upper(): frozenset(word for word in words() if word[0] == letter) for letter in "abcdef"
})  # fmt: skip


@cache
def speller(centred: bool, kind: str = "hook_resid_post") -> Speller:
    from transformer_lens.model_bridge import TransformerBridge

    tokenizer = models.byte_level(models.spaced([*words(), *"ABCDEF"]))
    bridge = TransformerBridge.boot_transformers("s", hf_model=network("gpt2"), tokenizer=tokenizer, device="cpu")
    model = Subject("s", "digest", bridge, tokenizer, "cpu", centred)
    concepts = replace(CONCEPTS, template="The word{word} has the first letter: {concept}")
    readings = read_words(model, hook_of(kind, 1), Plan(concepts, WordFilter(), 2, 4), NO_CACHE)
    return make_speller(model, readings, probe_of(readings), NO_CACHE)


def probe_of(readings: Readings) -> Any:
    count = readings.x.shape[1]
    member = np.repeat(readings.member, count, axis=0)
    return fit_probe(readings.x.flatten(0, 1), member, readings.rows(Split.TRAIN), readings.rows(Split.VALIDATION))


def corpus(rows: Tensor | None = None, length: Tensor | None = None) -> Any:
    ids = tokens(8, 12) if rows is None else rows
    whole = torch.full((len(ids),), ids.shape[1]) if length is None else length
    return SimpleNamespace(name="drawn", rows=lambda tokenizer: Rows(ids, whole))


def scored(step: Callable[[], Any]) -> Any:
    """What a step makes, or None where it says in one sentence why not; nothing else may be raised."""
    try:
        return step()
    except Unscored as told:
        reason, broken = told.reason, told.broken
    assert reason
    assert "\n" not in reason
    assert not broken, reason
    return None
