"""One document in the form of SAEBench's evals (schema of sae-bench 0.6.0): what all of its evals have in common."""

import datetime
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from saebench.catalogue.registry import resolve
from saebench.record.score import Score
from saebench.record.store import Store
from saebench.record.version import __version__

Json = dict[str, Any]
Key = tuple[str, tuple[tuple[str, object], ...]]
LONGEST = 200
"""Characters of an SAE's name in that of a file."""


class Left(Exception):
    """Why SAEBench's schema has no place for an SAE's scores."""


@dataclass(frozen=True)
class Measured:
    """The scores of one SAE, by property and parameters; the newest where texts or words differ."""

    store: Store
    scores: Mapping[Key, Score]

    @classmethod
    def of(cls, store: Store, scores: Sequence[Score]) -> "Measured":
        newest = sorted(scores, key=lambda score: score.created)
        return cls(store, {(score.property, tuple(sorted(score.params.items()))): score for score in newest})

    def get(self, name: str, **params: object) -> Score | None:
        """A score, with a value or without."""
        return self.scores.get((name, tuple(sorted(params.items()))))

    def value(self, name: str, **params: object) -> float | None:
        score = self.get(name, **params)
        return None if score is None else score.value

    def by_item(self, name: str, **params: object) -> dict[str, float]:
        """Name of a labelled set, a letter, and so on, to its value; empty where the items do not tell."""
        score = self.get(name, **params)
        items = self.store.load_items(score) if score is not None else {}
        if not {"item", "contribution"} <= set(items):
            return {}
        return {str(item): float(value) for item, value in zip(items["item"], items["contribution"], strict=True)}

    def unscored(self, names: Sequence[str]) -> str:
        """Why none of some properties has a value."""
        reasons = [score.unscored_reason for (name, _), score in self.scores.items() if name in names]
        return f"is unscored: {reasons[0]}" if reasons else f"has no score of {' or '.join(names)}"


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one eval adds to a document."""

    kind: str
    """Its `eval_type_id`."""
    config: Json
    metrics: Json
    """Category to name to number, None where there is none."""
    scores: Sequence[Score]
    """That the numbers are of."""
    details: list[Json] = field(default_factory=list)
    definitions: Mapping[str, str] = field(default_factory=dict)
    """Of numbers that SAEBench defines otherwise, what stands here."""
    beside: Json = field(default_factory=dict)
    """What the schema has no place for."""


def document(part: Part) -> Json:
    first, newest = part.scores[0], max(score.created for score in part.scores)
    release, _, sae_id = _release(first.sae).partition("/")
    facts = {
        "model_name": first.model, "hook_name": first.hook, "architecture": first.architecture, "d_sae": first.d_sae,
    }  # fmt: skip
    identities = " ".join(["saebench", *(score.identity() for score in part.scores)])
    return {
        "eval_type_id": part.kind, "eval_config": part.config,
        "eval_id": str(uuid.uuid5(uuid.NAMESPACE_URL, identities)), "datetime_epoch_millis": _milliseconds(newest),
        "eval_result_metrics": part.metrics, "eval_result_details": part.details,
        "sae_bench_commit_hash": f"not SAEBench, but saebench {__version__}", "sae_lens_id": sae_id or None,
        "sae_lens_release_id": release or None, "sae_lens_version": first.versions.get("sae-lens"),
        "sae_cfg_dict": {name: value for name, value in facts.items() if value is not None},
        "eval_result_unstructured": {
            "measured_by": f"saebench {__version__}", "commit": first.commit, "budget": first.budget,
            "sae": first.sae, "sae_digest": first.sae_digest, "model_digest": first.model_digest,
            "scores": {_title(score): _uncertain(score) for score in part.scores},
            "definitions": dict(part.definitions), **part.beside,
        },
    }  # fmt: skip


def model_config(score: Score, *, batch: bool = True) -> Json:
    """What all evals call alike."""
    sizes = {"llm_batch_size": score.batch_size} if batch and score.batch_size else {}
    return {"model_name": score.model, "llm_dtype": score.dtype, "random_seed": score.seed, **sizes}


def file_name(found: Json, sae: str) -> str:
    """As SAEBench calls its files."""
    release, sae_id = found["sae_lens_release_id"], found["sae_lens_id"]
    return re.sub(r"[^\w.+~@-]", "_", f"{release}_{sae_id}" if release else sae)[:LONGEST] + "_eval_results.json"


def _title(score: Score) -> str:
    params = ",".join(f"{key}={value}" for key, value in sorted(score.params.items()))
    return f"{score.property}[{params}]" if params else score.property


def _uncertain(score: Score) -> Json:
    names = (
        "version", "corpus", "value", "ci_low", "ci_high", "n", "n_unit", "floor", "ceiling", "unscored_reason",
    )  # fmt: skip
    return {name: value for name in names if (value := getattr(score, name)) is not None}


@cache
def _release(sae: str) -> str:
    """`RELEASE/SAE_ID` of sae-lens's registry; empty where it is not in there."""
    try:
        (spec,) = resolve(sae)
    except (ValueError, OSError):
        return ""
    return spec.release or ""


def _milliseconds(created: str) -> int:
    try:
        return int(datetime.datetime.fromisoformat(created).timestamp() * 1000)
    except ValueError:
        return 0
