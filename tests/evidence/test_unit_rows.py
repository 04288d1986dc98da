"""Rows are those of live latents, one for each direction, in an order that hangs on nothing but them."""

import numpy as np
import pytest
import taken_apart as planted
import torch
from scipy import sparse
from torch import Tensor

from saebench.catalogue.spec import SAESpec
from saebench.evidence.trace import Encoded
from saebench.evidence.unit_rows import random_rows, unit_rows
from saebench.record.score import Unscored
from saebench.saes.sae import LoadedSAE


class Matrix:
    def __init__(self, rows: Tensor) -> None:
        self.W_dec = rows

    def encode(self, x: Tensor) -> Tensor:
        return x


def read(rows: Tensor, fired: Tensor | None = None, sign: float = 1.0, dense: bool = False) -> object:
    fired = torch.ones(len(rows)) if fired is None else fired
    latents = sparse.csr_array(sign * np.diag(fired.numpy()))
    sae = LoadedSAE(SAESpec("a/b", "python", "a:b"), Matrix(rows), "digest", "cpu")
    return unit_rows(
        sae, Encoded(fired=fired, latents=None if dense else latents, tokens=torch.zeros(len(rows)).long())
    )


def numbers(found: object) -> list[int]:
    return found.latents.tolist()  # type: ignore[attr-defined,no-any-return]


def test_dead_latents_those_that_write_nothing_and_copies_are_left_out() -> None:
    rows = planted.drawn(60, 16)
    rows[3] = 0.0
    rows[4] = 2.5 * rows[5]
    fired = torch.ones(60)
    fired[7] = 0.0
    found = read(rows, fired)
    assert len(numbers(found)) == 57 == len({4, 5} & set(numbers(found))) + 56
    assert not {3, 7} & set(numbers(found))
    assert found.alive == 58  # type: ignore[attr-defined]


def test_order_scale_and_sign_of_latents_do_not_matter() -> None:
    rows = planted.drawn(60, 16)
    own, turned = read(rows), read(-rows.flip(0) * 3, sign=-1.0)
    assert torch.allclose(own.rows, turned.rows, atol=1e-6)  # type: ignore[attr-defined]
    assert numbers(own) == [59 - n for n in numbers(turned)]
    assert torch.allclose(turned.scale, -rows.flip(0)[numbers(turned)].norm(dim=1) * 3)  # type: ignore[attr-defined]


def test_of_many_a_part_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("saebench.evidence.unit_rows.MOST_ROWS", 60)
    found = read(planted.drawn(100, 8))
    assert len(set(numbers(found))) == 60 == len(found.random)  # type: ignore[attr-defined]
    assert found.alive == 100  # type: ignore[attr-defined]


def test_of_few_or_of_unknown_sides_nothing_is_said() -> None:
    with pytest.raises(Unscored, match="31 directions of latents that are ever active: fewer than 32"):
        read(planted.drawn(31, 8))
    with pytest.raises(Unscored, match="0 directions"):
        read(planted.drawn(40, 8), torch.zeros(40))
    with pytest.raises(Unscored, match="too dense"):
        read(planted.drawn(40, 8), dense=True)


def test_random_rows_have_the_covariance_of_the_rows_and_nothing_else_of_them() -> None:
    rows = planted.normed(planted.drawn(400, 16) * torch.linspace(0.2, 2, 16))
    made = random_rows(rows)
    own, other = (torch.cov(each.T) for each in (rows, made))
    assert (own - other).norm() < 0.15 * own.norm()
    assert made.norm(dim=1).numpy() == pytest.approx(1.0, abs=1e-5)
    # As near to the rows as random rows are to one another.
    assert (made @ rows.T).amax(1).mean() == pytest.approx(float((random_rows(made) @ made.T).amax(1).mean()), abs=0.03)
