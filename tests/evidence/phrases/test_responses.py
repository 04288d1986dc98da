"""Latents at texts: a scale of their own, one side, the largest over tokens, and a choice that sees no phrase."""

from typing import Any

import numpy as np
import planted_phrases as planted
import pytest
import torch
from scipy import sparse
from torch import Tensor

from saebench.evidence.phrases import responses as responses_module
from saebench.evidence.phrases.bank import Bank
from saebench.evidence.phrases.reading import Reading, joined
from saebench.evidence.phrases.responses import Responses, quantiles, respond

BANK = planted.bank(features=12)
D = 12
EMPTY = sparse.csr_array((1, D))


def reading(of: Bank = BANK, named_by: float = 1.0, phrases: bool = True) -> Reading:
    """Two tokens for each text, with its feature's number as a direction; the first of them is half as long."""
    owner = np.concatenate([of.feature_of, of.near_of, of.naming_of])
    weight = np.ones(len(owner))
    weight[: len(of.phrases)] = float(phrases)
    weight[-len(of.naming_of) :] = named_by
    x = torch.zeros(len(owner), 2, D)
    x[torch.arange(len(owner)), :, torch.from_numpy(owner)] = torch.from_numpy(weight).float()[:, None]
    x[:, 0] *= 0.5
    return Reading(of, x.flatten(0, 1), np.repeat(np.arange(len(owner)), 2))


def said(encode: Any, of: Reading | None = None, corpus: sparse.csr_array = EMPTY) -> Responses:
    return respond(encode, "cpu", of or reading(), corpus)


def test_the_latent_of_a_feature_is_the_one_that_tells_its_naming_texts() -> None:
    order = torch.randperm(D, generator=torch.Generator().manual_seed(0))
    latent, f1 = said(lambda x: x[:, order]).choice
    assert order[latent].tolist() == list(range(D))
    assert f1.tolist() == [1] * D


def test_the_choice_sees_no_phrase() -> None:
    one, other = (said(lambda x: x.relu(), reading(phrases=yes)) for yes in (True, False))
    assert one.choice[0].tolist() == other.choice[0].tolist()
    assert other.at_phrases(other.choice[0]).max() == 0 < one.at_phrases(one.choice[0]).max()


def test_the_largest_over_tokens_counts_and_not_their_sum() -> None:
    found = said(lambda x: x)
    assert found.at_phrases(np.arange(D)).max() == pytest.approx(1)
    assert set(np.unique(found.at_phrases(np.arange(D)))) == {0, 1}


@pytest.mark.parametrize("gain", [1e-3, 7.0, -1.0, -250.0])
def test_scale_and_sign_do_not_matter(gain: float) -> None:
    plain, changed = said(lambda x: x), said(lambda x: gain * x)
    assert np.allclose(plain.most.toarray(), changed.most.toarray(), atol=1e-6)
    assert plain.choice[0].tolist() == changed.choice[0].tolist()


def test_batches_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = said(lambda x: x).most.toarray()
    monkeypatch.setattr(responses_module, "BATCH", 7)
    assert np.array_equal(said(lambda x: x).most.toarray(), whole)


def test_what_a_latent_does_elsewhere_is_its_scale() -> None:
    corpus = sparse.csr_array(np.full((5000, D), 20.0))
    assert said(lambda x: x, corpus=corpus).most.max() == pytest.approx(1 / 20)


def test_dead_latents_are_nobodys() -> None:
    found = said(lambda x: torch.zeros_like(x))
    assert found.choice[0].tolist() == [-1] * D
    assert found.choice[1].tolist() == [0] * D
    assert len(found.alive) == 0


def test_a_latent_that_is_on_everywhere_tells_little() -> None:
    _, f1 = said(lambda x: torch.ones_like(x)).choice
    assert f1.max() == pytest.approx(2 * 4 / (4 * D + 4))


def test_quantiles_are_those_of_what_is_positive() -> None:
    values = np.random.default_rng(0).random((500, 3)) * (np.random.default_rng(1).random((500, 3)) < 0.5)
    values[:, 1] = 0
    expected = [
        np.quantile(column[column > 0], 0.99, method="inverted_cdf") if column.any() else 0 for column in values.T
    ]
    assert quantiles(sparse.csr_array(values)).tolist() == pytest.approx(expected)


def test_controls_are_of_other_features_and_as_long() -> None:
    of = reading()
    long = np.arange(len(of.bank.phrases)) % 2 == 1  # every other phrase has a third token
    extra = long.nonzero()[0]
    longer = Reading(of.bank, torch.cat([of.x, torch.zeros(len(extra), D)]), np.concatenate([of.text_of, extra]))
    weights = longer.matched.toarray()
    assert np.allclose(weights.sum(axis=1), 1)
    assert not (weights * planted.own_phrases(of.bank)[of.bank.feature_of]).any()
    assert not (weights * (long[:, None] != long[None])).any()
    assert ((weights > 0).sum(axis=1) == 20).all()


def test_two_banks_are_read_as_one() -> None:
    first, second = reading(), reading(planted.bank(features=3))
    both = joined(first, second)
    texts = both.bank.texts
    own = [[reading.bank.texts[i] for i in reading.text_of] for reading in (first, second)]
    assert [texts[i] for i in both.text_of] == own[0] + own[1]


def test_a_latent_that_does_not_exist_is_said() -> None:
    from dataclasses import replace

    from saebench.evidence.phrases.decomposed import chosen
    from saebench.record.score import Unscored

    given = replace(BANK, features=(replace(BANK.features[0], latent=500), *BANK.features[1:]))
    with pytest.raises(Unscored, match="latent 500 is of feature 0, and the SAE has 12 latents"):
        chosen(said(lambda x: x, reading(given)))
    given = replace(BANK, features=(replace(BANK.features[0], latent=5), *BANK.features[1:]))
    latent, f1 = chosen(said(lambda x: x, reading(given)))
    assert (latent[0], f1[0]) == (5, 1)


def wide(x: Tensor) -> Tensor:
    return torch.nn.functional.pad(x, (0, 65_536 - D))


def test_sixty_five_thousand_latents_are_kept_sparse() -> None:
    found = said(wide, corpus=sparse.csr_array((1, 65_536)))
    assert found.most.shape == (len(BANK.texts), 65_536)
    assert found.most.nnz == len(BANK.texts)
    assert found.choice[0].tolist() == list(range(D))
