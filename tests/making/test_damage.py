"""Damage does what it is called, no more, and more of it the larger the dose; the oracle is at the ceiling."""

from dataclasses import replace

import numpy as np
import planted
import pytest
import torch
from torch import Tensor

from saebench.catalogue.controls import CONTROLS, NOISE, ORACLE, REPLACED
from saebench.evidence.words.probes import Probe
from saebench.making.controls import control_sae
from saebench.making.damage import Noisy, Oracle, Replaced, noisy, oracle, replaced
from saebench.making.like import Like
from saebench.record.score import Unscored
from saebench.saes.sae import LoadedSAE
from saebench.saes.unmade import unmade

torch.set_num_threads(1)
DAMAGED = [name for name, control in CONTROLS.items() if control.made.startswith("damage:")]
D, FEATURES, LATENTS = 24, 8, 60
SHARE = 3 / FEATURES


class Known:
    """Latents that read true directions where they are on, each of another length, beside some that are never on."""

    def encode(self, x: Tensor) -> Tensor:
        read = (x - 0.5) @ truth().T
        return torch.cat([torch.where(read > 0.5, read / lengths(), 0.0), x.new_zeros(len(x), LATENTS - FEATURES)], 1)

    def decode(self, latents: Tensor) -> Tensor:
        return latents[:, :FEATURES] * lengths() @ truth() + 0.5


def lengths() -> Tensor:
    return torch.linspace(0.5, 4, FEATURES)


def truth() -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.linalg.qr(torch.randn(D, D, generator=generator)).Q[:FEATURES].contiguous()


def rows(n: int = 2000, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Activations (row, d), and which true features (row, feature) are in them."""
    generator = torch.Generator().manual_seed(seed)
    on = torch.rand(n, FEATURES, generator=generator) < SHARE
    return (on * (1 + torch.rand(n, FEATURES, generator=generator))) @ truth() + 0.5, on


def sae() -> LoadedSAE:
    return planted.loaded(Known())


def like() -> Like:
    return Like(sae(), rows()[0], LATENTS, float(FEATURES * SHARE))


def fvu(made: object) -> float:
    x = rows(seed=1)[0]
    wrong = made.decode(made.encode(x)) - x  # type: ignore[attr-defined]
    return float(wrong.square().sum() / (x - x.mean(0)).square().sum())


def test_without_damage_the_sae_is_as_it_was() -> None:
    x = rows(50)[0]
    for made in (replaced(like(), 0), noisy(like(), 0)):
        assert torch.equal(made.encode(x), sae().encode(x))
        assert torch.allclose(made.decode(made.encode(x)), sae().decode(sae().encode(x)), atol=1e-6)


@pytest.mark.parametrize("percent", REPLACED)
def test_so_many_latents_are_replaced_and_the_others_are_as_they_were(percent: int) -> None:
    made, x = replaced(like(), percent), rows(300)[0]
    own, latents = sae().encode(x), made.encode(x)
    assert isinstance(made, Replaced)
    assert int(made.chosen.sum()) == LATENTS * percent / 100
    assert torch.equal(latents[:, ~made.chosen], own[:, ~made.chosen])
    assert torch.equal(latents[:, made.chosen], made.random.encode(x)[:, made.chosen])


def test_what_remains_writes_what_it_wrote_and_what_is_lost_stays_on_average() -> None:
    made, x = replaced(like(), 50), rows(2000)[0]
    own = sae().encode(x)
    kept = torch.where(made.chosen, 0.0, own)
    lost = sae().decode(own).mean(0) - sae().decode(kept).mean(0)
    assert lost.norm() > 0.1
    assert torch.allclose(made.decode(kept), sae().decode(kept) + lost, atol=1e-5)


def test_with_all_latents_replaced_it_is_a_control_of_random_directions() -> None:
    x = rows(seed=1)[0]
    made = replaced(like(), 100)
    assert torch.allclose(made.decode(made.encode(x)), made.random.decode(made.random.encode(x)), atol=1e-4)


def test_a_larger_share_holds_the_smaller() -> None:
    small, middle, large = (replaced(like(), percent) for percent in REPLACED)
    assert (middle.chosen | ~small.chosen).all()
    assert (large.chosen | ~middle.chosen).all()
    assert torch.equal(small.random.directions, large.random.directions)


def test_with_all_latents_replaced_they_are_as_sparse_as_before() -> None:
    x = rows(seed=1)[0]
    active = (replaced(like(), 100).encode(x) != 0).float().sum(1).mean()
    assert float(active) == pytest.approx(FEATURES * SHARE, rel=0.2)


def test_noise_is_a_share_of_each_directions_own_norm() -> None:
    made = noisy(like(), 50)
    assert isinstance(made, Noisy)
    ratio = made.noise[:FEATURES].norm(dim=1) / lengths()
    assert float(ratio.mean()) == pytest.approx(0.5, rel=0.15)
    assert not made.noise[FEATURES:].any()


def test_more_noise_is_the_same_noise_scaled_and_no_latent_changes() -> None:
    small, _, large = (noisy(like(), percent) for percent in NOISE)
    assert torch.allclose(large.noise, NOISE[2] / NOISE[0] * small.noise)
    x = rows(50)[0]
    assert torch.equal(large.encode(x), sae().encode(x))


@pytest.mark.parametrize("kind", ["replaced", "noise"])
def test_every_dose_costs_variance(kind: str) -> None:
    doses = [fvu(control_sae(name, like())) for name in DAMAGED if name.startswith(kind)]
    found = [fvu(sae()), *doses]
    assert len(found) == 4
    assert found == sorted(found)
    assert found[0] < 1e-6 < 0.02 < found[1]


def test_other_saes_are_damaged_otherwise() -> None:
    other = replace(like(), sae=replace(sae(), digest="another"))
    assert not torch.equal(replaced(like(), 50).chosen, replaced(other, 50).chosen)
    assert not torch.equal(noisy(like(), 50).noise, noisy(other, 50).noise)


def test_what_an_sae_adds_behind_its_decoder_is_kept() -> None:
    class Normalised(Known):
        def restore(self, y: Tensor, x: Tensor) -> Tensor:
            return y + 7

    whole = replace(like(), sae=planted.loaded(Normalised()))
    x = rows(20)[0]
    for name in ("replaced_25", "noise_25"):
        made = control_sae(name, whole)
        latents = made.encode(x)
        assert torch.allclose(made.decode(latents, x), made.decode(latents) + 7)


# The oracle


def probe(shift: float = 0.0) -> Probe:
    """The truth, as a probe of activations that still have their mean."""
    return Probe(truth(), torch.full((FEATURES,), 0.5 + shift) + 0.5 * truth().sum(1))


def test_the_oracle_reconstructs_exactly_and_has_a_latent_per_concept() -> None:
    made, (x, on) = oracle(replace(like(), known=probe())), rows(seed=1)
    assert isinstance(made, Oracle)
    latents = made.encode(x)
    assert latents.shape[1] == FEATURES + D
    assert torch.allclose(made.decode(latents), x, atol=1e-5)
    assert np.array_equal((latents[:, :FEATURES] != 0).numpy(), on.numpy())


def test_the_rest_is_on_everywhere_so_that_it_is_no_feature() -> None:
    x = rows(200)[0] + 0.01 * torch.randn(200, D, generator=torch.Generator().manual_seed(0))
    latents = oracle(replace(like(), known=probe())).encode(x)
    assert ((latents[:, FEATURES:] != 0).float().mean(0) > 0.99).all()


def test_no_latent_of_a_concept_is_on_below_the_mean() -> None:
    latents = oracle(replace(like(), known=probe(shift=-100.0))).encode(rows(200)[0])
    assert (latents[:, :FEATURES] >= 0).all()


def test_where_nothing_is_known_the_oracle_is_all_rest() -> None:
    made, x = oracle(like()), rows(50)[0]
    assert made.encode(x).shape == (50, D)
    assert torch.allclose(made.decode(made.encode(x)), x, atol=1e-6)


def test_oracles_of_other_truths_are_told_apart() -> None:
    known = [replace(like(), known=one) for one in (probe(), probe(0.1), None)]
    assert len({control_sae(ORACLE, one).digest for one in known}) == 3


def test_a_control_has_no_digest_but_its_own() -> None:
    """A score is known by its SAE's digest: with that of the SAE it is made of, one would be taken for the other."""
    whole = planted.loaded(Known(), digest="of the files")
    made = [control_sae(name, replace(like(), sae=whole)) for name in DAMAGED]
    made.append(unmade(whole, "frozen", Unscored("too large")))
    assert {sae.spec.digest for sae in made} == {None}
    assert len({whole.digest, *(sae.digest for sae in made)}) == len(made) + 1
