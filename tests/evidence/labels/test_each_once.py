"""A text that stands in several labelled sets is encoded once, and says the same in each."""

import numpy as np
import torch
from torch import Tensor

from saebench.catalogue.spec import SAESpec
from saebench.evidence.labels.labelled import latents_of
from saebench.evidence.labels.readings import Plan, Readings
from saebench.organism.labelled import LabelledSet
from saebench.saes.sae import LoadedSAE


class Counting:
    def __init__(self) -> None:
        self.rows = 0

    def encode(self, x: Tensor) -> Tensor:
        self.rows += len(x)
        return torch.relu(x)


def readings(*tokens: int) -> Readings:
    """Two sets: the second has the first's last text and one of its own."""
    each = [torch.randn(count, 4, generator=torch.Generator().manual_seed(count)) for count in tokens]
    each.insert(2, each[1])
    sets = LabelledSet("a", ("x", "y"), (True, False)), LabelledSet("b", ("y", "z"), (True, False))
    text_of = np.repeat(np.arange(4), [len(one) for one in each])
    return Readings(Plan("both", sets, "mean"), torch.cat(each), text_of)


def sae_of(source: Counting) -> LoadedSAE:
    return LoadedSAE(SAESpec(name="counting", loader="object", location="counting"), source, "digest", "cpu")


def test_what_stands_in_two_sets_is_encoded_once() -> None:
    source, read = Counting(), readings(3, 5, 2)
    found = latents_of(sae_of(source), read).toarray()
    means = [torch.relu(read.x[read.text_of == text]).mean(0).numpy() for text in range(4)]
    np.testing.assert_allclose(found, np.stack(means), rtol=1e-6)
    assert source.rows == 3 + 5 + 2


def test_texts_of_one_row_each_are_their_latents() -> None:
    read = readings(1, 1, 1)  # all of one seed: one and the same activation
    source = Counting()
    found = latents_of(sae_of(source), read).toarray()
    np.testing.assert_allclose(found, torch.relu(read.x).numpy(), rtol=1e-6)
    assert source.rows == 1
