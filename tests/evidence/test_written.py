"""Copies are found, random directions are like random directions, and how an SAE is written does not matter."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import planted
import pytest
import torch

from saebench.evidence import written as module
from saebench.evidence.written import Neighbours, read, written
from saebench.metrics import neighbours
from saebench.record.score import Unscored
from saebench.saes import sae as saes
from saebench.saes.sae import LoadedSAE


def both(sae: Any) -> tuple[Neighbours, Neighbours]:
    """Of the decoder and of the encoder."""
    trace, loaded = planted.traced(sae), planted.loaded(sae)
    return written(loaded, trace).neighbours, read(loaded, trace)


def random_sae(latents: int = 48) -> SimpleNamespace:
    draw = torch.Generator().manual_seed(4)
    rows = torch.nn.functional.normalize(torch.randn(latents, planted.D, generator=draw), dim=1)
    return planted.relu_sae(rows.T.contiguous(), torch.zeros(latents), rows)


def means(sae: Any) -> list[float]:
    return [neighbours.nearest_decoder(written(planted.loaded(sae), planted.traced(sae))).value,
            neighbours.nearest_encoder(read(planted.loaded(sae), planted.traced(sae))).value]  # fmt: skip


def test_an_orthogonal_dictionary_has_no_neighbours() -> None:
    assert means(planted.dictionary()) == pytest.approx([0, 0], abs=1e-5)  # each has an opposite, which is no neighbour


def test_copies_are_found() -> None:
    assert means(planted.duplicated(random_sae())) == pytest.approx([1, 1], abs=1e-5)


def test_random_directions_are_at_the_floor() -> None:
    sae = random_sae(600)
    estimate = neighbours.nearest_decoder(written(planted.loaded(sae), planted.traced(sae)))
    assert estimate.value == pytest.approx(estimate.floor, rel=0.03)
    assert estimate.value > means(random_sae())[0] + 0.1  # the more there are, the nearer


def test_numpy_says_the_same() -> None:
    rows = random_sae().W_dec.double().numpy()
    cosines = rows @ rows.T - 2 * np.eye(len(rows))
    assert means(random_sae()) == pytest.approx([cosines.max(1).mean()] * 2, rel=1e-5)


@pytest.mark.parametrize("change", [planted.rescaled, planted.permuted, lambda sae: planted.with_dead(sae, 9)])
def test_scale_order_and_the_dead_do_not_count(change) -> None:
    assert means(change(random_sae())) == pytest.approx(means(random_sae()), rel=1e-5)


def test_the_dead_are_in_the_control() -> None:
    found, _ = both(planted.with_dead(random_sae(), 48))  # all along one direction
    assert found.every > found.cosine.mean() + 0.1
    assert found.alive == 48


def test_latents_may_be_negative() -> None:
    turned = random_sae()
    sign = torch.where(torch.arange(48) % 2 == 0, 1.0, -1.0)
    other = SimpleNamespace(W_enc=turned.W_enc * sign, W_dec=turned.W_dec * sign[:, None], b_dec=turned.b_dec)
    other.encode = lambda x: turned.encode(x) * sign
    assert means(other) == pytest.approx(means(turned), rel=1e-5)


def test_of_many_some_are_asked_against_all(monkeypatch: pytest.MonkeyPatch) -> None:
    every, _ = both(random_sae())
    whole = dict(zip(every.latents.tolist(), every.cosine.tolist(), strict=True))
    monkeypatch.setattr(module, "MOST_ASKED", 10)
    some, _ = both(random_sae())
    assert len(some.latents) == 10
    assert some.cosine == pytest.approx([whole[latent] for latent in some.latents.tolist()], rel=1e-5)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Widths of the SAEs whose latents are decoded one by one, where 48 latents are wide."""
    found: list[int] = []
    one_by_one = LoadedSAE._one_by_one
    monkeypatch.setattr(saes, "WIDE", 10)
    monkeypatch.setattr(
        LoadedSAE, "_one_by_one", lambda self, d_sae, dtype: found.append(d_sae) or one_by_one(self, d_sae, dtype)
    )
    return found


def test_wide_saes_are_read_off_their_matrix(decoded: list[int]) -> None:
    trace = planted.traced(random_sae())
    by_matrix = written(planted.loaded(random_sae()), trace)
    assert not decoded
    one_by_one = written(planted.loaded(without_matrix(random_sae())), trace)
    assert decoded == [48]
    assert by_matrix.norms == pytest.approx(one_by_one.norms, rel=1e-5)
    assert by_matrix.neighbours.cosine == pytest.approx(one_by_one.neighbours.cosine, abs=1e-5)


def test_a_matrix_that_is_not_what_is_written_does_not_count(decoded: list[int]) -> None:
    found = written(planted.loaded(shifted(random_sae())), planted.traced(random_sae()))
    assert decoded == [48]
    assert found.norms == pytest.approx(np.where(np.arange(48) == 7, 1.5, 1.0), rel=1e-5)


def shifted(sae: SimpleNamespace) -> SimpleNamespace:
    """Its `decode` writes one row otherwise than its matrix says."""
    gain = torch.where(torch.arange(len(sae.W_dec)) == 7, 1.5, 1.0)
    return SimpleNamespace(encode=sae.encode, decode=lambda latents: (latents * gain) @ sae.W_dec, W_dec=sae.W_dec)


def without_matrix(sae: SimpleNamespace) -> SimpleNamespace:
    return SimpleNamespace(encode=sae.encode, decode=lambda latents: latents @ sae.W_dec)


def test_an_sae_need_not_have_an_encoders_weights() -> None:
    trace = planted.traced(planted.identity())
    with pytest.raises(Unscored, match="has no W_enc") as caught:
        read(planted.loaded(planted.identity()), trace)
    assert not caught.value.broken
    wrong = random_sae()
    wrong.W_enc = wrong.W_enc.T
    with pytest.raises(Unscored, match=r"W_enc has shape \(48, 32\)"):
        read(planted.loaded(wrong), planted.traced(random_sae()))
    wrong.W_enc = torch.full((planted.D, 48), float("nan"))
    with pytest.raises(Unscored, match="NaN") as caught:
        read(planted.loaded(wrong), planted.traced(random_sae()))
    assert caught.value.broken


@pytest.mark.parametrize("dead", [True, False])
def test_what_writes_nothing_has_no_neighbours(dead: bool) -> None:
    sae = planted.always(torch.ones(planted.D), dead=dead)  # its latents write nothing
    found = written(planted.loaded(sae), planted.traced(sae))
    with pytest.raises(Unscored, match="two are needed"):
        neighbours.nearest_decoder(found)
