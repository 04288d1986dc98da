"""Latents that the other SAE lacks are counted, and what they would do to its error is read off."""

import numpy as np
import pytest
import taken_apart as planted
from numpy.typing import NDArray

from saebench.evidence.stitching import Stitched
from saebench.metrics import stitching as metric
from saebench.record.score import Unscored

ROWS = 60
Floats = NDArray[np.float64]


def stitched(cosine: Floats, change: Floats, written: Floats | None = None) -> Stitched:
    unit = planted.unit(planted.normed(planted.drawn(len(cosine), 16)))
    written = np.ones(len(cosine)) if written is None else written
    return Stitched("toy/other", unit, cosine, np.full(len(cosine), 0.3), change, written, written)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_share_without_a_like_is_counted(share: float) -> None:
    cosine = np.where(np.arange(ROWS) < share * ROWS, 0.2, 0.9)
    found = metric.novel(stitched(cosine, np.zeros(ROWS)))
    assert (found.value, found.floor, found.controls["beyond_random"]) == (share, 1.0, share)
    assert found.ci_low <= share <= found.ci_high


def test_what_is_missing_lowers_the_error_by_what_it_writes_and_what_is_there_raises_it() -> None:
    """Whatever the scale of a latent's activations."""
    novel = np.arange(ROWS) < 20
    written = np.where(novel, 100.0, 0.01)
    found = metric.stitched(stitched(np.where(novel, 0.2, 0.9), np.where(novel, -written, written), written))
    assert found.value == pytest.approx(-1.0)
    assert found.controls["reconstruction"] == pytest.approx(1.0)
    assert found.floor == pytest.approx(1.0)
    assert (found.controls["lowers_error"], found.controls["reconstruction_lowers_error"]) == (1.0, 0.0)
    assert found.items["latent"].tolist() == list(range(20))


def test_of_too_few_novel_latents_nothing_is_said() -> None:
    with pytest.raises(Unscored, match="4 of 60 latents have no like in toy/other"):
        metric.stitched(stitched(np.where(np.arange(ROWS) < 4, 0.2, 0.9), np.ones(ROWS)))


def test_where_all_are_novel_there_are_no_others_to_compare_with() -> None:
    assert "reconstruction" not in metric.stitched(stitched(np.full(ROWS, 0.2), np.ones(ROWS))).controls
