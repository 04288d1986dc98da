"""The side of a latent: nothing hangs on the sign that an SAE writes it with."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import sparse

from saebench.saes.sparsity import sides, to_sparse, turned

Floats = NDArray[np.float32]


def side_of(*columns: list[float]) -> list[float]:
    found: list[float] = sides(to_sparse(torch.tensor(columns).T)).tolist()
    return found


def mixed() -> Floats:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((200, 40)) * (rng.random((200, 40)) < 0.1)
    values[:, 5] = np.where(np.arange(200) < 6, [[1.0, -1.0][i % 2] for i in range(200)], 0.0)  # they cancel
    return values.astype(np.float32)


def test_latents_that_are_never_negative_stay_as_they_are() -> None:
    latents = sparse.csr_array(np.abs(mixed()))
    assert set(sides(latents).tolist()) == {1.0}
    assert (turned(latents).data == latents.data).all()


def test_a_latent_is_turned_by_what_its_activations_add_up_to() -> None:
    assert side_of([-1.0, 0.0, -2.0], [3.0, -1.0, 0.0], [-3.0, 1.0, 1.0]) == [-1, 1, -1]


def test_where_activations_cancel_the_first_is_positive() -> None:
    assert side_of([0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [0.1, 0.2, -0.3]) == [-1, 1, 1]


def test_a_latent_that_is_never_active_is_turned_as_most_are() -> None:
    assert side_of([0.0, 0.0], [-1.0, -1.0], [-1.0, 0.0], [1.0, 0.0]) == [-1, -1, -1, 1]
    assert side_of([0.0, 0.0]) == [1]


@pytest.mark.parametrize("chosen", [slice(None), slice(None, None, 3), [5], []])
def test_turned_latents_do_not_depend_on_their_signs(chosen: slice | list[int]) -> None:
    values = mixed()
    changed = values.copy()
    changed[:, chosen] *= -1
    found, expected = (turned(sparse.csr_array(each)).toarray() for each in (changed, values))
    assert (found == expected).all()
    assert (found.sum(axis=0) >= -1e-5).all()
