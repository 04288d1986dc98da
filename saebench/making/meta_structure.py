"""The six meta-SAEs of one SAE: of its rows and of random rows, by two seeds, and one without the rows held out."""

import numpy as np
import torch
from torch import Tensor

from saebench.evidence.meta_sae import MetaSAE, MetaStructure, Taken
from saebench.evidence.unit_rows import UnitRows
from saebench.making.meta_training import Task, train_together
from saebench.stats.statistics import Bools, seed_of

WIDTH = 4
"""Rows per meta-latent."""
HELD_OUT = 0.2


def meta_structure(unit: UnitRows, steps: int) -> MetaStructure:
    """Train them side by side, for as many steps each."""
    count = len(unit.rows)
    drawn = np.random.default_rng(seed_of("meta_structure.held_out")).permutation(count)
    unseen = np.isin(np.arange(count), drawn[: round(HELD_OUT * count)])
    tables = (unit.rows, unit.random)
    made = train_together([task for rows in tables for task in _tasks(rows, unseen)], count // WIDTH, steps)
    own, random = (_taken(rows, unseen, made[3 * number : 3 * number + 3]) for number, rows in enumerate(tables))
    return MetaStructure(unit, own, random)


def _tasks(rows: Tensor, unseen: Bools) -> list[Task]:
    seeds = [seed_of(f"meta_structure.seed_{number}") for number in (0, 1)]
    return [Task(rows, seeds[0]), Task(rows, seeds[1]), Task(rows[torch.from_numpy(~unseen)], seeds[0])]


def _taken(rows: Tensor, unseen: Bools, made: list[MetaSAE]) -> Taken:
    return Taken(rows, first=made[0], second=made[1], unseen=unseen, blind=made[2])
