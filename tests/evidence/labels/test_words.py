"""What latents fire on, as a person reads it."""

import numpy as np
from scipy import sparse

from saebench.evidence.labels.readings import Plan, Readings
from saebench.evidence.labels.words import last_word, latents_with_words
from saebench.organism.labelled import LabelledSet


def readings(*texts: str) -> Readings:
    import torch

    own = LabelledSet("places", texts, (True, False) * (len(texts) // 2))
    return Readings(Plan("planted", (own,), "last"), torch.zeros(len(texts), 2), np.arange(len(texts)))


def test_words_are_those_of_the_largest_values_first_and_each_once() -> None:
    own = readings(" in Rome", " to Paris", " from Rome", " by Oslo", " at Kyoto", " in Bonn")
    dense = np.zeros((6, 4))
    dense[:, 1] = [3, 2, 4, -5, 0, 1]
    dense[4, 3] = 1
    found = latents_with_words(sparse.csr_array(dense), own, np.array([[3, 1], [1, 0]]))
    assert found == ["3 (Kyoto), 1 (Oslo, Rome, Paris)", "1 (Oslo, Rome, Paris), 0 ()"]


def test_a_text_without_a_word_and_a_very_long_word_are_no_trouble() -> None:
    assert last_word("  ") == ""
    assert len(last_word("x" * 1000)) == 20
