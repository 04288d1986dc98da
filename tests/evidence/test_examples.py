"""Latents that fire on certain tokens, of texts of random tokens."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse

from saebench.evidence.examples import JUDGED, SHOWN, Examples, examples_of
from saebench.evidence.trace import Encoded
from saebench.evidence.windows import windows_of
from saebench.record.score import Unscored
from saebench.subject.activations import Activations

VOCABULARY, DOCUMENTS, POSITIONS = 60, 90, 66


class Tokenizer:
    def batch_decode(self, ids: list[list[int]]) -> list[str]:
        return [f" w{token}" for (token,) in ids]


def texts(shortest: int = POSITIONS) -> Activations:
    draw = torch.Generator().manual_seed(0)
    tokens = torch.randint(VOCABULARY, (DOCUMENTS, POSITIONS), generator=draw)
    length = torch.randint(shortest, POSITIONS + 1, (DOCUMENTS,), generator=draw)
    subject: Any = SimpleNamespace(n_vocab=VOCABULARY, tokenizer=Tokenizer())
    nothing: Any = None
    return Activations(subject, "hook", nothing, tokens, length, torch.zeros(DOCUMENTS, POSITIONS, 1), nothing)


def encoded(activations: Activations, latents: np.ndarray) -> Encoded:
    """`latents` (vocabulary, latent): each token's activation, a little stronger the further behind in a document."""
    counted = (torch.arange(POSITIONS) < activations.length[:, None] - 1)[:, 1:]
    tokens = activations.tokens[:, 1:][counted]
    stronger = 1 + torch.arange(len(tokens)).double().numpy() / len(tokens)
    table = sparse.csr_array((latents[tokens.numpy()] * stronger[:, None]).astype(np.float32))
    return Encoded(fired=torch.from_numpy((table != 0).sum(axis=0).astype(np.float64)), latents=table, tokens=tokens)


def planted(count: int = 30) -> np.ndarray:
    """Each latent fires on one token of its own."""
    return np.eye(VOCABULARY)[:, :count] * (1 + np.arange(count))


def examples(latents: np.ndarray, most: int = 100, activations: Activations | None = None) -> Examples:
    activations = activations or texts()
    return examples_of(encoded(activations, latents), activations, POSITIONS, most)


def test_windows_are_runs_of_one_document() -> None:
    activations = texts(shortest=20)
    windows = windows_of(activations, POSITIONS)
    assert windows.length.min() >= 16
    assert windows.length.max() == 32
    rows = windows.rows(np.arange(len(windows))[None])
    ids = windows.ids(rows)[0]
    document = np.repeat(np.arange(DOCUMENTS), (activations.length - 2).numpy())
    for at in (0, 7, len(windows) - 1):
        own = rows[0, at][rows[0, at] >= 0]
        assert len(set(document[own])) == 1
        assert (np.diff(own) == 1).all()
        assert (ids[at][rows[0, at] >= 0] == windows.tokens[own]).all()
    assert (activations.tokens[:, 1:33] == torch.from_numpy(ids[windows.start == 0])).all(1).any()


def test_what_is_shown_fires_where_it_is_marked() -> None:
    found = examples(planted())
    assert len(found) == 30
    own = found.latents[:, None, None]
    assert (found.shown.marked == (found.shown.ids == own)).all()
    assert found.shown.marked.any(axis=2).all()
    assert found.shown.ids.shape[1] == SHOWN
    assert "<< w" in found.shown.with_marks()[0][0]


def test_what_is_judged_fires_in_four_texts_and_in_no_other() -> None:
    found = examples(planted())
    assert ((found.judged.ids == found.latents[:, None, None]).any(axis=2) == found.fires).all()
    assert (found.fires.sum(axis=1) == JUDGED).all()
    assert not found.judged.marked.any()
    assert len({tuple(row) for row in found.fires.tolist()}) > 10  # in random order


def test_nothing_that_is_judged_was_shown() -> None:
    found = examples(planted())
    shown, judged = (
        {(at, *text) for at, texts_ in enumerate(each.ids.tolist()) for text in map(tuple, texts_)}
        for each in (found.shown, found.judged)
    )
    assert not shown & judged
    assert len(shown) + len(judged) == 30 * 29


def test_the_strongest_are_shown_and_judged_in_the_same_parts() -> None:
    """Activations grow along the documents, so that the last windows are the strongest."""
    activations = texts()
    found = examples(planted(), activations=activations)
    windows = windows_of(activations, POSITIONS)
    place = {
        tuple(ids): at for at, ids in enumerate(windows.ids(windows.rows(np.arange(len(windows))[None]))[0].tolist())
    }
    firing = (windows.ids(windows.rows(np.arange(len(windows))[None]))[0] == found.latents[0]).any(axis=1).nonzero()[0]
    shown = {place[tuple(ids)] for ids in found.shown.ids[0].tolist()}
    judged = {place[tuple(ids)] for ids in found.judged.ids[0][found.fires[0]].tolist()}
    top = set(firing[-12:].tolist())
    assert len(shown & top) == 10
    assert len(judged & top) == 2


def test_fuzzing_marks_as_many_right_and_wrong_tokens_of_the_same_texts() -> None:
    found = examples(planted())
    right = found.fuzzed.ids == found.latents[:, None, None]
    assert (found.fits.sum(axis=1) == JUDGED).all()
    assert (found.fuzzed.marked == right)[found.fits].all()
    assert not (found.fuzzed.marked & right)[~found.fits].any()
    counts = found.fuzzed.marked.sum(axis=2)
    assert sorted(counts[0][found.fits[0]]) == sorted(counts[0][~found.fits[0]])


def test_scale_sign_order_copies_and_dead_latents_do_not_matter() -> None:
    own, rng = planted(), np.random.default_rng(1)
    base = examples(own)
    order = rng.permutation(30)
    signed = own * rng.choice([-3.0, 0.01, 2.0], size=30)
    for other, index in (
        (signed, np.arange(30)),
        (own[:, order], order),
        (np.hstack([own, own]), np.tile(np.arange(30), 2)),
        (np.hstack([own, 0 * own]), np.arange(60)),
    ):
        found = examples(other)
        assert (index[found.latents] == base.latents).all()
        for part in ("shown", "judged", "fuzzed"):
            assert (getattr(found, part).ids == getattr(base, part).ids).all()
            assert (getattr(found, part).marked == getattr(base, part).marked).all()


def test_a_sample_is_of_all_latents_and_hangs_on_no_other() -> None:
    few, all_of = examples(planted(), most=10), examples(planted())
    assert (few.latents == all_of.latents[:10]).all()
    assert (np.sort(few.latents) != np.arange(10)).any()
    without = planted()
    without[:, all_of.latents[20:]] = 0
    assert (examples(without, most=10).latents == few.latents).all()
    assert (few.shown.ids == all_of.shown.ids[:10]).all()


def test_latents_that_fire_everywhere_or_nearly_never_are_not_asked_about() -> None:
    latents = planted(3)
    latents[:, 1] = 1.0
    found = examples(latents)
    assert set(found.latents.tolist()) == {0, 2}
    assert (found.alive, found.rare, found.dense) == (3, 0, 1)


def test_what_no_latent_can_be_asked_about_is_said() -> None:
    with pytest.raises(Unscored, match="no latent fires in"):
        examples(np.zeros((VOCABULARY, 4)))
    with pytest.raises(
        Unscored, match="of 4 latents that fire, 0 do so in fewer than 19 of 180 windows and 4 in nearly all"
    ):
        examples(np.ones((VOCABULARY, 4)))
    activations = texts()
    with pytest.raises(Unscored, match="too dense to be kept"):
        examples_of(replace(encoded(activations, planted()), latents=None), activations, POSITIONS, 5)
