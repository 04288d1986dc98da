"""What can be reached without an SAE: the linear map of activations that changes one attribute and leaves others alone."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from saebench.evidence.entities.asked import Asked, Part
from saebench.evidence.entities.gradients import Gradients
from saebench.evidence.entities.patching import Sums, by_attribute, scores, tally
from saebench.evidence.entities.subspace import trained
from saebench.stats.statistics import Ints

RIDGES = (1e-4, 1e-3, 1e-2)
"""What is added to the second moments of gradients, whose trace is 1 for each attribute; chosen on validation entities."""
RANK = 0.25
"""Of a trained subspace: a share of the dimensions."""


def whole(
    asked: Asked, question: int, _: Int[np.ndarray, " n"], base: Int[np.ndarray, " n"], source: Int[np.ndarray, " n"]
) -> Float[Tensor, "1 n site d"]:
    """The source's activation in the place of the base's: whatever the model knows there comes along."""
    return asked.target[question][source][None]


def mapped(
    maps: Sequence[Float[Tensor, "attribute d d"]], asked: Asked, question: int, patched: Int[np.ndarray, " n"],
    base: Int[np.ndarray, " n"], source: Int[np.ndarray, " n"],
) -> Float[Tensor, "way n site d"]:  # fmt: skip
    """The base's activation and the patched attribute's part of its difference to the source's, by each of the maps."""
    x = asked.target[question]
    made = x[base].repeat(len(maps), 1, 1, 1)
    for way, of_attribute in enumerate(maps):
        for attribute, linear in enumerate(of_attribute):
            rows = np.flatnonzero(patched == attribute)
            made[way, rows] += (x[source[rows]] - x[base[rows]]) @ linear.T
    return made


def maps(asked: Asked, found: Gradients, ridge: float) -> Float[Tensor, "attribute d d"]:
    """Per attribute, what least squares finds to leave the gradients of its own answers and nothing of the others'.

    With S the second moment of an attribute's gradients g, the map M that minimises the mean of |M'g - g|^2 over its
    own, |M'g|^2 over the others', and the ridge's share of M, is (sum S + ridge)^-1 S.
    """
    moments = torch.stack([_moment(asked, found, attribute) for attribute in range(len(asked.facts.attributes))])
    every = moments.sum(0) + ridge * torch.eye(moments.shape[-1], dtype=moments.dtype)
    solved: Tensor = torch.linalg.solve(every, moments)
    return solved.float()


def _moment(asked: Asked, found: Gradients, attribute: int) -> Tensor:
    """(d, d) of an attribute's gradients, with trace 1; where there are none, 0."""
    slopes = [found.slope[asked.number(attribute, template)].flatten(0, 1) for template in range(asked.templates)]
    g = torch.cat(slopes).double()
    moment = g.T @ g
    return moment / moment.trace().clamp(min=1e-30)


def yardsticks(asked: Asked, found: Gradients, most: int, steps: int) -> dict[str, Sums]:
    """Sums on test entities of the whole activation, `full`, and of the best of all maps for each attribute, `dense`.

    Where there are steps of training, a trained subspace is among them.
    """
    validation, test = (asked.pairs(part, most) for part in (Part.VALIDATION, Part.TEST))
    every = [maps(asked, found, ridge) for ridge in RIDGES]
    best = _best(asked, every, validation)
    if steps:
        rank = max(1, round(RANK * best.shape[-1]))
        best = _best(asked, [best, trained(asked, best, rank, steps)], validation)
    full, dense = partial(whole, asked), partial(mapped, [best], asked)
    return {"full": tally(asked, full, *test)[0], "dense": tally(asked, dense, *test)[0]}


def _best(asked: Asked, every: Sequence[Tensor], pairs: tuple[Ints, Ints]) -> Float[Tensor, "attribute d d"]:
    """For each attribute the map that scores best on pairs; of equals, the first."""
    sums = tally(asked, partial(mapped, every, asked), *pairs)
    reached = np.argmax([by_attribute(asked, scores(each)) for each in sums], axis=0)
    return torch.stack([every[at][attribute] for attribute, at in enumerate(reached.tolist())])
