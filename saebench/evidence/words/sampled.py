"""Samples of a toy world in the place of words: the concepts are features that a child implies, and what is true is known."""

import numpy as np

from saebench.evidence.words.concepts import ConceptSet, Plan
from saebench.evidence.words.readings import Readings
from saebench.evidence.words.vocabulary import Word, WordFilter
from saebench.record.score import Unscored
from saebench.toy.sampling import Sample
from saebench.toy.structure import structure
from saebench.toy.worlds import HOOK, World


def sampled_plan(world: World, count: int) -> Plan:
    """What stands for the samples in the identity of scores."""
    concepts = ConceptSet(f"parents-of-{world.name}-{world.digest[:12]}", "{word}", {}, "parents of other features")
    return Plan(concepts, WordFilter(), prefixes=1, examples=0, most=count)


def sampled_readings(world: World, sample: Sample, plan: Plan) -> Readings:
    """Each sample is read once. Raises Unscored where no feature of the world is another's parent."""
    truth, on = structure(world), (sample.features != 0).tocsc()
    parents = np.unique(truth.parent[truth.implying])
    if not len(parents):
        raise Unscored(f"the world {world.name} has no parents with children")
    rows = [on.indices[on.indptr[parent] : on.indptr[parent + 1]] for parent in parents]
    members = {f"feature {p}": frozenset(f"sample {i}" for i in row) for p, row in zip(parents, rows, strict=True)}
    words = tuple(Word(f"sample {i}", i) for i in range(len(sample.x)))
    concepts = ConceptSet(plan.concepts.name, plan.concepts.template, members, plan.concepts.about)
    known = Plan(concepts, plan.filter, plan.prefixes, plan.examples, plan.most)
    return Readings(known, HOOK, words, ((),), sample.x[:, None])
