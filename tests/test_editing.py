"""Effects on spelling, of a planted speller whose margin is known, and of the organism against whole prompts."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import planted_words as words
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from saebench.carriers import carrier_rows
from saebench.metrics import absorption, editing
from saebench.metrics.detectors import Detectors, find_detectors
from saebench.registry import resolve
from saebench.run import Run
from saebench.score import Unscored
from saebench.spelling import Speller
from saebench.store import Store
from saebench.study import Study
from saebench.vocabulary import Split

SCALE = 10.0
"""Logits per unit of a parent's direction."""


class PlantedSpeller:
    """Its margin is linear: so much per unit of the word's own parent direction, or of another direction."""

    def __init__(self, on: words.World, study: Study, direction: Tensor | None = None) -> None:
        concept = torch.from_numpy(study.member.argmax(axis=1))
        parents = on.directions[list(on.parents)]
        self.slope = SCALE * (parents[concept] if direction is None else direction.expand(len(concept), -1))
        self.prefixes, every = study.prefixes, np.arange(len(study.words))
        x = study.x[self.row(every)]
        self.margin = self.margins(every, x)
        self.erased = self.margins(every, study.x.mean(0).expand_as(x))
        self.moved, self.right = self.erased, np.ones(len(every), dtype=bool)

    def row(self, of: NDArray[np.intp]) -> NDArray[np.intp]:
        return of * self.prefixes

    def margins(self, of: NDArray[np.intp], x: Tensor) -> Tensor:
        return (x * self.slope[of]).sum(dim=1)

    def gradients(self, of: NDArray[np.intp], x: Tensor) -> Tensor:
        return self.slope[of]


@cache
def absorbed(delta: float) -> tuple[Study, Detectors]:
    study = words.study_of(words.world(), words.absorbing(words.world(), delta))
    return study, find_detectors(study)


def speller(delta: float, direction: Tensor | None = None) -> Any:
    return PlantedSpeller(words.world(), absorbed(delta)[0], direction)


def test_absorption_by_effect_is_that_by_projection_where_the_model_reads_the_parent() -> None:
    by_effect = editing.causal_rate(*absorbed(1.0), speller(1.0))
    assert by_effect.value == pytest.approx(absorption.full_rate(*absorbed(1.0)).value, abs=0.03)
    effect = by_effect.items["carrier_effect"]
    assert effect == pytest.approx(SCALE, rel=0.15)
    # The probe is no parent alone: it points away from the other parents, by a sixth of its length squared.
    assert by_effect.items["carrier_effect_across"] == pytest.approx(0, abs=0.2 * SCALE)


@pytest.mark.parametrize("delta", [0.0, 0.5])
def test_where_main_latents_are_on_nothing_is_absorbed_by_effect(delta: float) -> None:
    with pytest.raises(Unscored, match="no test word is left"):
        editing.causal_rate(*absorbed(delta), speller(delta))


def test_a_carrier_that_the_model_does_not_read_absorbs_nothing() -> None:
    """The margin hangs on what no latent of a silent word writes, but erasing the words still matters."""
    planted = speller(1.0)
    planted.gradients = lambda of, x: torch.zeros_like(x)
    assert editing.causal_rate(*absorbed(1.0), planted).value == 0


def test_a_model_that_cannot_spell_is_unscored() -> None:
    planted = speller(1.0)
    planted.right[:] = False
    for score in (editing.causal_rate, editing.ablation_share):
        with pytest.raises(Unscored, match="the model spells 0% of the test words"):
            score(*absorbed(1.0), planted)


def test_a_hook_that_comes_too_late_is_unscored() -> None:
    planted = speller(1.0)
    planted.erased = planted.margin - 0.1
    with pytest.raises(Unscored, match=r"lowers the margin by 0\.10 only"):
        editing.causal_rate(*absorbed(1.0), planted)


@pytest.mark.parametrize(("delta", "share"), [(0.0, 1.0), (0.5, 0.9)])
def test_latents_that_hold_the_parent_take_the_spelling_with_them(delta: float, share: float) -> None:
    """At half absorption the main latent writes half at words with a child, a fifth of all."""
    estimate = editing.ablation_share(*absorbed(delta), speller(delta))
    assert estimate.value == pytest.approx(share, abs=0.25)
    assert estimate.controls["probe"] == pytest.approx(1.0, abs=0.1)


def test_removed_is_what_the_latents_write() -> None:
    study, _ = absorbed(0.5)
    rows = np.array([5, 40, 41, 300])
    chosen = [np.array([0, 1]), np.array([], dtype=np.intp), np.arange(study.latents.shape[1]), np.array([3])]
    dense = torch.from_numpy(study.latents[rows].toarray())
    kept = torch.zeros_like(dense)
    for row, latents in enumerate(chosen):
        kept[row, latents] = dense[row, latents]
    assert torch.allclose(editing.removed(study, rows, chosen), kept @ study.decoder, atol=1e-5)


# The organism


@pytest.fixture(scope="module")
def organism(tmp_path_factory: pytest.TempPathFactory) -> Speller:
    spec = resolve("organism/standard-16")[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAEBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        return Run([spec], Store(Path("unused.jsonl")), "smoke").words.speller(spec, "letters")


def some(organism: Speller) -> tuple[NDArray[np.intp], Tensor]:
    test = np.flatnonzero(organism.readings.split == Split.TEST)[::40]
    return test, organism.readings.x.flatten(0, 1)[organism.row(test)]


def test_margins_are_those_of_whole_prompts(organism: Speller) -> None:
    test, x = some(organism)
    edited = x.roll(1, dims=0)
    found, subject = organism.margins(test, edited), organism.subject
    for i, word in enumerate(test):
        prefix = organism.readings.prefix_tokens[organism.row(test)[i] % len(organism.readings.prefix_tokens)]
        tokens = torch.tensor([[*prefix, organism.readings.words[word].token, *organism.suffix]])
        whole = subject.residual(tokens, organism.readings.hook)
        whole[0, len(prefix)] = edited[i]
        logits = subject.logits(tokens, organism.readings.hook, whole)[0, -1, organism.answers]
        own = int(organism.readings.member[word].argmax())
        expected = logits[own] - (logits.sum() - logits[own]) / (len(logits) - 1)
        assert found[i] == pytest.approx(expected.item(), abs=1e-3)


def test_gradients_are_slopes_of_margins(organism: Speller) -> None:
    test, x = some(organism)
    step = 0.01 * torch.nn.functional.normalize(torch.randn(x.shape, generator=torch.Generator().manual_seed(0)), dim=1)
    risen = organism.margins(test, x + step) - organism.margins(test, x - step)
    assert torch.allclose(risen / 2, (organism.gradients(test, x) * step).sum(dim=1), atol=2e-3)


def test_the_organism_spells_and_the_hook_is_early_enough(organism: Speller) -> None:
    test = organism.readings.split == Split.TEST
    assert organism.right[test].mean() > 0.7
    assert (organism.margin - organism.erased)[test].mean() > 5
    assert torch.isnan(organism.margin[~test]).all()


# What a person sees


def test_show_says_who_fires_in_place_of_whom(tmp_path: Path) -> None:
    from factories import make_score

    store, facts = Store(tmp_path / "s.jsonl"), {"value": 0.2, "sae": "mine/sae"}
    rate, effect = absorption.full_rate(*absorbed(1.0)), editing.causal_rate(*absorbed(1.0), speller(1.0))
    store.append(make_score(property="absorption.full_rate_0_6_0", **facts), rate.items)
    store.append(make_score(property="absorption.causal_rate", **facts), effect.items)
    rows = carrier_rows(store, list(store.newest().values()))
    assert rows is not None
    names = ("carrier_concept", "carrier", "carrier_word", "carrier_main")
    concept, carrier, word, main = (rate.items[name][0] for name in names)
    assert f"{concept}: latent {carrier} fires on '{word}' in place of latent {main}" in [row[0] for row in rows]
    assert any(row[-1] != "—" for row in rows)
    assert carrier_rows(store, []) is None


def test_scores_do_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch, organism: Speller) -> None:
    test, x = some(organism)
    whole = organism.margins(test, x)
    monkeypatch.setattr("saebench.spelling.BATCH", 3)
    assert torch.allclose(organism.margins(test, x), whole, atol=1e-4)
    assert torch.allclose(replace(organism, _memories={}).margins(test, x), whole, atol=1e-4)
