"""What a test and its report carry: which SAE, which parameters, the score, what the gate said of it.

Reports travel from pytest-xdist's workers as plain texts under these names.
"""

import json
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from saebench.catalogue.spec import SAESpec
from saebench.compare.judging import Judgement
from saebench.evidence.provider import closure
from saebench.record.properties import Property
from saebench.record.score import Score
from saebench.run.recorder import Asked
from saebench.run.run import Run
from saebench.toy.worlds import has, is_toy, world_of

SCORE, NOTES, JUDGEMENT = "saebench_score", "saebench_notes", "saebench_judgement"
UNREADABLE = "saebench_unreadable"
KNOWN = "known"
"""The evidence that features are known by."""


def carried(record: BaseModel) -> str:
    """A record as a report carries it, also into an XML of junit: JSON of plain ASCII, in which nothing steers."""
    return json.dumps(record.model_dump(mode="json"))


def spec_of(item: Any) -> SAESpec:
    spec: SAESpec = item.callspec.params["sae"]
    return spec


def unknowable(item: Any, run: Callable[[], Run]) -> bool:
    """Whether a test is about features that nobody knows of its SAE, or about what is no part of the exam that it takes."""
    spec = getattr(getattr(item, "callspec", None), "params", {}).get("sae")
    if not isinstance(spec, SAESpec):  # a project's own tests may call something else an SAE
        return False
    asked = KNOWN in closure(item.fixturenames)
    if not asked:
        return spec.loader == "architecture" and is_toy(spec.model or "")
    asked_of = {name: value for name, value in params_of(item).items() if name in ("pairs", "groups")}
    try:
        model = run().models.name(spec)
        return not is_toy(model) or not has(world_of(model), **asked_of)
    except (OSError, ValueError):
        return True


def params_of(item: Any) -> dict[str, Any]:
    """What the test is parametrized with beside the SAE and the repetition."""
    return {name: value for name, value in item.callspec.params.items() if name not in ("sae", "repetition")}


def asked_by(item: Any, prop: Property) -> Asked:
    """What a test that is marked with a property measures: its corpus is that of the evidence that it asks for."""
    return Asked(prop, spec_of(item), params_of(item), tuple(closure(item.fixturenames)))


def repetition_of(item: Any) -> int:
    """Which repetition of the random stages a test is of; 0 for tests that know of none."""
    params = getattr(getattr(item, "callspec", None), "params", {})
    return int(params.get("repetition", 0)) if "sae" in params else 0


def score_of(report: Any) -> Score | None:
    """The score that a report carries."""
    found = _carried(report, SCORE)
    return Score.from_line(found[-1]) if found else None


def judgement_of(report: Any) -> Judgement | None:
    """What the gate said of it."""
    found = _carried(report, JUDGEMENT)
    return Judgement.model_validate_json(found[-1]) if found else None


def notes_of(report: Any) -> list[str]:
    """What a user should read of the run so far."""
    return [line for text in _carried(report, NOTES) for line in text.splitlines()]


def unreadable_of(report: Any) -> list[str]:
    """Why the SAE of the test cannot be read; empty where it can."""
    return _carried(report, UNREADABLE)


def _carried(report: Any, name: str) -> list[str]:
    return [str(value) for key, value in getattr(report, "user_properties", ()) if key == name]
