"""Few texts to learn from, and classes of unequal size: what is kept of each set, and what a probe says then."""

import numpy as np
import pytest
import torch
from planted_labels import labelled, planted, readings

from saebench.evidence.labels.layout import Layout, asked
from saebench.evidence.labels.parts import Part
from saebench.evidence.labels.settings import imbalanced, rich, scarce
from saebench.metrics import probing_settings
from saebench.record.score import Unscored

torch.set_num_threads(1)
OWN = readings(3, 800)
LAYOUT = rich(Layout.of(OWN, asked(OWN)))


def learned(layout: Layout) -> list[tuple[int, int]]:
    """Of each set, positive and negative texts that are learned from."""
    there = layout.mask(Part.TRAIN, Part.VALIDATION)
    return [tuple((there & side).sum(1)[i] for side in (layout.positive, ~layout.positive)) for i in range(3)]


@pytest.mark.parametrize("examples", [2, 8, 32, 128, 512])
def test_examples_are_as_many_of_both_classes_and_nested(examples: int) -> None:
    found, more = scarce(LAYOUT, examples), scarce(LAYOUT, 2 * examples)
    assert learned(found) == [(examples // 2, examples // 2)] * 3
    for i in range(3):
        few, many = (set(each.text[i, each.mask(Part.TRAIN, Part.VALIDATION)[i]]) for each in (found, more))
        assert few <= many
        assert set(found.text[i, found.mask(Part.TEST)[i]]) == set(LAYOUT.text[i, LAYOUT.mask(Part.TEST)[i]])
    assert (found.positive == OWN.positive[found.text])[found.part != Part.UNUSED].all()


@pytest.mark.parametrize("share", probing_settings.SHARES)
def test_shares_are_of_the_same_number_of_texts(share: float) -> None:
    found = learned(imbalanced(LAYOUT, share, 0.95))
    assert {a + b for a, b in found} == {int(267 / 0.95)}
    assert all(a / (a + b) == pytest.approx(share, abs=0.004) for a, b in found)


def test_more_examples_are_learned_more_from_and_the_truth_needs_few() -> None:
    noise, half = planted(OWN, 0.0), planted(OWN, 0.5)
    values = [probing_settings.scarcity(labelled(OWN, half, noise), n).value for n in (2, 32, 512)]
    assert values == sorted(values)
    assert values[0] < 0.7
    assert values[-1] == pytest.approx(0.75, abs=0.03)  # the other half of its texts are ties with noise
    oracle = probing_settings.scarcity(labelled(OWN, 50 * planted(OWN) * (planted(OWN) >= 1), noise), 8)
    assert oracle.value > 0.95
    assert oracle.floor == pytest.approx(0.5, abs=0.05)
    assert oracle.ceiling is not None
    assert 0.6 < oracle.ceiling < 0.93  # of eight texts in eight dimensions not all is learned
    useless = probing_settings.imbalance(labelled(OWN, noise, noise), 0.05)
    assert useless.value == pytest.approx(0.5, abs=0.06)
    assert probing_settings.imbalance(labelled(OWN, planted(OWN), noise), 0.05).value > 0.95


def test_a_smaller_budget_has_no_score_and_dead_latents_have_none() -> None:
    small = readings()
    for metric in (lambda own: probing_settings.scarcity(own, 2), lambda own: probing_settings.imbalance(own, 0.5)):
        with pytest.raises(Unscored, match=r"512 texts to learn from.*the largest has 80: --sae-budget full"):
            metric(labelled(small, planted(small)))
        with pytest.raises(Unscored, match="no latent is active"):
            metric(labelled(OWN, np.zeros((len(OWN.set_of), 30))))
