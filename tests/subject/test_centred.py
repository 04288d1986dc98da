"""SAEs of centred activations: a subject reads and writes as the model with centred weights does."""

import warnings
from functools import cache
from pathlib import Path
from typing import Any

import models
import pytest
import torch
from subject_cases import EDITED, LAYERS, hook_of, like, network, plain, subject, tokens
from torch import Tensor

from saebench.evidence.game.perturb import Perturber
from saebench.subject.prefix import after_prefix
from saebench.subject.subject import load_subject

torch.set_num_threads(1)

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
