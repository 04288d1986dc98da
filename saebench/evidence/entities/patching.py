"""What the model answers where activations at an entity are made to be in part those at another one."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from saebench.evidence.entities.asked import Asked
from saebench.stats.statistics import Bools, Floats, Ints

Patch = Callable[[int, Ints, Ints, Ints], Tensor]
"""Of a question, attributes (n,), bases (n,) and sources (n,): what stands in the bases' place, (way, n, site, d_out)."""
Sums = dict[str, Floats]
"""By name (base entity, question): see `tally`."""
CAUSE, ISOLATION = ("changed", "asked"), ("kept", "others")


def tally(
    asked: Asked, patch: Patch, base: Int[np.ndarray, " pair"], source: Int[np.ndarray, " pair"]
) -> list[Sums]:  # fmt: skip
    """How often the model answers as it should with an attribute's part of each base replaced by that of its source.

    For each way in which `patch` replaces it; all of them go through the model together. Column by column, an attribute
    is patched and asked for in one sentence: the answer `changed` to the source's value in so many that were `asked`.
    With the same patch, others are asked for in the sentence of the same number: the base's value is `kept`, of so many
    `others`. A pair counts where both values differ and the model is right about all of them by itself.
    """
    found: list[Sums] = []
    for question in range(len(asked.questions)):
        rows = list(asked_in(asked, question, base, source))
        here, lengths = np.concatenate([pairs for _, pairs in rows]), [len(pairs) for _, pairs in rows]
        patched = np.repeat([attribute for attribute, _ in rows], lengths)
        said = answers(asked, question, base[here], patch(question, patched, base[here], source[here]))
        found = found or [_nothing(asked) for _ in said]
        for sums, of_way in zip(found, said, strict=True):
            for (attribute, pairs), own in zip(rows, np.split(of_way, np.cumsum(lengths)[:-1]), strict=True):
                _count(sums, asked, question, attribute, base[pairs], source[pairs], own)
    return found


def _nothing(asked: Asked) -> Sums:
    return {name: np.zeros((len(asked.names), len(asked.questions))) for name in (*CAUSE, *ISOLATION)}


def answers(
    asked: Asked, question: int, base: Int[np.ndarray, " n"], x: Float[Tensor, "way n site d"]
) -> Int[np.ndarray, "way n"]:
    """(way, n) index of the value that the model answers with x at the bases.

    It is not run where nothing is patched, nor where the way before put in the same.
    """
    own = asked.target[question][base][None]
    known: Bools = (x == own).flatten(2).all(dim=2).numpy()
    again: Bools = (x == torch.cat([own, x[:-1]])).flatten(2).all(dim=2).numpy()
    way, row = np.nonzero(~(known | again))
    value: Ints = asked.value[base, question // asked.templates]
    said = np.tile(value, (len(x), 1))
    if len(row):
        at = base[row]
        with torch.no_grad():
            logits = asked.questions[question].logits(
                asked.tokens[question][at], asked.entering[question][at], x[way, row]
            )
        said[way, row] = logits.argmax(dim=1).numpy()
    for number in range(1, len(said)):
        said[number] = np.where(again[number], said[number - 1], said[number])
    return said


def asked_in(
    asked: Asked, question: int, base: Int[np.ndarray, " pair"], source: Int[np.ndarray, " pair"]
) -> Iterator[tuple[int, Int[np.ndarray, " _"]]]:
    """Attributes that are patched, and the pairs of which the question is then asked."""
    usable = asked.usable(question, base, source)
    own, template = divmod(question, asked.templates)
    for patched in range(len(asked.facts.attributes)):
        both = usable & asked.usable(asked.number(patched, template), base, source) if patched != own else usable
        yield patched, np.flatnonzero(both)


def _count(
    sums: Sums, asked: Asked, question: int, patched: int, base: Ints, source: Ints, said: Ints
) -> None:  # fmt: skip
    own, template = divmod(question, asked.templates)
    hit, all_of = CAUSE if patched == own else ISOLATION
    wanted = asked.value[source if patched == own else base, own]
    column = asked.number(patched, template)
    np.add.at(sums[hit][:, column], base, (said == wanted).astype(float))
    np.add.at(sums[all_of][:, column], base, 1.0)


def scores(sums: Sums) -> Float[np.ndarray, " question"]:
    """(question,) mean of the shares that changed and that were kept; NaN where one of them is not known."""
    total = {name: values.sum(axis=0) for name, values in sums.items()}
    with np.errstate(divide="ignore", invalid="ignore"):
        cause, isolation = (total[hit] / total[all_of] for hit, all_of in (CAUSE, ISOLATION))
    return np.asarray((cause + isolation) / 2)


def by_attribute(asked: Asked, of_question: Float[np.ndarray, " question"]) -> Float[np.ndarray, " attribute"]:
    """(attribute,) mean over its templates; 0 where none is known."""
    table = of_question.reshape(-1, asked.templates)
    known: Bool[np.ndarray, "attribute template"] = np.isfinite(table)
    return np.asarray(np.where(known, table, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1))
