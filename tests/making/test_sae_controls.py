"""Controls lack what they are said to lack and nothing else: weights, sparsity, error and order are as promised."""

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import planted
import pytest
import torch
from torch import Tensor, nn

from saebench.catalogue.controls import CONTROLS
from saebench.making import training
from saebench.making.controls import (
    Components,
    Linear,
    Reordered,
    best_k,
    control_sae,
    oracle,
    pca,
    random_directions,
    random_l0,
    source_of,
)
from saebench.making.like import Like  # fmt: skip
from saebench.making.training import Member, hold_decoder, train_member, within_cosine
from saebench.saes.sae import LoadedSAE
from saebench.subject.random_weights import MODELS, permuted_weights, step_0, training_seed  # fmt: skip

torch.set_num_threads(1)
SAES = [name for name, control in CONTROLS.items() if control.made]
D, FEATURES, ACTIVE = 32, 24, 3.0
NORMALISED = torch.nn.functional.normalize


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Models


def with_scales() -> nn.Module:
    """A tiny model whose biases and norms are not all alike."""
    model = planted.gpt2()
    generator = torch.Generator().manual_seed(5)
    for weight in model.parameters():
        weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return model


def test_permuted_weights_hold_exactly_what_they_held() -> None:
    old = with_scales()
    new = dict(permuted_weights(old, seed=0).named_parameters())
    for name, weight in old.named_parameters():
        assert torch.equal(new[name].flatten().sort().values, weight.flatten().sort().values)
        assert not torch.equal(new[name], weight)


def test_permuted_weights_have_nothing_in_common_with_the_old() -> None:
    old = with_scales()
    new = dict(permuted_weights(old, seed=0).named_parameters())
    for name, weight in old.named_parameters():
        if weight.numel() > 2000:
            assert abs(float(torch.stack([new[name].flatten(), weight.flatten()]).corrcoef()[0, 1])) < 0.1


def test_untrained_model_has_the_weights_of_its_configuration_and_none_of_the_trained() -> None:
    old = with_scales()
    new = step_0(old, seed=0)
    assert type(new) is type(old)
    assert not new.training
    for name, weight in new.named_parameters():
        assert not torch.equal(weight, old.get_parameter(name))
        if name.endswith("bias"):
            assert not weight.any()
        elif ".ln_" in name:
            assert (weight == 1).all()
    spread = float(new.get_parameter("transformer.h.0.mlp.c_fc.weight").detach().std())
    assert spread == pytest.approx(old.config.initializer_range, rel=0.1)


@pytest.mark.parametrize("name", MODELS)
def test_model_controls_have_the_same_shapes_and_ties(name: str) -> None:
    old = with_scales()
    new = MODELS[name](old, seed=training_seed(name))
    assert {n: p.shape for n, p in new.named_parameters()} == {n: p.shape for n, p in old.named_parameters()}
    assert new.get_input_embeddings().weight is new.get_output_embeddings().weight
    with torch.no_grad():
        assert torch.isfinite(new(planted.tokens()[:2]).logits).all()


@pytest.mark.parametrize("name", MODELS)
def test_model_controls_depend_on_their_seed_alone(name: str) -> None:
    old = with_scales()
    torch.manual_seed(1)
    first = MODELS[name](old, seed=3)
    torch.manual_seed(2)
    again, other = (MODELS[name](old, seed=seed) for seed in (3, 4))
    weight = "transformer.h.0.mlp.c_fc.weight"
    assert all(torch.equal(p, again.get_parameter(n)) for n, p in first.named_parameters())
    assert not torch.equal(first.get_parameter(weight), other.get_parameter(weight))


@pytest.mark.parametrize("name", MODELS)
def test_model_controls_leave_the_original_and_global_random_state_alone(name: str) -> None:
    old = with_scales()
    before, states = [p.clone() for p in old.parameters()], (torch.get_rng_state(), np.random.get_state()[1].copy())
    MODELS[name](old, seed=0)
    assert all(torch.equal(a, b) for a, b in zip(before, old.parameters(), strict=True))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()


def test_every_control_has_a_seed_of_its_own() -> None:
    purposes = [*MODELS, "frozen", "soft_frozen", "shuffled_rows"]
    assert len({training_seed(purpose) for purpose in purposes}) == len(purposes)


# Planted activations


@cache
def truth() -> Tensor:
    """(feature, d) orthonormal directions."""
    directions: Tensor = torch.linalg.qr(noise(D, D, seed=9)).Q[:FEATURES]
    return directions.contiguous()


def planted_rows(rows: int, seed: int = 0) -> Tensor:
    """Sums of a few features of known directions, which are on by chance, beside an offset."""
    generator = torch.Generator().manual_seed(seed)
    on = torch.rand(rows, FEATURES, generator=generator) < ACTIVE / FEATURES
    strength = 1 + torch.rand(rows, FEATURES, generator=generator)
    return (on * strength) @ truth() + offset()


def offset() -> Tensor:
    return torch.full((D,), 0.5)


def true_sae() -> LoadedSAE:
    return planted.loaded(oracle(truth(), offset(), 0.5))


def like(sae: LoadedSAE | None = None, x: Tensor | None = None, d_sae: int = FEATURES, l0: float = ACTIVE) -> Like:
    return Like(sae or true_sae(), planted_rows(3000) if x is None else x, d_sae, l0)


def fvu(sae: Any, x: Tensor | None = None) -> float:
    x = planted_rows(2000, seed=1) if x is None else x
    return float((sae.decode(sae.encode(x)) - x).square().sum() / (x - x.mean(0)).square().sum())


def l0(sae: Any, x: Tensor | None = None) -> float:
    latents = sae.encode(planted_rows(2000, seed=1) if x is None else x)
    return float((latents != 0).sum(1).float().mean())


# All SAEs


@pytest.mark.parametrize("name", SAES)
def test_controls_are_the_same_whatever_the_global_seed_and_leave_it_alone(name: str) -> None:
    torch.manual_seed(1)
    one = control_sae(name, like())
    torch.manual_seed(2)
    state = torch.get_rng_state()
    other = control_sae(name, like())
    assert torch.equal(torch.get_rng_state(), state)
    x = planted_rows(50, seed=3)
    assert one.digest == other.digest
    assert torch.equal(one.encode(x), other.encode(x))
    assert torch.equal(one.decode(one.encode(x)), other.decode(other.encode(x)))


@pytest.mark.parametrize("name", SAES)
def test_controls_are_named_and_never_ranked_and_keep_what_their_sae_reads(name: str) -> None:
    sae = planted.loaded(oracle(truth(), offset(), 0.5), hook=planted.HOOK, context_size=20, model="tiny", d_sae=24)
    made = control_sae(name, like(sae))
    assert made.spec.control
    assert made.spec.name == f"planted/sae~{name}"
    assert (made.spec.hook, made.spec.context_size, made.spec.model) == (planted.HOOK, 20, "tiny")
    assert made.spec.d_sae is None
    assert made.digest != sae.digest


def test_digests_tell_controls_apart() -> None:
    others = [like(), like(l0=4.0), like(d_sae=20), like(planted.loaded(planted.identity()), d_sae=D)]
    digests = {control_sae(name, one).digest for name in ("random_l0", "pca") for one in others[:2]}
    digests |= {control_sae("random_l0", one).digest for one in others[2:]}
    digests |= {control_sae(name, like()).digest for name in SAES}
    assert len(digests) == 2 * 2 + 2 + len(SAES) - 2


@pytest.mark.parametrize("name", SAES)
def test_a_control_is_measured_as_any_sae_is(name: str) -> None:
    sae = planted.loaded(planted.dictionary())
    x = planted.activations().residual[:, 1:].flatten(0, 1)
    made = control_sae(name, Like(sae, x, 2 * planted.D, 8.0))
    found = planted.trace(made, planted.activations())
    assert torch.isfinite(found.error).all()
    assert torch.isfinite(found.kl).all()


# Random directions


@pytest.mark.parametrize("wanted", [1.0, 3.0, 16.0, 60.0])
@pytest.mark.parametrize("d_sae", [D // 2, 4 * D, 16 * D])
def test_random_directions_are_as_sparse_as_asked_for(d_sae: int, wanted: float) -> None:
    """Also on activations that they were not fitted to, but for chance."""
    if wanted <= d_sae / 3:
        asked = like(d_sae=d_sae, l0=wanted)
        made = control_sae("random_l0", asked)
        assert l0(made, asked.x) == pytest.approx(wanted, rel=0.05)
        assert l0(made) == pytest.approx(wanted, rel=0.1)


def test_random_directions_are_as_sparse_on_the_models_own_activations() -> None:
    x = planted.activations().residual[:, 1:].flatten(0, 1)
    made = random_l0(Like(true_sae(), x, 256, 12.0))
    assert l0(made, x) == pytest.approx(12.0, rel=0.05)
    assert made.directions.shape == (256, planted.D)
    assert made.directions.norm(dim=1).numpy() == pytest.approx(1)


def test_random_directions_know_nothing_of_the_truth() -> None:
    """As near to it as other random directions are."""
    made = random_l0(like(d_sae=200)).directions
    nearest = [float((rows @ truth().T).max(0).values.mean()) for rows in (made, NORMALISED(noise(200, D, seed=4)))]
    assert nearest[0] == pytest.approx(nearest[1], abs=0.1)


def test_no_latent_is_on_below_the_mean() -> None:
    """However dense an SAE is, what a random direction reads must be positive."""
    x = planted_rows(500)
    for name in ("random", "random_l0"):
        made = control_sae(name, like(x=x, d_sae=64, l0=64.0))
        assert (made.encode(x) >= 0).all()
        assert l0(made, x) == pytest.approx(32, rel=0.1)


def test_purposes_have_directions_of_their_own() -> None:
    x = planted_rows(100)
    one, other = (random_directions(x, 50, 0.1, purpose).directions for purpose in ("one", "other"))
    assert float((one * other).sum(1).abs().mean()) < 0.3


@pytest.mark.parametrize("share", [0.01, 0.2, 1.0])
def test_gain_is_that_of_least_squares(share: float) -> None:
    x = planted_rows(1000)
    made = random_directions(x, 64, share, "gain").fitted(x)
    raw = Linear(made.directions, made.mean, made.threshold)
    columns = (raw.decode(raw.encode(x)) - made.mean).flatten()[:, None].double().numpy()
    wanted = np.linalg.lstsq(columns, (x - made.mean).flatten().double().numpy(), rcond=None)[0][0]
    assert made.gain == pytest.approx(wanted, rel=1e-4)
    for factor in (0.9, 1.1):
        assert fvu(made, x) < fvu(Linear(made.directions, made.mean, made.threshold, factor * made.gain), x)


def test_fitting_changes_nothing_but_the_gain_and_can_be_repeated() -> None:
    x = planted_rows(1000)
    raw = random_directions(x, 64, 0.1, "gain")
    once, twice = raw.fitted(x), raw.fitted(x).fitted(x)
    assert once == twice
    assert torch.equal(raw.encode(x), once.encode(x))


@pytest.mark.parametrize("name", ["random", "random_l0", "pca"])
def test_moving_and_scaling_activations_moves_and_scales_the_control(name: str) -> None:
    x = planted_rows(1000)
    one, other = (source_of(name, like(x=rows)) for rows in (x, 100 * x + 7))
    assert fvu(other, 100 * x + 7) == pytest.approx(fvu(one, x), rel=0.01)
    assert l0(other, 100 * x + 7) == pytest.approx(l0(one, x), rel=0.01)


# Principal components


def truncated(x: Tensor, k: int) -> float:
    """FVU of the truncated singular value decomposition."""
    values = torch.linalg.svdvals((x - x.mean(0)).double())
    return float(values[k:].square().sum() / values.square().sum())


@pytest.mark.parametrize("k", [1, 3, 10, 31, 32])
def test_principal_components_are_at_least_as_good_as_the_truncated_decomposition(k: int) -> None:
    x = planted_rows(2000)
    made = pca(like(x=x, l0=float(k)))
    assert fvu(made, x) <= truncated(x, k) + 1e-5
    assert l0(made, x) <= k


def test_all_principal_components_are_perfect() -> None:
    assert fvu(pca(like(l0=float(D)))) < 1e-8
    assert fvu(pca(like(l0=500.0))) < 1e-8


def test_principal_components_are_kept_by_size_whatever_their_sign() -> None:
    x = planted_rows(200)
    made = pca(like(x=x, l0=4.0))
    latents = made.encode(x)
    assert (latents >= 0).all()
    plus, minus = latents.chunk(2, dim=-1)
    assert not ((plus > 0) & (minus > 0)).any()
    read = ((x - made.mean) @ made.directions.T).abs()
    assert torch.allclose((plus + minus).sum(1), read.topk(4).values.sum(1), atol=1e-4)


def test_fewer_rows_than_dimensions_have_as_many_components() -> None:
    x = planted_rows(5)
    made = pca(like(x=x, l0=20.0))
    assert made.encode(x).shape == (5, 10)
    assert fvu(made, x) < 1e-8


# The others


def test_identity_is_perfect_and_dense() -> None:
    made = control_sae("identity", like())
    assert fvu(made) == 0
    assert l0(made) == D


def test_permuted_decoder_keeps_latents_and_destroys_the_reconstruction() -> None:
    sae = true_sae()
    made, x = control_sae("permuted_decoder", like(sae)), planted_rows(500)
    assert torch.equal(made.encode(x), sae.encode(x))
    assert fvu(sae) < 0.01
    assert fvu(made) > 1
    assert {tuple(row) for row in made.directions(FEATURES)[0].round(decimals=3).tolist()} == {
        tuple(row) for row in sae.directions(FEATURES)[0].round(decimals=3).tolist()
    }


def test_permuted_decoder_has_an_order_without_repetition() -> None:
    made = source_of("permuted_decoder", like(d_sae=500))
    assert isinstance(made, Reordered)
    assert made.order.sort().values.tolist() == list(range(500))
    assert int((made.order == torch.arange(500)).sum()) < 10


def test_permuted_decoder_works_on_latents_of_any_shape() -> None:
    made = source_of("permuted_decoder", like())
    latents = true_sae().encode(planted_rows(6))
    assert torch.equal(made.decode(latents.view(2, 3, -1)).flatten(0, 1), made.decode(latents))


@pytest.mark.parametrize("k", [FEATURES, 1000])
def test_the_best_of_all_latents_are_the_sae_itself(k: int) -> None:
    made, sae, x = best_k(like(), k), true_sae(), planted_rows(300, seed=2)
    assert torch.equal(made.encode(x), sae.encode(x))
    assert torch.equal(made.decode(made.encode(x)), sae.decode(sae.encode(x)))


def test_more_latents_reconstruct_better_and_are_denser() -> None:
    made = [best_k(like(), k) for k in range(0, FEATURES + 1, 4)]
    errors, active = [fvu(sae) for sae in made], [l0(sae) for sae in made]
    assert errors == sorted(errors, reverse=True)
    assert active == sorted(active)
    assert active[0] == 0
    assert errors[-1] < 0.01


def test_best_latents_are_those_that_write_most_whatever_their_scale() -> None:
    """Of a hundred times the activation and a hundredth of the decoder, or not."""
    strengths = torch.linspace(1, 2, FEATURES)[torch.randperm(FEATURES, generator=torch.Generator().manual_seed(0))]
    x = (planted_rows(2000) - offset()) @ truth().T * strengths @ truth()
    gauge = torch.logspace(-2, 2, FEATURES)
    plain = planted.relu_sae(truth().T.contiguous(), torch.full((FEATURES,), -0.5), truth())
    scaled = planted.relu_sae(truth().T * gauge, -0.5 * gauge, truth() / gauge[:, None])
    kept = [best_k(like(planted.loaded(sae), x), 8).kept for sae in (plain, scaled)]
    assert torch.equal(kept[0], kept[1])
    assert kept[0].sum() == 8
    assert strengths[kept[0] > 0].mean() > strengths.mean() + 0.2


def test_dead_latents_are_never_among_the_best() -> None:
    sae = planted.with_dead(planted.dictionary(), 30)
    x = planted.activations().residual[:, 1:].flatten(0, 1)
    made = best_k(Like(planted.loaded(sae), x, 2 * planted.D + 30, 8.0), 2 * planted.D)
    assert not made.kept[2 * planted.D :].any()


def half_precision() -> LoadedSAE:
    """An SAE whose weights are of 16 bits, and which turns what it reads into the same."""
    source = planted.dictionary()
    w_enc, b_enc, w_dec = (value.bfloat16() for value in (source.W_enc, source.b_enc, source.W_dec))
    made = SimpleNamespace(W_dec=w_dec, b_dec=source.b_dec.bfloat16())
    made.encode = lambda x: (x.bfloat16() @ w_enc + b_enc).relu()
    return planted.loaded(made)


@pytest.mark.parametrize("name", SAES)
def test_controls_of_an_sae_of_16_bits_can_be_measured(name: str) -> None:
    x = planted.activations().residual[:, 1:].flatten(0, 1)
    made = control_sae(name, Like(half_precision(), x, 2 * planted.D, 8.0))
    assert made.decode(made.encode(x)).shape == x.shape


# Degenerate SAEs and activations


def constant() -> Tensor:
    return torch.full((64, D), 3.0)


DEGENERATE: dict[str, Callable[[], Like]] = {
    "constant activations": lambda: like(x=constant()),
    "zero activations": lambda: like(x=torch.zeros(64, D)),
    "one token": lambda: like(x=planted_rows(1)),
    "two tokens": lambda: like(x=planted_rows(2)),
    "smaller than the activation": lambda: like(
        planted.loaded(oracle(truth()[:4], offset(), 0.5)), d_sae=4, l0=0.5
    ),
    "one latent": lambda: like(planted.loaded(oracle(truth()[:1], offset(), 0.5)), d_sae=1, l0=0.2),
    "never active": lambda: like(planted.loaded(oracle(truth(), offset(), 1e9)), l0=0.0),
    "always active": lambda: like(planted.loaded(planted.identity()), d_sae=D, l0=float(D)),
    "denser than wide": lambda: like(l0=1000.0),
    "only W_dec": lambda: Like(planted.loaded(planted.dictionary()), planted_rows(500), 2 * D, 8.0),
    "dead latents": lambda: Like(
        planted.loaded(planted.with_dead(planted.dictionary(), 100)), planted_rows(500), 2 * D + 100, 8.0
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SAES)
@pytest.mark.parametrize("case", DEGENERATE)
def test_controls_survive_degenerate_saes_and_activations(case: str, name: str) -> None:
    asked = DEGENERATE[case]()
    made = control_sae(name, asked)
    for x in (asked.x, planted_rows(40, seed=8), torch.zeros(3, D)):
        assert made.decode(made.encode(x)).shape == x.shape


def test_an_sae_that_is_never_active_has_a_random_control_that_is_almost_never() -> None:
    made = random_l0(like(l0=0.0))
    assert l0(made) < 0.05
    assert fvu(made) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("name", ["random", "random_l0", "pca"])
def test_constant_activations_are_reconstructed_by_their_mean(name: str) -> None:
    made = control_sae(name, like(x=constant()))
    assert made.decode(made.encode(constant())) == pytest.approx(constant(), abs=1e-4)


def test_components_keep_at_least_one() -> None:
    made = pca(like(l0=0.0))
    assert isinstance(made, Components)
    assert made.k == 1


# Oracle, trained and random


@cache
def trained(decoder: Any) -> LoadedSAE:
    """For half a second, which takes a larger rate than the zoo's."""
    rows = planted_rows(20_000, seed=6)
    with torch.random.fork_rng(devices=[]), pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "LR", 1e-2)
        made = train_member(Member("planted", "batchtopk", 3, FEATURES, decoder=decoder), rows, 250 * 1024)
    return planted.loaded(made.eval().requires_grad_(False))


def recovered(sae: LoadedSAE) -> float:
    """Mean over the truth of the largest cosine of a decoder direction."""
    return float((sae.directions(FEATURES)[0] @ truth().T).max(0).values.mean())


def test_oracle_is_best_then_what_was_trained_then_what_was_not() -> None:
    order = [true_sae(), trained("free"), control_sae("random_l0", like()), control_sae("permuted_decoder", like())]
    errors, directions = [fvu(sae) for sae in order], [recovered(sae) for sae in order[:3]]
    assert errors == sorted(errors)
    assert directions == sorted(directions, reverse=True)
    assert errors[0] < 0.01
    assert errors[1] < 0.7 * errors[2]
    assert directions[0] == pytest.approx(1, abs=0.01)
    assert directions[1] > directions[2] + 0.2


def test_oracle_normalises_directions_and_reads_their_strength() -> None:
    made = oracle(17 * truth(), offset(), 0.5)
    on = torch.tensor([[0.0] * (FEATURES - 2) + [1.25, 1.75]])
    assert made.encode(on @ truth() + offset()) == pytest.approx(on, abs=1e-5)
    assert made.decode(on) == pytest.approx(on @ truth() + offset(), abs=1e-5)


def test_the_more_a_decoder_is_held_the_worse_it_is() -> None:
    made = [trained(decoder) for decoder in ("free", "soft_frozen", "frozen")]
    errors, directions = [fvu(sae) for sae in made], [recovered(sae) for sae in made]
    assert errors == sorted(errors)
    assert directions == sorted(directions, reverse=True)


# Frozen and soft-frozen decoders


def turned(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    rows, start = noise(300, D, seed=seed) * torch.logspace(-3, 3, 300)[:, None], NORMALISED(noise(300, D, seed=1))
    rows[:50] = start[:50] * 5 + 0.1 * noise(50, D, seed=2)
    return rows, start, within_cosine(rows, start, 0.8)


def test_rows_are_turned_until_they_are_near_enough() -> None:
    _, start, made = turned()
    cosine = (NORMALISED(made) * start).sum(1)
    assert cosine.min() >= 0.8 - 1e-5
    assert cosine[50:].numpy() == pytest.approx(0.8, abs=1e-5)


def test_turning_keeps_norms() -> None:
    rows, _, made = turned()
    assert (made.norm(dim=1) / rows.norm(dim=1)).numpy() == pytest.approx(1, abs=1e-5)


def test_rows_that_are_near_enough_are_left_alone() -> None:
    rows, start, made = turned()
    assert torch.equal(made[:50], rows[:50])
    assert torch.equal(within_cosine(2 * start, start, 0.8), 2 * start)


def test_turning_twice_is_turning_once() -> None:
    _, start, made = turned()
    again = within_cosine(made, start, 0.8)
    assert ((again - made).norm(dim=1) / made.norm(dim=1)).max() < 1e-4


def test_rows_turn_the_shortest_way() -> None:
    """They stay in the plane of what they were and what they started as."""
    rows, start, made = turned()
    plane = torch.linalg.qr(torch.stack([rows, start], dim=2)).Q
    outside = made - (plane @ (plane.transpose(1, 2) @ made[:, :, None]))[:, :, 0]
    assert (outside.norm(dim=1) / made.norm(dim=1)).max() < 1e-4
    assert ((made - rows).norm(dim=1) <= (rows.norm(dim=1, keepdim=True) * start - rows).norm(dim=1) * 1.0001).all()


def test_a_row_that_is_zero_stays_zero() -> None:
    start = NORMALISED(noise(3, D))
    assert not within_cosine(torch.zeros(3, D), start, 0.8).any()


@pytest.mark.parametrize("row", [[-2.0, 0.0, 0.0], [-2.0, 1e-13, 0.0]])
def test_a_row_that_points_the_other_way_keeps_its_norm_too(row: list[float]) -> None:
    start = torch.tensor([[1.0, 0.0, 0.0]])
    made = within_cosine(torch.tensor([row]), start, 0.8)
    assert float(made.norm()) == pytest.approx(2)
    assert float((NORMALISED(made) * start).sum()) >= 0.8 - 1e-5


def test_holding_freely_changes_nothing() -> None:
    sae: Any = SimpleNamespace(W_dec=nn.Parameter(noise(8, D)))
    hold = hold_decoder(sae, "free")
    with torch.no_grad():
        sae.W_dec.neg_()
    before = sae.W_dec.detach().clone()
    hold()
    assert torch.equal(sae.W_dec, before)
    assert sae.W_dec.requires_grad


def test_holding_softly_brings_directions_back() -> None:
    sae: Any = SimpleNamespace(W_dec=nn.Parameter(noise(8, D)))
    start, hold = NORMALISED(sae.W_dec.detach().clone()), hold_decoder(sae, "soft_frozen")
    with torch.no_grad():
        sae.W_dec.add_(5 * noise(8, D, seed=3))
    norms = sae.W_dec.detach().norm(dim=1)
    hold()
    assert ((NORMALISED(sae.W_dec.detach()) * start).sum(1) >= 0.8 - 1e-5).all()
    assert sae.W_dec.detach().norm(dim=1).numpy() == pytest.approx(norms.numpy(), rel=1e-5)
    assert sae.W_dec.requires_grad


@pytest.mark.parametrize("architecture", ["standard", "topk", "batchtopk", "matryoshka"])
def test_training_moves_no_direction_that_is_held(architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Directions are those of one seed, and what may move does."""
    starts, make = list[Tensor](), training.training_sae

    def remembered(*arguments: Any, **named: Any) -> Any:
        made = make(*arguments, **named)
        starts.append(NORMALISED(made.W_dec.detach().clone()))
        return made

    monkeypatch.setattr(training, "training_sae", remembered)
    monkeypatch.setattr(training, "LR", 1e-2)
    rows = planted_rows(4000)
    ends = []
    with torch.random.fork_rng(devices=[]):
        for decoder in ("frozen", "soft_frozen", "free"):
            member = Member("planted", architecture, 3, 32, decoder=decoder)  # type: ignore[arg-type]
            ends.append(NORMALISED(train_member(member, rows, 90 * 1024).W_dec.detach()))
    assert torch.equal(starts[0], starts[1])
    frozen, soft, free = ((end * starts[0]).sum(1) for end in ends)
    assert frozen.numpy() == pytest.approx(1, abs=1e-5)
    assert soft.min() >= 0.8 - 1e-5
    assert soft.min() < 0.99
    assert free.min() < soft.min() + 1e-6


def test_training_depends_on_the_members_seed_alone() -> None:
    rows, made = planted_rows(4000), []
    with torch.random.fork_rng(devices=[]):
        for seed, own in ((1, 0), (2, 0), (3, 1)):
            torch.manual_seed(seed)
            made.append(train_member(Member("planted", "batchtopk", 3, FEATURES, own), rows, 80 * 1024).W_enc.detach())
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_training_leaves_global_random_state_alone() -> None:
    torch.manual_seed(4)
    state = torch.get_rng_state()
    train_member(Member("planted", "batchtopk", 3, FEATURES), planted_rows(2000), 80 * 1024)
    assert torch.equal(torch.get_rng_state(), state)
