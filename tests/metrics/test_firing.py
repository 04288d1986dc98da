"""How often latents are active, counted by hand; and that scale, sign and copies do not count."""

import numpy as np
import planted
import pytest
import torch
from scipy import sparse

from saebench.evidence.trace import Rebuilt
from saebench.evidence.written import written
from saebench.metrics import firing
from saebench.record.score import Unscored

DOCUMENTS, POSITIONS = 4, 26
TOKENS = DOCUMENTS * (POSITIONS - 1)


def made(latents: np.ndarray, **more: object) -> Rebuilt:
    """A trace of (token, latent) values."""
    fired = torch.from_numpy((latents != 0).sum(axis=0).astype(float))
    trace = planted.make_trace(
        documents=DOCUMENTS,
        positions=POSITIONS,
        inside=POSITIONS,
        fired=fired,
        latents=sparse.csr_array(latents),
        **more,
    )
    assert int(trace.counted[:, 1:].sum()) == len(latents)
    return trace


def planted_latents() -> np.ndarray:
    """Always on; on in a fifth of tokens; once per document; on once in all; dead."""
    latents = np.zeros((TOKENS, 5))
    latents[:, 0], latents[::5, 1], latents[:: POSITIONS - 1, 2], latents[7, 3] = 1.0, -2.0, 0.5, 3.0
    return latents


def test_shares_of_what_is_frequent_are_counted() -> None:
    trace = made(planted_latents())
    frequent = firing.frequent_fraction(trace)
    assert frequent.value == 3 / 5  # once in 100 tokens is not more than a hundredth
    assert frequent.items["density"] == pytest.approx([1.0, 0.2, 0.04, 0.01, 0.0])
    share = firing.share_of_frequent(trace)
    assert share.value == pytest.approx(124 / 125)
    assert share.controls["dense"] == pytest.approx(120 / 125)


def test_persistence_is_tokens_per_document_where_it_is_on() -> None:
    # 25, 5, 1 tokens in each of four documents, and 1 in one of them
    assert firing.persistence(made(planted_latents())).value == pytest.approx((100 + 20 + 4 + 1) / 13)
    always, once = np.ones((TOKENS, 3)), np.zeros((TOKENS, 1))
    once[:: POSITIONS - 1] = 1
    assert firing.persistence(made(always)).value == POSITIONS - 1
    assert firing.persistence(made(once)).value == 1


def test_zeros_that_are_stored_are_not_active() -> None:
    latents = sparse.csr_array(np.ones((TOKENS, 2)))
    latents.data[1::2] = 0.0
    trace = planted.make_trace(
        documents=DOCUMENTS, positions=POSITIONS, inside=POSITIONS, latents=latents,
        fired=torch.tensor([float(TOKENS), 0.0]),
    )  # fmt: skip
    assert firing.share_of_frequent(trace).value == 1
    assert firing.persistence(trace).value == POSITIONS - 1


def test_l1_is_what_latents_write() -> None:
    trace, sae = planted.traced(planted.dictionary()), planted.loaded(planted.dictionary())
    x = planted.activations().residual[:, 1:-1].flatten(0, 1)
    expected = float(planted.dictionary().encode(x).abs().double().sum(-1).mean())  # of rows of norm 1
    assert firing.l1(trace, written(sae, trace)).value == pytest.approx(expected, rel=1e-5)
    rescaled = planted.rescaled(planted.dictionary())
    other = planted.traced(rescaled)
    assert firing.l1(other, written(planted.loaded(rescaled), other)).value == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("metric", [firing.share_of_frequent, firing.persistence])
def test_nothing_active_and_too_much_of_it(metric) -> None:
    with pytest.raises(Unscored, match="no latent is ever active"):
        metric(made(np.zeros((TOKENS, 3))))
    with pytest.raises(Unscored, match="too dense to be kept"):
        metric(planted.make_trace())


def test_no_latent_is_frequent_where_all_are_dead() -> None:
    assert firing.frequent_fraction(made(np.zeros((TOKENS, 3)))).value == 0
    assert firing.frequent_fraction(made(np.ones((TOKENS, 3)))).value == 1
