"""Random directions are encoded once for all SAEs of a place, and what is said of an SAE does not depend on those before it."""

import pytest
import torch

from saebench.evidence.words import random_latents as module
from saebench.evidence.words.random_latents import RandomLatents
from saebench.saes.directions import Linear, random_directions
from saebench.saes.sparsity import to_sparse

SHARES = (0.02, 0.3, 0.1, 0.5, 0.05, 1.0)


def activations() -> torch.Tensor:
    return torch.randn(300, 16, generator=torch.Generator().manual_seed(0)) + 1


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Thresholds at which directions were encoded."""
    found, encode = list[float](), Linear.encode
    monkeypatch.setattr(Linear, "encode", lambda self, x: found.append(self.threshold) or encode(self, x))
    return found


@pytest.mark.parametrize("most", [10**9, 0])
def test_an_sae_gets_the_same_latents_whatever_came_before(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_KEPT", most)
    random = RandomLatents(activations(), 40)
    for share in SHARES:
        alone = random_directions(activations(), 40, share, "study.random_control")
        latents, drawn = random.active(share)
        assert torch.equal(drawn.directions, alone.directions)
        assert (latents != to_sparse(alone.encode(activations()))).nnz == 0
        assert latents.nnz == pytest.approx(min(share, 0.5) * latents.shape[0] * latents.shape[1], rel=0.1)


def test_a_sparser_sae_costs_no_further_encoding(encoded: list[float]) -> None:
    random = RandomLatents(activations(), 40)
    for share in (0.3, 0.1, 0.2, 0.3):
        random.active(share)
    assert len(encoded) == 1
    random.active(0.4)
    assert len(encoded) == 2


def test_what_is_handed_out_may_be_changed() -> None:
    random = RandomLatents(activations(), 40)
    before = random.active(0.3)[0].copy()
    random.active(0.3)[0].data[:] = 0
    assert before.nnz
    assert (random.active(0.3)[0] != before).nnz == 0
