"""Controls destroy what they say they destroy, keep what they say they keep, and leave the original alone."""

import planted
import pytest
import torch
from torch import nn

from saebench.subject.random_weights import rerandomised, shuffled_rows


def model() -> nn.Module:
    """Matrices with means and scales of their own, large enough for noise to have the moments that it should."""
    torch.manual_seed(7)  # not a seed of the tests below: equal seeds draw equal numbers
    parts = nn.ModuleDict({"wte": nn.Embedding(300, 200), "up": nn.Linear(200, 300), "norm": nn.LayerNorm(200)})
    parts.requires_grad_(False)
    parts["up"].weight.mul_(3).add_(2)
    parts["wte"].weight.mul_(0.1).sub_(1)
    return parts


@pytest.mark.parametrize("keep", [True, False])
def test_mean_and_variance_of_every_matrix_are_kept(keep: bool) -> None:
    old = model()
    new = dict(rerandomised(old, keep_embeddings=keep, seed=0).named_parameters())
    for name, weight in old.named_parameters():
        if weight.ndim == 2:
            assert float(new[name].std()) == pytest.approx(float(weight.std()), rel=0.05)
            assert float(new[name].mean() - weight.mean()) == pytest.approx(0, abs=0.05 * float(weight.std()))


def test_weights_are_noise_without_trace_of_the_old() -> None:
    old = model()
    new = rerandomised(old, keep_embeddings=False, seed=0)
    for name in ("wte", "up"):
        both = torch.stack([m[name].weight.flatten() for m in (old, new)])
        assert abs(float(both.corrcoef()[0, 1])) < 0.02


def test_embeddings_are_kept_if_asked_for() -> None:
    old = model()
    kept, redrawn = (rerandomised(old, keep_embeddings=keep, seed=0) for keep in (True, False))
    assert torch.equal(kept["wte"].weight, old["wte"].weight)
    assert not torch.equal(redrawn["wte"].weight, old["wte"].weight)
    assert not torch.equal(kept["up"].weight, old["up"].weight)


def small(architecture: str) -> nn.Module:
    """A tiny model of an architecture, with unembedding and embedding apart where it allows that."""
    import transformers

    sizes = {
        "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 40, "intermediate_size": 16,
        "num_key_value_heads": 2, "tie_word_embeddings": False, "head_dim": 8,
    }  # fmt: skip
    if architecture == "gpt2":
        return planted.gpt2()
    config = transformers.AutoConfig.for_model(architecture, **sizes)
    return transformers.AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "llama", "gemma2"])
def test_embeddings_are_found_in_every_architecture(architecture: str) -> None:
    old = small(architecture)
    new = rerandomised(old, keep_embeddings=True, seed=0)
    assert torch.equal(new.get_input_embeddings().weight, old.get_input_embeddings().weight)
    assert torch.equal(new.get_output_embeddings().weight, old.get_output_embeddings().weight)
    rest = [name for name, p in old.named_parameters() if ".mlp." in name and p.ndim == 2]
    assert rest
    assert not any(torch.equal(new.get_parameter(name), old.get_parameter(name)) for name in rest)


def test_tied_embeddings_stay_tied() -> None:
    new = rerandomised(planted.gpt2(), keep_embeddings=False, seed=0)
    assert new.get_input_embeddings().weight is new.get_output_embeddings().weight


def test_original_is_not_touched() -> None:
    old = model()
    before = {name: weight.clone() for name, weight in old.named_parameters()}
    rerandomised(old, keep_embeddings=False, seed=0)
    assert all(torch.equal(weight, before[name]) for name, weight in old.named_parameters())


def test_weights_depend_on_the_seed_alone() -> None:
    old = model()
    first, again, other = (rerandomised(old, keep_embeddings=False, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first["up"].weight, again["up"].weight)
    assert not torch.equal(first["up"].weight, other["up"].weight)


def test_changed_model_still_runs_and_says_something_else() -> None:
    old, ids = planted.gpt2(), planted.tokens()[:2]
    new = rerandomised(old, keep_embeddings=True, seed=0)
    with torch.no_grad():
        assert torch.isfinite(new(ids).logits).all()
        assert not torch.allclose(new(ids).logits, old(ids).logits, atol=0.1)


def correlated() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    shared, own = torch.randn(3000, 1, generator=generator), torch.randn(3000, 5, generator=generator)
    return 3 * shared + own


def test_shuffled_columns_hold_what_they_held() -> None:
    x = correlated()
    y = shuffled_rows(x, seed=0)
    assert y.shape == x.shape
    assert torch.equal(y.sort(dim=0).values, x.sort(dim=0).values)


def test_shuffled_columns_have_nothing_in_common() -> None:
    x = correlated()
    apart = ~torch.eye(5, dtype=torch.bool)
    assert float(x.T.corrcoef()[apart].min()) > 0.8
    assert float(shuffled_rows(x, seed=0).T.corrcoef()[apart].abs().max()) < 0.1


def test_shuffling_depends_on_the_seed_alone_and_leaves_its_input() -> None:
    x = correlated()
    first, again, other = (shuffled_rows(x, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(x, correlated())
