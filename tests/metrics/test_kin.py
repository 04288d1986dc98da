"""Parents and children of a toy world, with as much absorbed as was planted."""

import numpy as np
import pytest
import told

from saebench.metrics.kin import of_known


@pytest.mark.parametrize("share", [0.0, 0.75])
def test_what_was_planted_is_what_is_said_of_each_pair(share: float) -> None:
    kin = of_known(told.read(told.absorbing(share)))
    assert len(np.unique(kin.name)) == 40 == len(kin.absorbed)
    assert kin.absorbed == pytest.approx(share, abs=0.15)
    assert kin.absorbing.all() == (share > 0.5)
    assert kin.free.all() == (share < 0.5)
    # The child's row is the child's and that share of the parent's, which are at right angles.
    assert (kin.parent * kin.child).sum(1).numpy() == pytest.approx(share / (1 + share**2) ** 0.5, abs=0.01)
