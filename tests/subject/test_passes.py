"""Passes that leave out what they need not give what whole passes give, in every architecture and at every hook."""

import models
import pytest
import torch
from subject_cases import EDITED, KINDS, LAYERS, NO_CACHE, corpus, hook_of, like, subject, tokens

from saebench.subject.activations import compute_activations
from saebench.subject.passes import Passes, losses_against, passes_of

torch.set_num_threads(1)


@EDITED
@pytest.mark.parametrize("architecture, kind", KINDS)
def test_a_pass_from_the_hook_on_gives_the_logits_of_a_whole_one(architecture: str, kind: str) -> None:
    model, rows = subject(architecture), tokens()
    for layer in LAYERS:
        hook = hook_of(kind, layer)
        passes = passes_of(model, hook, rows)
        assert passes.start in ((layer, layer + 1) if kind != "hook_embed" else (0,))
        other = like(model.residual(rows, hook))
        entering = model.residual(rows, passes.entry) if passes.entry else None
        hidden = passes.spliced(rows, other, entering)
        found = torch.stack([passes.logits(row) for row in hidden])
        torch.testing.assert_close(found, model.logits(rows, hook, other), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", sorted(models.NETWORKS))
def test_what_the_clean_pass_ends_with_gives_its_logits(architecture: str) -> None:
    model, rows = models.shared(architecture), tokens()
    hidden = Passes(model, "", 0).last(rows)
    found = torch.stack([Passes(model, "", 0).logits(row) for row in hidden])
    torch.testing.assert_close(found, model.logits(rows), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("positions", [1, 4, 1000])
def test_losses_do_not_depend_on_how_many_positions_are_looked_at(
    positions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, rows, hook = subject("llama"), tokens(), "blocks.1.hook_resid_post"
    passes = passes_of(model, hook, rows)
    clean = passes.said(passes.last(rows))
    spliced = passes.spliced(rows, like(model.residual(rows, hook)), None)
    monkeypatch.setattr(Passes, "positions", positions if positions < 1000 else model.n_ctx)
    ce, kl = passes.losses(clean, spliced, rows)
    p, q = model.logits(rows), model.logits(rows, hook, like(model.residual(rows, hook)))
    for row in range(len(rows)):
        expected = losses_against(p[row, :-1], q[row, :-1], rows[row, 1:])
        torch.testing.assert_close(ce[row, :-1], expected[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(kl[row, :-1], expected[1], rtol=1e-4, atol=1e-5)
    assert (ce[:, -1] == 0).all()


def test_where_a_shorter_pass_is_another_one_the_whole_one_is_run() -> None:
    """A model whose last block also adds what its first one did cannot begin in the middle."""
    model, rows, box = models.subject("gpt2"), tokens(), list[torch.Tensor]()
    first, _, last = (block.original_component.mlp.c_proj for block in model.bridge.blocks)
    hook = "blocks.1.hook_resid_post"
    assert passes_of(model, hook, rows).start == 2
    model.bridge.embed.original_component.register_forward_hook(lambda *_: box.clear())
    first.register_forward_hook(lambda module, args, out: box.append(out))
    last.register_forward_hook(lambda module, args, out: out + sum(box))
    passes = passes_of(model, hook, rows)
    assert passes.start == 0
    other = like(model.residual(rows, hook))
    found = torch.stack([passes.logits(row) for row in passes.spliced(rows, other, None)])
    torch.testing.assert_close(found, model.logits(rows, hook, other), rtol=1e-4, atol=1e-4)


@EDITED
@pytest.mark.parametrize("kind", ["hook_resid_post", "hook_mlp_out"])
def test_layers_before_the_hook_do_not_run_for_an_sae(kind: str) -> None:
    model = models.subject("llama")
    hook = hook_of(kind, 1)
    shared = compute_activations(model, hook, corpus(tokens()), NO_CACHE)
    clean = shared.clean
    ran = list[int]()
    for number, block in enumerate(model.bridge.blocks):
        inner = block.original_component.mlp
        inner.register_forward_hook(lambda module, args, out, number=number: ran.append(number))
    clean.passes.spliced(shared.tokens, shared.target, clean.entering)
    assert set(ran) == ({2} if kind == "hook_resid_post" else {1, 2})


def test_no_layer_behind_the_hook_runs_for_what_is_only_reconstructed() -> None:
    model, ran = models.subject("llama"), list[int]()
    for number, block in enumerate(model.bridge.blocks):
        inner = block.original_component.mlp
        inner.register_forward_hook(lambda module, args, out, number=number: ran.append(number))
    compute_activations(model, hook_of("hook_resid_post", 0), corpus(tokens()), NO_CACHE)
    assert set(ran) == {0}


@pytest.mark.parametrize("kind", ["hook_resid_post", "hook_mlp_out"])
def test_clean_losses_are_those_of_the_model(kind: str) -> None:
    model, rows = subject("gemma2"), tokens()
    shared = compute_activations(model, hook_of(kind, 1), corpus(rows), NO_CACHE)
    logits = model.logits(rows)[:, :-1].log_softmax(-1)
    expected = -logits.gather(-1, rows[:, 1:, None])[..., 0]
    torch.testing.assert_close(shared.clean.clean_ce[:, :-1], expected, rtol=1e-4, atol=1e-4)
