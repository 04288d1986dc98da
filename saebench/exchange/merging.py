"""Scores files of several machines to one, unless they contradict each other."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic_core import from_json

from saebench.record.lines import BOM
from saebench.record.naming import natural, nearest, one_sentence
from saebench.record.score import Score
from saebench.record.store import Store

ROUNDING = 1e-3
"""Share of the half width by which two machines may differ in one score: the last bits of float32, not another score."""


@dataclass(frozen=True)
class Line:
    """A score and where it stands."""

    store: Store
    number: int
    score: Score

    def __str__(self) -> str:
        return f"{self.store.path}, line {self.number}"


@dataclass(frozen=True)
class Merged:
    """What several files hold together, in order of first appearance, and what a reader should know of it."""

    lines: list[Line]
    repeated: int
    """Scores that stood in more than one file."""
    notes: list[str]


@one_sentence
def merge(paths: Sequence[Path], target: Path) -> Merged:
    """Join scores files into `target`, which may be one of them; the newest of equal measurements stands.

    Raises ValueError with one sentence, before anything is written, if a file cannot be read, items are missing or
    damaged, or two lines are of different schemas, of different weights under one name, or disagree on a score.
    """
    if target.suffix != ".jsonl":
        # The name without its suffix is that of the items' folder, which another scores file may have.
        raise ValueError(f"--to {target}: a scores file ends in .jsonl")
    output = Store(target)
    with output.locked():
        merged = joined([Store(path) for path in paths])
        output.path.parent.mkdir(parents=True, exist_ok=True)
        output.replace([(line.score, line.store) for line in merged.lines])
    return merged


def joined(stores: Sequence[Store]) -> Merged:
    """Join what the stores hold, without a look at items."""
    _check_files(stores)
    of_store = [_newest(store) for store in stores]
    of_store, dropped = [_current(lines) for lines in of_store], of_store
    lines = [line for current in of_store for line in current]
    _check_digests(lines)
    kept: dict[str, Line] = {}
    for line in lines:
        other = kept.setdefault(line.score.identity(), line)
        _check_agreement(other, line)
        if line.score.created > other.score.created:
            kept[line.score.identity()] = line
    notes = _earlier_weights(sum(map(len, dropped)) - len(lines)) + _versions([line.score for line in kept.values()])
    return Merged(list(kept.values()), len(lines) - len(kept), notes)


def _check_files(stores: Sequence[Store]) -> None:
    first: tuple[str, object] | None = None
    for store in stores:
        if not store.path.is_file():
            siblings = map(str, store.path.parent.glob("*.jsonl"))
            raise ValueError(f"{store.path}: no such file of scores.{nearest(str(store.path), siblings)}")
        for number, line in store.lines():
            here = f"{store.path}, line {number}", _schema(line)
            first = first or here
            if here[1] != first[1]:
                raise ValueError(
                    f"{first[0]} has schema {first[1]} and {here[0]} has schema {here[1]}: scores of two schemas cannot"
                    " be joined, so score one of them again with the saebench of the other"
                )


def _schema(line: bytes) -> object:
    """What a line says its schema is; a line that is no score is left to the store, which says so."""
    try:
        found = from_json(line.removeprefix(BOM))
    except ValueError:
        return 1
    return found.get("schema", 1) if isinstance(found, dict) else 1


def _newest(store: Store) -> list[Line]:
    lines = [Line(store, number, score) for number, score in store.numbered().items()]
    if not lines:
        raise ValueError(f"{store.path} holds no scores: leave it out")
    return list({line.score.identity(): line for line in lines}.values())


def _current(lines: list[Line]) -> list[Line]:
    """Leave out scores of weights that the same file has newer ones of."""
    dated = sorted((line.score for line in lines), key=lambda score: score.created)
    newest = {_row(score): _weights(score) for score in dated}
    return [line for line in lines if newest[_row(line.score)] == _weights(line.score)]


def _row(score: Score) -> tuple[str, str]:
    return score.sae, score.model


def _weights(score: Score) -> tuple[str, str]:
    return score.sae_digest, score.model_digest


def _check_digests(lines: Sequence[Line]) -> None:
    seen: dict[tuple[str, ...], tuple[Line, str]] = {}
    for line in lines:
        score = line.score
        sae, model = f"SAE {score.sae}", f"model {score.model}"
        # A model's digest says after its first words, `centred` or a dtype, which weights it has.
        for name, digest, key in (
            (sae, score.sae_digest, (sae, score.model)),
            (f"{model} under {sae}", score.model_digest, (sae, score.model, "read")),
            (model, score.model_digest.rpartition(" ")[2], (model,)),
        ):
            first, before = seen.setdefault(key, (line, digest))
            if before != digest:
                raise ValueError(
                    f"{first} and {line} are of different weights: {name} has digest {_short(before, digest)} in the"
                    f" one and {_short(digest, before)} in the other; rename it in one file, or leave one out"
                )


def _short(digest: str, other: str) -> str:
    return digest[:12] if digest[:12] != other[:12] else digest


def _check_agreement(line: Line, other: Line) -> None:
    """Timings are of the machine that they were taken on, and differ from run to run."""
    if "machine" not in line.score.params and not agree(line.score, other.score):
        said = [s.unscored_reason if s.value is None else f"{s.value:.6g}" for s in (line.score, other.score)]
        raise ValueError(
            f"{line} and {other} contradict each other: {line.score.property}[{line.score.sae}] is {said[0]} in the one"
            f" and {said[1]} in the other; score it again and remove the line that is wrong"
        )


def agree(score: Score, other: Score, share: float = ROUNDING) -> bool:
    """Whether two scores of one measurement are the same up to a share of their half width, or both unscored."""
    if score.value is None or other.value is None:
        return score.value is other.value
    most = share * min(score.half_width() or 0.0, other.half_width() or 0.0)
    return math.isclose(score.value, other.value, rel_tol=1e-9, abs_tol=most)


def _earlier_weights(count: int) -> list[str]:
    return [f"{count} scores of earlier weights are left out: their file has newer ones"] if count else []


def _versions(scores: Sequence[Score]) -> list[str]:
    """Properties with several versions, which are not comparable."""
    found: dict[str, set[int]] = {}
    for score in scores:
        found.setdefault(score.property, set()).add(score.version)
    return [
        f"{name} has versions {' and '.join(map(str, sorted(versions)))}, which stand in columns of their own"
        for name, versions in sorted(found.items(), key=lambda entry: natural(entry[0]))
        if len(versions) > 1
    ]
