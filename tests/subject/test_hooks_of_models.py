"""Every hook of every architecture: what is read there, and what a splice there does, is what transformers makes of it."""

from functools import partial

import models
import pytest
import torch
from subject_cases import (
    EDITED,
    KINDS,
    LAYERS,
    NO_CACHE,
    SITES,
    corpus,
    hook_of,
    like,
    module_of,
    plain,
    read,
    run_changed,
    spliced,
    subject,
    tokens,
)

from saebench.subject.activations import compute_activations

torch.set_num_threads(1)

NORMALISED = [(architecture, "ln2.hook_normalized") for architecture in SITES]


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
