"""What a subject reads and writes is what plain transformers computes there, whatever memory, model or hook it is."""

import copy
import itertools
import warnings
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hub_repos
import models
import numpy as np
import planted
import pytest
import torch
from factories import make_project
from torch import Tensor

from saebench.catalogue.spec import SAESpec, transcodes
from saebench.evidence.game.perturb import Perturber
from saebench.evidence.trace import Trace, trace
from saebench.evidence.words.concepts import ConceptSet, Plan
from saebench.evidence.words.probes import fit_probe
from saebench.evidence.words.readings import Readings, after_prefix, prompts, read_words
from saebench.evidence.words.speller import Speller, make_speller
from saebench.evidence.words.study import make_study
from saebench.evidence.words.vocabulary import Split, WordFilter
from saebench.hub.texts import FileSource
from saebench.metrics import context_length, reconstruction
from saebench.record.properties import Property
from saebench.record.score import Estimate, Unscored
from saebench.record.store import Store
from saebench.run.asked import Asked as Options
from saebench.run.recorder import Asked
from saebench.run.run import Run
from saebench.saes.sae import LoadedSAE
from saebench.stats.statistics import ratio_of_sums
from saebench.subject import subject as subjects
from saebench.subject.activations import Activations, compute_activations
from saebench.subject.batches import MOST, Batch, contexts_that_fit, out_of_memory
from saebench.subject.corpora import Rows, Texts
from saebench.subject.subject import Subject, load_subject

torch.set_num_threads(1)
NO_CACHE: Any = SimpleNamespace(get=lambda inputs, compute, **_: compute())
LAYERS, LAST = range(models.LAYERS), models.LAYERS - 1
Change = Callable[[Tensor], Tensor]
Site = tuple[str, str]
"""A module of transformers' model, and whether it is its input or its output."""


# Models with gains that are not 1, which would hide it if a norm's input were taken for its output


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


# Where each hook is in transformers' own modules

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
NORMALISED = [(architecture, "ln2.hook_normalized") for architecture in SITES]
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


# Every hook


@pytest.mark.parametrize("architecture, kind", [*KINDS, *NORMALISED])
def test_an_activation_is_what_transformers_computes(architecture: str, kind: str) -> None:
    for layer in LAYERS:
        expected = read(architecture, kind, layer, tokens())
        found = subject(architecture).residual(tokens(), hook_of(kind, layer))
        assert found.dtype == torch.float32
        assert found.shape == (
            *tokens().shape,
            24 if (architecture, kind) == ("gemma2", "attn.hook_z") else models.WIDTH,
        )
        assert expected.std() > 0.05
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@EDITED
@pytest.mark.parametrize("architecture, kind", [*KINDS, *NORMALISED])
def test_splicing_the_very_activation_changes_no_logits(architecture: str, kind: str) -> None:
    model = subject(architecture)
    clean = model.logits(tokens())
    torch.testing.assert_close(clean, run_changed(plain(architecture), tokens()), rtol=1e-4, atol=1e-3)
    for layer in LAYERS:
        hook = hook_of(kind, layer)
        same = model.logits(tokens(), hook, model.residual(tokens(), hook))
        torch.testing.assert_close(same, clean, rtol=1e-4, atol=1e-4)


@EDITED
@pytest.mark.parametrize("architecture, kind", [*KINDS, *NORMALISED])
def test_splicing_something_else_is_what_transformers_makes_of_it(architecture: str, kind: str) -> None:
    model = subject(architecture)
    for layer in LAYERS:
        hook = hook_of(kind, layer)
        other = like(model.residual(tokens(), hook))
        found = model.logits(tokens(), hook, other)
        assert (found - model.logits(tokens())).abs().max() > 0.1
        torch.testing.assert_close(found, spliced(architecture, kind, layer, tokens(), other), rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
def test_the_normalised_activation_is_before_the_gain(architecture: str) -> None:
    model = subject(architecture)
    before, after = (model.residual(tokens(), f"blocks.1.ln2.{name}") for name in ("hook_normalized", "hook_out"))
    norm = module_of(plain(architecture), SITES[architecture]["ln2.hook_out"], 1)
    gain = 1 + norm.weight if architecture == "gemma2" else norm.weight
    torch.testing.assert_close(before * gain, after, rtol=1e-4, atol=1e-5)
    assert (before - after).abs().max() > 0.1


def test_the_embedding_is_scaled_as_gemma_scales_it() -> None:
    """Where sae-lens multiplies the decoder of an SAE of embeddings by the root of the width."""
    weight = plain("gemma2").model.embed_tokens.weight
    found = subject("gemma2").residual(tokens(), "hook_embed")
    torch.testing.assert_close(found, weight[tokens()] * models.WIDTH**0.5)


def test_several_hooks_at_once_are_the_same() -> None:
    model = subject("gpt2")
    hooks = ["blocks.2.hook_mlp_out", "hook_embed", "blocks.0.attn.hook_z"]
    for found, hook in zip(model.activations(tokens(), *hooks), hooks, strict=True):
        assert found.equal(model.residual(tokens(), hook))


def test_layers_behind_the_hook_do_not_run() -> None:
    model = subject("llama")
    for kind, last in (("hook_embed", 0), ("blocks.1.hook_mlp_out", 1)):
        count = models.passes(model, partial(model.residual, tokens(), kind))
        assert max(count) <= last


# Hooks that are not there


@pytest.mark.parametrize(
    "architecture, hook, nearest",
    [
        ("gpt2", "blocks.1.hook_resid_pots", "blocks.1.hook_resid_post"),
        ("llama", "hook_embedd", "hook_embed"),
        ("neox", "blocks.1.hook_resid_mid", "blocks.1.hook_resid_pre"),
        ("gemma2", "blocks.3.hook_resid_post", "blocks.2.hook_resid_post"),
    ],
)
def test_an_unknown_hook_is_one_sentence_with_the_nearest_name(architecture: str, hook: str, nearest: str) -> None:
    model = subject(architecture)
    for ask in (
        lambda: model.residual(tokens(), hook),
        lambda: model.logits(tokens(), hook, torch.zeros(*tokens().shape, models.WIDTH)),
        lambda: model.activations(tokens(), "hook_embed", hook),
        lambda: compute_activations(model, hook, corpus(), NO_CACHE),
        lambda: compute_activations(model, "hook_embed", corpus(), NO_CACHE, hook),
    ):
        with pytest.raises(ValueError, match=r"^gained-\w+ has no hook") as raised:
            ask()
        assert str(raised.value) == f"{model.name} has no hook {hook!r}. Did you mean '{nearest}'?"


@pytest.mark.filterwarnings("ignore:run_with_cache. skipped")
@pytest.mark.parametrize("hook", ["blocks.1.hook_mlp_in", "blocks.1.attn.hook_result"])
def test_a_hook_that_never_fires_is_one_sentence(hook: str) -> None:
    model = subject("gpt2")
    with pytest.raises(ValueError, match="nothing passed through hook") as raised:
        model.residual(tokens(), hook)
    assert "\n" not in str(raised.value)
    with pytest.raises(ValueError) as raised:  # noqa: PT011 -- transformer-lens's own words
        model.logits(tokens(), hook, torch.zeros(*tokens().shape, models.WIDTH))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("hook", ["unembed.hook_out", "pos_embed.hook_out", "hook_pos_embed"])
def test_a_hook_outside_the_blocks_is_one_sentence(hook: str) -> None:
    with pytest.raises(ValueError, match=r"is not inside a block|has no hook") as raised:
        subject("gpt2").residual(tokens(), hook)
    assert "\n" not in str(raised.value)


def test_more_positions_than_the_model_has_are_one_sentence() -> None:
    ids = tokens(1, models.CONTEXT + 1)
    for ask in (subject("gpt2").logits, lambda t: subject("gpt2").residual(t, "hook_embed")):
        with pytest.raises(ValueError, match=f"no embedding for position {models.CONTEXT}: its context is"):
            ask(ids)


# SAEs of centred activations: those of transformer-lens with centred weights

WRITES = ("hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_mlp_out", "hook_attn_out", "hook_embed")
ELSEWHERE = ("attn.hook_z", "ln2.hook_normalized", "mlp.hook_post")


@cache
def centred_reference() -> Any:
    """The same GPT-2 as transformer-lens has it with center_writing_weights and nothing else."""
    from transformer_lens import HookedTransformer, HookedTransformerConfig
    from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights

    known = plain("gpt2").config
    config = HookedTransformerConfig(
        n_layers=known.n_layer, d_model=known.n_embd, n_ctx=known.n_positions, d_head=known.n_embd // known.n_head,
        n_heads=known.n_head, d_mlp=4 * known.n_embd, d_vocab=known.vocab_size, act_fn="gelu_new",
        normalization_type="LN", eps=known.layer_norm_epsilon, device="cpu", original_architecture="GPT2LMHeadModel",
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = HookedTransformer(config)
        model.load_and_process_state_dict(
            convert_gpt2_weights(network("gpt2"), config), fold_ln=False, center_writing_weights=True,
            center_unembed=False, fold_value_biases=False,
        )  # fmt: skip
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize("kind", [*WRITES, *ELSEWHERE])
def test_a_centred_subject_reads_what_centred_weights_write(kind: str) -> None:
    """What is not written to the residual stream, as attention's z, is what it is without centring."""
    for layer in LAYERS:
        hook = hook_of(kind, layer)
        _, expected = centred_reference().run_with_cache(tokens(), names_filter=[hook])
        found = subject("gpt2", True).residual(tokens(), hook)
        torch.testing.assert_close(found, expected[hook].flatten(2), rtol=1e-4, atol=1e-4)


@EDITED
@pytest.mark.parametrize("kind", [*WRITES, *ELSEWHERE])
def test_splicing_the_centred_activation_changes_no_logits(kind: str) -> None:
    model = subject("gpt2", True)
    clean = model.logits(tokens())
    torch.testing.assert_close(clean, centred_reference()(tokens()), rtol=1e-3, atol=1e-3)
    for layer in LAYERS:
        hook = hook_of(kind, layer)
        same = model.logits(tokens(), hook, model.residual(tokens(), hook))
        torch.testing.assert_close(same, clean, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", WRITES)
def test_splicing_something_else_is_what_the_centred_model_makes_of_it(kind: str) -> None:
    model, hook = subject("gpt2", True), hook_of(kind, 1)
    other = like(model.residual(tokens(), hook))
    expected = centred_reference().run_with_hooks(tokens(), fwd_hooks=[(hook, lambda _, hook: other)])
    torch.testing.assert_close(model.logits(tokens(), hook, other), expected, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
def test_a_model_without_layer_norm_is_not_centred(architecture: str, tmp_path: Path) -> None:
    """transformer-lens does not centre it either, whatever it is told; what is spliced would be another activation."""
    network(architecture).save_pretrained(tmp_path)
    models.byte_level(models.spaced(models.WORDS[:2])).save_pretrained(tmp_path)
    try:
        model = load_subject(str(tmp_path), centred=True)
    except ValueError:
        return
    hook = "blocks.1.hook_resid_post"
    same = model.logits(tokens(), hook, model.residual(tokens(), hook))
    torch.testing.assert_close(same, model.logits(tokens()), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", WRITES)
def test_readings_of_a_centred_subject_are_centred(kind: str) -> None:
    hook, prefix, words = hook_of(kind, 1), tokens(1, 6, seed=3), tokens(9, 1, seed=4)
    found = after_prefix(subject("gpt2", True), hook, prefix, words)
    whole = torch.cat([prefix.expand(9, -1), words], dim=1)
    _, expected = centred_reference().run_with_cache(whole, names_filter=[hook])
    torch.testing.assert_close(found, expected[hook][:, -1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", WRITES)
def test_answers_of_a_centred_subject_are_those_of_the_centred_model(kind: str) -> None:
    hook, ids = hook_of(kind, 1), [row.tolist() for row in tokens(2, 9)]
    ask = Perturber(subject("gpt2", True), hook, ids)
    for prompt, row in enumerate(ids):
        points = ask.x[prompt] + like(torch.zeros(3, models.WIDTH) + ask.x[prompt]) * 0.5
        found = ask(prompt, points)
        expected = torch.stack([centred_kl(hook, row, point) for point in points])
        assert expected.max() > 1e-2
        torch.testing.assert_close(found.kl.float(), expected, rtol=1e-2, atol=1e-4)


def centred_kl(hook: str, ids: list[int], point: Tensor) -> Tensor:
    """KL(clean || moved) at the last position of a whole pass of transformer-lens's centred model."""

    def put(activation: Tensor, hook: Any) -> Tensor:
        changed = activation.clone()
        changed[:, -1] = point
        return changed

    model, row = centred_reference(), torch.tensor([ids])
    log_p = model(row)[0, -1].double().log_softmax(-1)
    log_q = model.run_with_hooks(row, fwd_hooks=[(hook, put)])[0, -1].double().log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).sum().float()


# What is asked about one token: by passes of the plain model over the whole prompt

ASKED = [(a, kind) for a, kind in KINDS if kind in ("hook_resid_mid", "hook_embed", "attn.hook_z", "hook_mlp_out")]


@pytest.mark.parametrize("architecture, kind", ASKED)
def test_answers_are_those_of_the_plain_model(architecture: str, kind: str) -> None:
    hook, row = hook_of(kind, 1), tokens(1, 9)
    ask = Perturber(subject(architecture), hook, row.tolist())
    whole = read(architecture, kind, 1, row)
    torch.testing.assert_close(ask.x, whole[:, -1], rtol=1e-4, atol=1e-4)
    points = ask.x + 0.5 * like(torch.zeros(4, whole.shape[-1]) + ask.x)
    moved = torch.cat([torch.cat([whole[:, :-1], point[None, None]], dim=1) for point in points])
    each = [spliced(architecture, kind, 1, row, one[None])[0, -1] for one in moved]
    log_p = run_changed(plain(architecture), row)[0, -1].double().log_softmax(-1)
    expected = torch.stack([(log_p.exp() * (log_p - q.double().log_softmax(-1))).sum() for q in each])
    assert expected.max() > 1e-2
    torch.testing.assert_close(ask(0, points).kl.double(), expected, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("kind", ["hook_resid_post", "hook_resid_mid", "hook_mlp_out", "attn.hook_z", "hook_embed"])
def test_margins_are_those_of_the_plain_model(kind: str) -> None:
    made = speller(False, kind)
    test = np.flatnonzero(made.readings.split == Split.TEST)[:6]
    x = made.readings.x.flatten(0, 1)[made.row(test)]
    x = x + 0.5 * like(x)
    expected = torch.stack([plain_margin(made, int(word), point, kind) for word, point in zip(test, x, strict=True)])
    assert expected.std() > 0.1
    torch.testing.assert_close(made.margins(test, x), expected, rtol=1e-3, atol=1e-3)


def plain_margin(made: Speller, word: int, point: Tensor, kind: str) -> Tensor:
    """The logit of the word's own letter minus the mean of the others, after a whole prompt."""
    prefix = made.readings.prefix_tokens[int(made.row(np.array([word]))[0]) % 2]
    row = torch.tensor([[*prefix, made.readings.words[word].token, *made.suffix]])
    activation = read("gpt2", kind, 1, row).clone()
    activation[0, len(prefix)] = point
    logits = spliced("gpt2", kind, 1, row, activation)[0, -1, made.answers]
    own = int(made.readings.member[word].argmax())
    return logits[own] - (logits.sum() - logits[own]) / (len(logits) - 1)


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


def test_a_speller_of_a_centred_subject_gives_the_margins_of_the_raw_one() -> None:
    raw, centred = speller(False), speller(True)
    x = raw.readings.x
    torch.testing.assert_close(centred.readings.x, x - x.mean(-1, keepdim=True), rtol=1e-4, atol=1e-4)
    every = np.flatnonzero(raw.readings.split == Split.TEST)
    found, expected = (of.margins(every, of.readings.x.flatten(0, 1)[of.row(every)]) for of in (centred, raw))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    test = ~torch.isnan(raw.margin)
    assert test.equal(~torch.isnan(centred.margin))
    assert raw.margin[test].std() > 0.1
    torch.testing.assert_close(centred.margin[test], raw.margin[test], rtol=1e-3, atol=1e-3)
    assert (centred.right == raw.right).all()
    torch.testing.assert_close(centred.erased[test], raw.erased[test], rtol=1e-3, atol=1e-3)


# Transcoders


def corpus(rows: Tensor | None = None, length: Tensor | None = None) -> Any:
    ids = tokens(8, 12) if rows is None else rows
    whole = torch.full((len(ids),), ids.shape[1]) if length is None else length
    return SimpleNamespace(name="drawn", rows=lambda tokenizer: Rows(ids, whole))


TRANSCODED = [("gpt2", "ln2.hook_out"), ("gpt2", "mlp.hook_in"), ("gpt2", "ln2.hook_normalized"), ("neox", "mlp.hook_in"),
              ("llama", "ln2.hook_out"), ("gemma2", "ln2.hook_normalized"), ("gemma2", "ln2.hook_out")]  # fmt: skip


@cache
def transcoded(architecture: str, kind: str) -> Activations:
    hook, out = f"blocks.1.{kind}", "blocks.1.hook_mlp_out"
    return compute_activations(subject(architecture), hook, corpus(), NO_CACHE, out)


def true_mlp(architecture: str, kind: str) -> Callable[[Tensor], Tensor]:
    """From what a transcoder reads to what the layer's MLP writes."""
    model, sites = plain(architecture), SITES[architecture]
    norm, mlp = (module_of(model, sites[name], 1) for name in ("ln2.hook_out", "mlp.hook_in"))
    gain = (1 + norm.weight) if architecture == "gemma2" else norm.weight
    bias = norm.bias if hasattr(norm, "bias") else 0.0
    behind = module_of(model, sites["hook_mlp_out"], 1) if architecture == "gemma2" else lambda x: x
    return lambda x: behind(mlp(x * gain + bias if kind == "ln2.hook_normalized" else x))


def facts(architecture: str, kind: str) -> dict[str, Any]:
    return {"hook": f"blocks.1.{kind}", "hook_out": "blocks.1.hook_mlp_out"}


@pytest.mark.parametrize("architecture, kind", TRANSCODED)
def test_a_perfect_transcoder_has_no_error(architecture: str, kind: str) -> None:
    perfect = planted.fake(lambda x: x, torch.no_grad()(true_mlp(architecture, kind)))
    found = planted.traced(perfect, transcoded(architecture, kind), **facts(architecture, kind))
    assert reconstruction.fvu(found).value == pytest.approx(0, abs=1e-6)
    assert reconstruction.kl(found).value == pytest.approx(0, abs=1e-5)
    assert reconstruction.ce_increase(found).value == pytest.approx(0, abs=1e-4)
    assert reconstruction.cosine(found).value == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("architecture, kind", TRANSCODED)
def test_a_transcoder_that_returns_its_input_is_wrong(architecture: str, kind: str) -> None:
    """Or the test above would pass for an SAE that is scored against what it reads."""
    found = planted.traced(planted.identity(), transcoded(architecture, kind), **facts(architecture, kind))
    x, y = (read(architecture, name, 1, tokens(8, 12))[:, 1:-1] for name in (kind, "hook_mlp_out"))
    expected = (x - y).square().sum() / (y - y.mean((0, 1))).square().sum()
    assert reconstruction.fvu(found).value == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("architecture, kind", TRANSCODED)
def test_the_mean_and_the_ablations_are_those_of_the_output(architecture: str, kind: str) -> None:
    made, ids = transcoded(architecture, kind), tokens(8, 12)
    output = read(architecture, "hook_mlp_out", 1, ids)
    torch.testing.assert_close(made.target, output, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(made.residual, read(architecture, kind, 1, ids), rtol=1e-4, atol=1e-4)
    assert (made.target_hook, made.hook) == ("blocks.1.hook_mlp_out", f"blocks.1.{kind}")
    mean = output[:, 1:].mean((0, 1))
    torch.testing.assert_close(made.mean, mean, rtol=1e-4, atol=1e-4)
    for value, found in ((torch.zeros_like(output), made.zero_ce), (mean.expand_as(output).clone(), made.mean_ce)):
        logits = spliced(architecture, "hook_mlp_out", 1, ids, torch.cat([output[:, :1], value[:, 1:]], dim=1))
        expected = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
        )
        torch.testing.assert_close(found[:, :-1].flatten(), expected, rtol=1e-3, atol=1e-3)


def skipping(architecture: str, d_in: int, d_out: int) -> tuple[Any, Tensor, Tensor]:
    """A transcoder of sae-lens with a skip connection, whose latents are all zero, and its bias and skip weights."""
    from saebench.saes.loaders.build import built
    from saebench.saes.loaders.normalised import normalised

    generator = torch.Generator().manual_seed(0)
    bias, skip = torch.randn(d_out, generator=generator), torch.randn(d_out, d_in, generator=generator)
    weights = {
        "W_enc": torch.zeros(d_in, 8), "W_dec": torch.ones(8, d_out), "b_enc": torch.zeros(8), "b_dec": bias, "W_skip": skip,
    }  # fmt: skip
    config = {"d_in": d_in, "d_sae": 8, "d_out": d_out, "apply_b_dec_to_input": False, "metadata": {},
              "architecture": "skip_transcoder"}  # fmt: skip
    return normalised(built(config, weights, "cpu")), bias, skip


@pytest.mark.parametrize("architecture, kind", [("gpt2", "mlp.hook_in"), ("gemma2", "attn.hook_z")])
def test_a_skip_connection_is_added(architecture: str, kind: str) -> None:
    """Also where what is read is not as wide as what is written."""
    made = transcoded(architecture, kind)
    source, bias, skip = skipping(architecture, made.residual.shape[-1], made.target.shape[-1])
    found = planted.traced(source, made, **facts(architecture, kind))
    expected = (made.residual @ skip.T + bias - made.target).square().sum(-1)
    torch.testing.assert_close(found.error[:, 1:], expected[:, 1:-1].double(), rtol=1e-3, atol=1e-3)
    assert found.l0.sum() == 0


def test_without_a_skip_connection_nothing_is_added() -> None:
    made = transcoded("gpt2", "mlp.hook_in")
    source = planted.always(torch.ones(models.WIDTH))
    found = planted.traced(source, made, **facts("gpt2", "mlp.hook_in"))
    torch.testing.assert_close(
        found.error[:, 1:], (1 - made.target).square().sum(-1)[:, 1:-1].double(), rtol=1e-4, atol=1e-4
    )


@dataclass
class Small:
    """A run on a local model and texts, with SAEs that are not loaded but given."""

    run: Run
    folder: Path
    count: Iterator[int] = field(default_factory=itertools.count)

    def sae(self, source: Any, **facts: Any) -> LoadedSAE:
        digest = f"digest of {next(self.count)}"
        spec = SAESpec("given/sae", "python", "given:sae", model=str(self.folder), digest=digest, **facts)
        made = LoadedSAE(spec, source, digest, "cpu")
        self.run.holder.hold(made)
        return made


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    """A tiny Gemma 2 with a tokenizer like its own, and English-like texts."""
    folder = tmp_path_factory.mktemp("gemma")
    for name, content in hub_repos.gemma2_model(32, 3, heads=2, head_dim=12, positions=256).items():
        (folder / name).write_bytes(content)
    texts = folder / "texts.txt"
    texts.write_text("\n\n".join(hub_repos.documents(60)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAEBENCH_CACHE", str(folder / "cache"))
        store = Store(folder / "scores.jsonl")
        yield Small(Run([], store, Options("smoke", device="cpu", model=str(folder), texts=str(texts))), folder)


TRANSCODER = {"hook": "blocks.1.ln2.hook_normalized", "hook_out": "blocks.1.hook_mlp_out", "context_size": 64}


def test_what_asks_about_one_place_is_unscored_for_a_transcoder(gemma: Small) -> None:
    sae = gemma.sae(planted.identity(), **TRANSCODER)
    reason = transcodes(sae.spec)
    assert reason.startswith("a transcoder reads blocks.1.ln2.hook_normalized and writes blocks.1.hook_mlp_out")
    for ask in (
        lambda: gemma.run.words.study(sae, "letters"),
        lambda: gemma.run.words.detectors(sae, "letters"),
        lambda: gemma.run.game.lineup(sae),
        lambda: gemma.run.control_saes.of(sae),
    ):
        with pytest.raises(Unscored) as raised:
            ask()
        assert raised.value.reason == reason
        assert not raised.value.broken


@pytest.mark.parametrize("name", ["random_l0", "pca", "identity"])
def test_no_control_is_made_for_a_transcoder(gemma: Small, name: str) -> None:
    """They reconstruct what they read, which is not what a transcoder writes."""
    sae = gemma.sae(planted.identity(), **TRANSCODER)
    with pytest.raises(Unscored) as raised:
        gemma.run.control_saes.made(sae, name)
    assert raised.value.reason == transcodes(sae.spec)


def test_an_sae_that_names_its_own_hook_twice_is_no_transcoder(gemma: Small) -> None:
    hook = "blocks.1.hook_resid_post"
    sae = gemma.sae(planted.identity(), hook=hook, hook_out=hook, context_size=64)
    assert gemma.run.documents.activations(sae).output is None
    assert gemma.run.control_saes.of(sae)


# SAEs of another width


@pytest.mark.parametrize("d_in", [31, 33, 2304])
def test_an_sae_of_another_width_is_broken_in_one_sentence(gemma: Small, d_in: int) -> None:
    sae = gemma.sae(planted.identity(), hook="blocks.1.hook_resid_post", d_in=d_in, context_size=64)
    for ask in (lambda: gemma.run.documents.trace(sae), lambda: make_study(sae, *read_letters(gemma, sae))):
        with pytest.raises(Unscored, match=f"the SAE reads {d_in} dimensions, .* has 32") as raised:
            ask()
        assert raised.value.broken
        assert "\n" not in raised.value.reason


def read_letters(gemma: Small, sae: LoadedSAE) -> tuple[Readings, Any]:
    return gemma.run.words.readings(sae.spec, "letters"), gemma.run.words.probe(sae.spec, "letters")


@pytest.mark.parametrize("source", [planted.relu_sae(torch.ones(40, 8), torch.zeros(8), torch.ones(8, 40))])
def test_an_object_of_another_width_that_does_not_say_so_is_broken_in_one_sentence(gemma: Small, source: Any) -> None:
    sae = gemma.sae(source, hook="blocks.1.hook_resid_post", context_size=64)
    with pytest.raises(Unscored, match=r"^encode of shape .* raised RuntimeError") as raised:
        gemma.run.documents.trace(sae)
    assert raised.value.broken
    assert "\n" not in raised.value.reason


def test_what_writes_another_width_is_broken_in_one_sentence(gemma: Small) -> None:
    source = planted.relu_sae(torch.ones(32, 8), torch.zeros(8), torch.ones(8, 40))
    with pytest.raises(Unscored, match=r"^decode returns 40 dimensions for activations of 32$") as raised:
        gemma.run.documents.trace(gemma.sae(source, hook="blocks.1.hook_resid_post", context_size=64))
    assert raised.value.broken


# The whole chain where activations are unlike the residual stream


def relu_of(x: Tensor, latents: int = 96) -> Any:
    """A dictionary of directions that activations have, each on for about a tenth of them."""
    found = hub_repos.dictionary(x.shape[1], latents, 0, latents / 10, x)

    def encode(a: Tensor) -> Tensor:
        scores = (a - found.b_dec) @ found.W_enc
        return torch.where(scores > found.threshold, scores, 0.0)

    return planted.fake(encode, lambda codes: codes @ found.W_dec + found.b_dec)


@pytest.mark.parametrize("kind", ["attn.hook_z", "hook_mlp_out", "hook_embed"])
def test_the_whole_chain_scores_or_says_why_not(gemma: Small, kind: str) -> None:
    run, hook = gemma.run, hook_of(kind, 1)
    spec = gemma.sae(planted.identity(), hook=hook, context_size=64).spec
    x, _ = run.models.activations(run.models.subject(spec), spec).inside(64)
    sae = gemma.sae(relu_of(x), hook=hook, context_size=64, architecture="jumprelu")
    found = run.documents.trace(sae)
    assert 0 < reconstruction.fvu(found).value < 1
    assert reconstruction.kl(found).value > 0
    study = run.words.study(sae, "letters")
    assert study.x.shape[1] == x.shape[1]
    for step in (lambda: run.words.detectors(sae, "letters"), lambda: run.words.speller(sae.spec, "letters")):
        scored(step)
    lineup = scored(lambda: run.game.lineup(sae))
    assert lineup is not None, "the line-up of a working SAE has rungs"
    reasons = [rung for side in (lineup.rungs, lineup.controls) for rung in side.values() if isinstance(rung, Unscored)]
    assert all(reason.reason and not reason.broken for reason in reasons)
    for control in run.control_saes.of(sae).values():
        scored(control.trace)


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


# Batches


@pytest.fixture(autouse=True)
def without_collecting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Collecting garbage takes half a second in a process with as much in it as a test's."""
    monkeypatch.setattr("saebench.subject.batches.gc", SimpleNamespace(collect=lambda: 0))


class Memory:
    """A device with room for so many rows, and what was run on it."""

    def __init__(self, room: int, error: Callable[[], BaseException]) -> None:
        self.room, self.error, self.done, self.tried = room, error, list[int](), list[int]()

    def __call__(self, rows: slice) -> list[int]:
        self.tried.append(rows.stop - rows.start)
        if rows.stop - rows.start > self.room:
            raise self.error()
        found = list(range(rows.start, rows.stop))
        self.done += found
        return found


def joined(parts: list[list[int]]) -> list[int]:
    return list(itertools.chain.from_iterable(parts))


def of_cpu() -> RuntimeError:
    """As torch raises it, word for word, where a tensor does not fit."""
    try:
        torch.empty(1 << 60, dtype=torch.uint8)
    except RuntimeError as error:
        return error
    raise AssertionError("an exabyte fitted into memory")


def of_numpy() -> MemoryError:
    try:
        np.empty(1 << 60, dtype=np.uint8)
    except MemoryError as error:
        return error
    raise AssertionError("an exabyte fitted into memory")


ERRORS: dict[str, Callable[[], BaseException]] = {
    "cuda": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "cpu": of_cpu,
    "python": MemoryError,
    "numpy": of_numpy,
}


@pytest.mark.parametrize("error", ERRORS.values(), ids=list(ERRORS))
@pytest.mark.parametrize("room", [1, 3, 5, 16])
@pytest.mark.parametrize("count", [0, 1, 16, 37])
def test_rows_are_halved_until_they_fit_and_each_runs_once(
    count: int, room: int, error: Callable[[], BaseException]
) -> None:
    batch, device = Batch(), Memory(room, error)
    found = batch.over(count, device)
    assert joined(found) == device.done == list(range(count))
    expected = next(size for size in (16, 8, 4, 2, 1) if size <= room or (size == 16 and count <= room))
    assert batch.size == expected
    assert len(batch.notes) == {16: 0, 8: 1, 4: 2, 2: 3, 1: 4}[expected]
    assert all("memory did not suffice for" in note for note in batch.notes)


def test_notes_say_from_what_to_what() -> None:
    batch = Batch()
    batch.over(20, Memory(5, of_cpu))
    assert [note.partition("for ")[2] for note in batch.notes] == [
        "16 contexts at a time: 8",
        "8 contexts at a time: 4",
    ]


def test_what_was_done_before_memory_ran_out_is_kept() -> None:
    """Other rows may need more: it fails in the middle and goes on from there."""
    batch, done = Batch(size=4), list[tuple[int, int]]()

    def run(rows: slice) -> list[int]:
        if rows.start >= 8 and rows.stop - rows.start > 2:
            raise of_cpu()
        done.append((rows.start, rows.stop))
        return list(range(rows.start, rows.stop))

    assert joined(batch.over(14, run)) == list(range(14))
    assert done == [(0, 4), (4, 8), (8, 10), (10, 12), (12, 14)]
    assert batch.size == 2


def test_it_gives_up_at_one_row() -> None:
    for error in ERRORS.values():
        batch, device = Batch(), Memory(0, error)
        with pytest.raises(Unscored, match=f"memory does not suffice for a single one: {type(error()).__name__}"):
            batch.over(5, device)
        assert device.tried == [5, 5, 4, 2, 1]  # with room for 16, 8, 4, 2, 1
        assert batch.size == 1


@pytest.mark.parametrize(
    "error",
    [
        ValueError("shapes"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        Unscored("x"),
        KeyError("memory"),
    ],
)
def test_other_errors_are_raised_at_once(error: Exception) -> None:
    batch, device = Batch(), Memory(0, lambda: error)
    with pytest.raises(type(error)):
        batch.over(40, device)
    assert device.tried == [MOST]
    assert (batch.size, batch.notes) == (MOST, [])


def test_a_size_of_its_own_leaves_that_of_contexts_alone() -> None:
    batch, device = Batch(), Memory(100, of_cpu)
    assert joined(batch.over(1000, device, 512)) == list(range(1000))
    assert batch.size == MOST
    assert batch.notes[0].endswith("512 rows at a time: 256")


def test_what_did_not_fit_is_not_told_over_and_over() -> None:
    """A perturber asks thousands of times: each would fail first, and leave a line for the user."""
    batch, device = Batch(), Memory(100, of_cpu)
    for _ in range(20):
        batch.over(600, device, 512)
    assert len(batch.notes) == len(set(batch.notes)), (
        f"{len(batch.notes)} notes of which {len(set(batch.notes))} differ"
    )


def test_a_failed_pass_is_freed_before_the_next_one() -> None:
    """Its tensors hang on the error's traceback, so that they would lie in memory beside the smaller pass."""
    held, alive = list[Any](), list[bool]()

    def run(rows: slice) -> int:
        alive.extend(ref() is not None for ref in held)
        table = torch.zeros(1000)
        held.append(weakref.ref(table))
        if rows.stop - rows.start > 2:
            raise of_cpu()
        return int(table.sum())

    Batch().over(4, run)
    assert len(held) > 2
    assert not any(alive)


@pytest.mark.parametrize("message", [
    "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096 bytes. Error code 12 (Cannot allocate memory)",
    "CUDA error: out of memory",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
])  # fmt: skip
def test_memory_runs_out_in_other_words_too(message: str) -> None:
    assert out_of_memory(RuntimeError(message))


def test_contexts_that_fit_are_between_one_and_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    for free, least, most in ((0, 1, 1), (10**9, 1, 1), (10**11, 2, MOST), (10**14, MOST, MOST)):
        monkeypatch.setattr("saebench.subject.batches.free_memory", lambda device, free=free: free)
        assert least <= contexts_that_fit("cpu", 1024, 256_000) <= most


# Scores do not depend on the size of batches


def values(found: Trace) -> dict[str, float]:
    names = {"fvu": reconstruction.fvu, "l0": reconstruction.l0, "cosine": reconstruction.cosine, "kl": reconstruction.kl,
             "ce_increase": reconstruction.ce_increase, "dead": reconstruction.dead_fraction,
             "dense": reconstruction.dense_fraction, "kl_beyond": context_length.kl_beyond,
             "kl_retention": context_length.kl_retention}  # fmt: skip
    made = {name: scored(partial(score, found)) for name, score in names.items()}
    return {name: estimate.value for name, estimate in made.items() if estimate is not None}


def measured(model: Subject) -> Trace:
    """A trace with everything computed anew, on documents of several lengths."""
    length = torch.full((planted.DOCUMENTS,), planted.CONTEXT)
    length[3:9] = torch.tensor([3, 17, 38, 5, 30, 9])
    made = compute_activations(model, planted.HOOK, corpus(planted.tokens(), length), NO_CACHE)
    return trace(planted.loaded(planted.noisy_identity(0.05), context_size=16, hook=planted.HOOK), made)


def sized(size: int) -> Subject:
    return replace(planted.subject(), batch=Batch(size))


@cache
def of_sixteen() -> Trace:
    return measured(sized(16))


@pytest.mark.parametrize("size", [1, 3])
def test_a_trace_does_not_depend_on_the_size_of_batches(size: int) -> None:
    found, expected = measured(sized(size)), of_sixteen()
    assert len(values(found)) == 9
    assert values(found) == pytest.approx(values(expected), rel=1e-5, abs=1e-6)
    for name in ("error", "signal", "kl", "ce", "clean_ce", "zero_ce", "mean_ce", "mean_kl"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=1e-4, atol=1e-4)
    assert found.tokens.equal(expected.tokens)


@pytest.mark.parametrize("rows", [1, 3])
def test_readings_do_not_depend_on_the_size_of_batches(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, prefix, ids = subject("llama"), tokens(1, 6), tokens(19, 1)
    expected = after_prefix(model, "blocks.1.hook_resid_post", prefix, ids)
    monkeypatch.setattr("saebench.evidence.words.readings.BATCH", rows)
    found = after_prefix(model, "blocks.1.hook_resid_post", prefix, ids)
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize("rows", [1, 3])
def test_answers_do_not_depend_on_the_size_of_batches(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = Perturber(subject("gemma2"), "blocks.1.attn.hook_z", [tokens(1, 9)[0].tolist()])
    points = ask.x[0] + like(torch.zeros(16, 24) + ask.x[0])
    expected = ask(0, points)
    monkeypatch.setattr("saebench.evidence.game.perturb.BATCH", rows)
    found = ask(0, points)
    torch.testing.assert_close(found.kl, expected.kl, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.l2, expected.l2, rtol=1e-4, atol=1e-5)


# Memory that runs out in the middle of a run


class Fails:
    """A function of the subject's bridge that runs out of memory now and then, above some number of rows."""

    def __init__(self, real: Callable[..., Any], most: int, error: Callable[[], BaseException]) -> None:
        self.real, self.most, self.error, self.calls, self.failed = real, most, error, 0, 0

    def __call__(self, ids: Tensor, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        if len(ids) > self.most and self.calls > 1:
            self.failed += 1
            raise self.error()
        return self.real(ids, *args, **kwargs)


@pytest.mark.parametrize("error", [ERRORS["cuda"], ERRORS["cpu"]], ids=["cuda", "cpu"])
@pytest.mark.parametrize("method", ["run_with_cache", "run_with_hooks"])
def test_a_run_whose_memory_runs_out_has_the_same_scores(
    method: str, error: Callable[[], BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = sized(16)
    fails = Fails(getattr(model.bridge, method), 5, error)
    monkeypatch.setattr(model.bridge, method, fails)
    found = measured(model)
    assert fails.failed == 2  # of 16 and of 8 rows, and never again
    assert model.batch.size == 4
    assert values(found) == pytest.approx(values(of_sixteen()), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("error", [ERRORS["cuda"], ERRORS["cpu"]], ids=["cuda", "cpu"])
def test_readings_and_answers_whose_memory_runs_out_are_the_same(
    error: Callable[[], BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = replace(subject("gpt2"), batch=Batch())
    hook, prefix, ids = "blocks.1.hook_resid_post", tokens(1, 6), tokens(19, 1)
    expected = after_prefix(model, hook, prefix, ids)
    ask = Perturber(model, hook, [tokens(1, 9)[0].tolist()])
    points = ask.x[0] + like(torch.zeros(16, models.WIDTH) + ask.x[0])
    answered = ask(0, points)
    assert model.batch.notes == []
    with monkeypatch.context() as patch:
        patch.setattr(model.bridge, "run_with_cache", Fails(model.bridge.run_with_cache, 5, error))
        model.bridge.run_with_cache(ids[:1])
        assert (after_prefix(model, hook, prefix, ids) - expected).abs().max() < 1e-5 * expected.abs().max()
    run = ask._run

    def failing(held: Any, some: Tensor) -> Any:
        if len(some) > 5:
            raise error()
        return run(held, some)

    monkeypatch.setattr(ask, "_run", failing)
    torch.testing.assert_close(ask(0, points).kl, answered.kl, rtol=1e-5, atol=1e-6)
    assert len(model.batch.notes) > 1


@pytest.mark.parametrize("error", [*ERRORS.values()], ids=list(ERRORS))
@pytest.mark.parametrize("method", ["encode", "decode"])
def test_an_sae_that_needs_too_much_memory_is_run_on_less(method: str, error: Callable[[], BaseException]) -> None:
    """A wide SAE's latents of sixteen contexts are gigabytes: that is no fault of its code."""
    real = planted.noisy_identity(0.05)

    def greedy(x: Tensor) -> Tensor:
        if len(x) > 5 * planted.CONTEXT:
            raise error()
        return getattr(real, method)(x)  # type: ignore[no-any-return]

    model = sized(16)
    made = replace(planted.activations(), subject=model)
    found = planted.traced(planted.fake(**{"encode": real.encode, "decode": real.decode, method: greedy}), made)
    assert model.batch.size == 4
    expected = planted.traced(real)
    torch.testing.assert_close(found.error, expected.error, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("error", [ERRORS["cuda"], ERRORS["cpu"]], ids=["cuda", "cpu"])
def test_a_study_of_an_sae_that_needs_too_much_memory_is_made_of_less(error: Callable[[], BaseException]) -> None:
    readings = speller(False).readings

    def greedy(x: Tensor) -> Tensor:
        if len(x) > 20:
            raise error()
        return x.relu()

    def made(encode: Callable[[Tensor], Tensor]) -> Any:
        return make_study(planted.loaded(planted.fake(encode, lambda codes: codes)), readings, probe_of(readings))

    assert (made(greedy).latents != made(lambda x: x.relu()).latents).nnz == 0


# What a score says of the run


SAES = """
import torch

class Greedy:
    context_size = 64
    def __init__(self, most): self.most = most
    def encode(self, x):
        if len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return x
    def decode(self, latents): return latents

def greedy(): return Greedy(5 * 256)
"""
SUITE = """
import pytest
from saebench.metrics import reconstruction

@pytest.mark.score("reconstruction.fvu", 1, "lower", "fraction", tolerance=0.01)
def test_fvu(trace, record):
    record(reconstruction.fvu(trace))

@pytest.mark.score("reconstruction.cosine", 1, "higher", "cosine", tolerance=0.01)
def test_cosine(trace, record):
    record(reconstruction.cosine(trace))
"""


@pytest.fixture
def project(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> pytest.Pytester:
    made: pytest.Pytester = make_project(pytester, monkeypatch, tmp_path_factory, SAES, SUITE)
    return made


@pytest.mark.parametrize("workers", [("-p", "no:xdist"), ("-n", "1")], ids=["alone", "worker"])
def test_that_memory_did_not_suffice_stands_in_the_summary_and_in_the_score(
    project: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    """Also where a worker of pytest-xdist found it out."""
    options = ["--sae", "my_saes:greedy", "--sae-budget", "smoke", "--sae-device", "cpu", "--sae-scores", "s.jsonl"]
    result = project.runpytest_inprocess("suites", "-p", "saebench.plugin", *options, *workers)
    assert result.ret == 0
    scores = list(Store(project.path / "s.jsonl").newest().values())
    assert {(score.batch_size, score.dtype, score.device) for score in scores} == {(4, "float32", "cpu")}
    assert all(score.revisions == {} for score in scores)
    assert [line for line in result.outlines if line.startswith("saebench: ") and "memory did not suffice" in line] == [
        "saebench: organism: memory did not suffice for 16 contexts at a time: 8",
        "saebench: organism: memory did not suffice for 8 contexts at a time: 4",
    ]


# What numbers a model is run in


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in hub_repos.gpt2_model(16, 2, heads=2).items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def with_memory(monkeypatch: pytest.MonkeyPatch, *, of_device: float, free: float) -> None:
    monkeypatch.setattr(subjects, "all_memory", lambda device: of_device)
    monkeypatch.setattr(subjects, "free_memory", lambda device: free)


def weight_of(folder: Path) -> int:
    """Bytes of the model in float32, by counting its parameters."""
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "pt") as file:
        return 4 * sum(file.get_tensor(name).numel() for name in file.keys())


def run_on(folder: Path, **options: Any) -> Run:
    return Run([], Store(folder / "s.jsonl"), Options("smoke", device="cpu", model=str(folder), **options))


@pytest.mark.parametrize("free", [0.0, 0.5, 1.0, 100.0])
def test_the_numbers_are_those_that_fit_into_the_device_whatever_is_free(
    folder: Path, monkeypatch: pytest.MonkeyPatch, free: float
) -> None:
    size = weight_of(folder)
    for has, expected in ((2, "float32"), (1, "bfloat16"), (0.5, "bfloat16")):
        with_memory(monkeypatch, of_device=has * size, free=free * size)
        assert run_on(folder).models.dtype(str(folder)) == expected


def test_numbers_that_are_asked_for_are_those_of_the_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for has in (0.5, 100):
        with_memory(monkeypatch, of_device=has * weight_of(folder), free=0)
        assert run_on(folder, dtype="bfloat16").models.dtype(str(folder)) == "bfloat16"
        assert run_on(folder, dtype="float32").models.dtype(str(folder)) == "float32"


@pytest.mark.parametrize(("dtype", "factor", "advice"), [
    ("float32", 1.0, ": close what fills it, or choose --sae-dtype bfloat16$"), ("bfloat16", 0.5, "cpu$"),
])  # fmt: skip
def test_a_model_for_which_there_is_no_room_is_one_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, factor: float, advice: str
) -> None:
    size = weight_of(folder)
    with_memory(monkeypatch, of_device=100 * size, free=factor * size)
    with pytest.raises(
        ValueError, match=rf"takes [\d.]+ MB in {dtype}, and [\d.]+ MB are free on .*{advice}"
    ) as raised:
        load_subject(str(folder), dtype=dtype)
    assert "\n" not in str(raised.value)
    with_memory(monkeypatch, of_device=100 * size, free=1.4 * factor * size)
    load_subject(str(folder), dtype=dtype)


def test_a_model_in_bfloat16_is_run_and_named_as_such(folder: Path) -> None:
    whole, half = load_subject(str(folder)), load_subject(str(folder), dtype="bfloat16")
    assert (whole.dtype, half.dtype) == ("float32", "bfloat16")
    assert {p.dtype for p in half.bridge.original_model.parameters()} == {torch.bfloat16}
    assert whole.digest != half.digest
    hook, ids = "blocks.1.hook_resid_post", torch.randint(1, 300, (2, 9), generator=torch.Generator().manual_seed(0))
    x, y = whole.residual(ids, hook), half.residual(ids, hook)
    assert y.dtype == torch.float32
    assert 1e-5 < ((x - y).norm() / x.norm()) < 0.05
    same = half.logits(ids, hook, y)
    torch.testing.assert_close(same.float(), half.logits(ids).float(), rtol=1e-2, atol=1e-2)


def test_digests_tell_everything_that_activations_depend_on(folder: Path) -> None:
    ways = [{"centred": centred, "dtype": dtype} for dtype in ("float32", "bfloat16") for centred in (False, True)]
    found = [subjects.subject_digest(str(folder), **way) for way in ways]
    assert len(set(found)) == 4
    assert [load_subject(str(folder), **way).digest for way in ways] == found
    changed = load_subject(str(folder), change=copy.deepcopy, changed="redrawn", dtype="bfloat16")
    assert changed.digest not in found


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"])
def test_a_local_model_with_another_file_has_another_digest(folder: Path, file: str) -> None:
    """Also with another BOS, which stands in tokenizer_config.json: every context begins with it."""
    from saebench.hub.models import model_digest

    before = model_digest(str(folder))
    (folder / file).write_bytes((folder / file).read_bytes() + b" ")
    assert model_digest(str(folder)) != before


# Tokenizers without BOS, as Qwen's


def without(tokenizer: Any, *names: str) -> Any:
    other = copy.deepcopy(tokenizer)
    for name in names:
        setattr(other, name, None)
    return other


@pytest.fixture
def source(tmp_path: Path) -> FileSource:
    path = tmp_path / "texts.txt"
    path.write_text("snake cat dog bird\n\nfox newt owl goat hare")
    return FileSource(path)


def qwen_like() -> Any:
    tokenizer = models.byte_level(models.spaced(words()), additional_special_tokens=["<|end|>"])
    tokenizer.eos_token = "<|end|>"
    return without(tokenizer, "bos_token")


def test_contexts_begin_with_bos_or_else_with_eos(source: FileSource) -> None:
    known = models.byte_level(models.spaced(models.WORDS))
    for tokenizer, first in ((known, known.bos_token_id), (qwen_like(), qwen_like().eos_token_id)):
        rows = Texts(source, 2, 32).rows(tokenizer)
        assert first is not None
        assert rows.tokens[:, 0].tolist() == [first, first]
        assert (rows.tokens[:, 1] != first).all()


def test_contexts_of_a_model_with_neither_are_texts_as_they_are(source: FileSource) -> None:
    """Its training contexts began with any token too; what comes first counts in no score."""
    tokenizer = without(qwen_like(), "eos_token")
    rows = Texts(source, 2, 32).rows(tokenizer)
    assert [ids[:n] for ids, n in zip(rows.tokens.tolist(), rows.length.tolist(), strict=True)] == sorted(
        (tokenizer(text, add_special_tokens=False)["input_ids"] for text in source.texts()), key=len, reverse=True
    )
    assert rows.tokens.equal(Texts(source, 2, 32, bos=False).rows(tokenizer).tokens)


def test_prompts_of_words_begin_as_contexts_do() -> None:
    """Else the first token of a prompt is what all others attend to, and words are read in another regime than texts."""
    tokenizer = qwen_like()
    model = replace(subject("gpt2"), tokenizer=tokenizer)
    concepts = replace(CONCEPTS, template="The word{word} has the first letter: {concept}")
    _, ids = prompts(model, Plan(concepts, WordFilter(), 2, 4))
    assert {row[0] for row in ids} == {tokenizer.eos_token_id}


# What a run records


def test_a_score_tells_dtype_and_batch_size(gemma: Small) -> None:
    sae = gemma.sae(planted.identity(), hook="blocks.1.hook_resid_post", context_size=64)
    prop = Property("x.y", 1, "lower", "nat", tolerance=0.1)
    ones = np.ones(4)
    estimate: Estimate = ratio_of_sums(ones, ones, purpose="x")
    score = gemma.run.recorder.record(Asked(prop, sae.spec, {}), estimate, 1.0)
    assert (score.dtype, score.batch_size, score.revisions) == ("float32", MOST, {})
