"""Effects on spelling, of a planted speller whose margin is known, and of the organism against whole prompts."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from string import ascii_uppercase
from types import SimpleNamespace
from typing import Any

import models
import numpy as np
import planted_words as words
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from saebench.boards.carriers import carrier_rows
from saebench.catalogue.registry import resolve
from saebench.evidence.words.concepts import ConceptSet, Plan
from saebench.evidence.words.detectors import Detectors, find_detectors
from saebench.evidence.words.readings import read_probe, read_words
from saebench.evidence.words.speller import ROUNDS, Speller, _asked, make_speller
from saebench.evidence.words.study import Study
from saebench.evidence.words.vocabulary import EDITED, Split, WordFilter, in_turn
from saebench.metrics import absorption, editing
from saebench.record.score import Unscored
from saebench.record.store import Store
from saebench.run.options import Options
from saebench.run.run import Run

NO_CACHE: Any = SimpleNamespace(get=lambda inputs, compute, **_: compute())
MIDDLE = "blocks.1.hook_resid_post"
MADE_UP = ["".join(letters) for letters in product("abcdef", "aeio", "lmnrstv")]
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
        return Run([spec], Store(Path("unused.jsonl")), Options("smoke")).words.speller(spec, "letters")


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
    test = np.flatnonzero(organism.readings.split == Split.TEST)
    x = organism.readings.x.flatten(0, 1)
    own = x[organism.row(test)]
    said = organism.logits(test, own).argmax(dim=1)
    right = said == torch.from_numpy(organism.readings.member[test].argmax(axis=1))
    assert right.double().mean() > 0.7
    assert (organism.margins(test, own) - organism.margins(test, x.mean(0).expand_as(own).clone())).mean() > 5
    assert torch.isnan(organism.margin[organism.readings.split != Split.TEST]).all()


def test_what_was_asked_beforehand_is_what_is_answered_later(organism: Speller) -> None:
    asked = np.flatnonzero(~torch.isnan(organism.margin).numpy())
    own = organism.readings.x.flatten(0, 1)[organism.row(asked)]
    assert torch.allclose(organism.margins(asked, own), organism.margin[asked], atol=1e-4)
    said = organism.logits(asked, own).argmax(dim=1).numpy()
    assert ((said == organism.readings.member[asked].argmax(axis=1)) == organism.right[asked]).all()


def test_no_word_is_asked_for_in_vain(organism: Speller) -> None:
    """Of every letter ten test words, in the order in which words are edited, and more only until ten are right."""
    readings, asked = organism.readings, ~torch.isnan(organism.margin).numpy()
    texts = [word.text for word in readings.words]
    for member in readings.member.T:
        turns = in_turn(texts, np.flatnonzero((readings.split == Split.TEST) & member))
        count = int(asked[turns].sum())
        assert asked[turns[:count]].all()
        assert count == len(turns) or organism.right[turns[:count]].sum() >= EDITED or count == ROUNDS * EDITED
        assert count <= EDITED or organism.right[turns[: count - 1 - (count - 1) % EDITED]].sum() < EDITED


# What it costs


@pytest.mark.parametrize("architecture", models.NETWORKS)
def test_a_short_pass_gives_what_a_whole_one_gives(architecture: str) -> None:
    made = small(architecture)
    assert made._short
    test = np.flatnonzero(made.readings.split == Split.TEST)
    x = made.readings.x.flatten(0, 1)[made.row(test)].roll(1, dims=0)
    whole = replace(made, _memories={})
    vars(whole)["_short"] = False
    for read in ("logits", "margins", "gradients"):
        found, expected = (getattr(speller, read)(test, x) for speller in (made, whole))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", models.NETWORKS)
def test_layers_before_the_hook_run_once_for_a_word(architecture: str) -> None:
    made = small(architecture)
    test = np.flatnonzero(made.readings.split == Split.TEST)
    x = made.readings.x.flatten(0, 1)[made.row(test)]
    made.margins(test, x)
    width, again = len(test) * (1 + len(made.suffix)), positions(made, lambda: [made.gradients(test, x) for _ in "123"])
    assert again == {"blocks.1": 3 * width, "blocks.2": 3 * width, "logits": 3 * width * len(made.answers)}


def test_only_words_that_are_edited_cost_anything(organism: Speller) -> None:
    """Passes over a batch of words alone, each with the tokens up to its answer: fewer than one over all test words."""
    test, fresh = (organism.readings.split == Split.TEST).sum(), replace(organism, _memories={}, _entries={})
    words, width = np.flatnonzero(~torch.isnan(organism.margin).numpy())[:20], 1 + len(organism.suffix)
    x = organism.readings.x.flatten(0, 1)[organism.row(words)]
    ran = positions(fresh, lambda: [fresh.gradients(words, x) for _ in range(editing.INTEGRATION_STEPS)])
    prefixes = sum(map(len, organism.readings.prefix_tokens))
    assert ran["blocks.3"] <= prefixes + editing.INTEGRATION_STEPS * len(words) * width + 2 * width
    asked = positions(fresh, lambda: _asked(fresh))
    assert asked["blocks.3"] < 0.7 * test * width


def small(architecture: str) -> Speller:
    """A speller of a tiny model, whose SAEs would read in the middle of it."""
    letters = ConceptSet("letters", "The{word} has the first letter: {concept}", {})
    lines = [" has", " the", " first", " letter", *models.spaced([*MADE_UP, *ascii_uppercase])]
    subject = models.subject(architecture, models.byte_level(lines))
    readings = read_words(subject, MIDDLE, Plan(letters, WordFilter(case="lower", shortest=3), 2, 4), NO_CACHE)
    return make_speller(subject, readings, read_probe(subject, readings, NO_CACHE), NO_CACHE)


def positions(made: Speller, run: Callable[[], Any]) -> Counter[str]:
    """How many positions pass through the parts of blocks, and how many logits are computed."""
    count: Counter[str] = Counter()
    bridge = made.subject.bridge
    modules = {f"blocks.{i}": block.mlp for i, block in enumerate(bridge.blocks)}
    handles = [
        module.register_forward_hook(lambda _, __, out, name=name: count.update({name: out.shape[:2].numel()}))
        for name, module in modules.items()
    ]
    handles.append(bridge.unembed.register_forward_hook(lambda _, __, out: count.update({"logits": out.numel()})))
    run()
    for handle in handles:
        handle.remove()
    return count


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
    monkeypatch.setattr("saebench.evidence.words.speller.BATCH", 3)
    assert torch.allclose(organism.margins(test, x), whole, atol=1e-4)
    assert torch.allclose(replace(organism, _memories={}).margins(test, x), whole, atol=1e-4)
