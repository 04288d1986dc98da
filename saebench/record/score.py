"""The one record of the system: a score with its uncertainty, or the reason why there is none."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Better = Literal["higher", "lower", "neither"]
"""`neither` is for values that describe an SAE, as L0 does: they are shown and never ranked or gated."""


class Unscored(Exception):
    """Raised by a metric or an SAE where a property has no honest number.

    `broken` tells an SAE that misbehaves (NaN, wrong shapes: the test fails) from a property that does not
    apply to it or cannot be evaluated on it (the test is reported as unscored).
    """

    def __init__(self, reason: str, *, broken: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.broken = broken


class Unreadable(ValueError):
    """An SAE, or what it is measured with, cannot be read: its tests fail with one sentence, and all others run."""


@dataclass(frozen=True)
class Estimate:
    """What a metric returns: a value, its 95% interval, and the per-item values behind it."""

    value: float
    ci_low: float
    ci_high: float
    n: int
    """Number of independent units (clusters), which is what the interval is about."""
    n_unit: str
    items: dict[str, Any] = field(default_factory=dict)
    """Name to one-dimensional array; stored beside the score, so that runs can be compared pairwise later."""
    floor: float | None = None
    """What a useless SAE gets; overrides the marker's."""
    ceiling: float | None = None
    controls: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not all(math.isfinite(v) for v in (self.value, self.ci_low, self.ci_high)):
            raise Unscored(f"value {self.value} [{self.ci_low}, {self.ci_high}] is not finite", broken=True)


class Score(BaseModel):
    """One line of a scores file. See `identity` for what makes two scores the same measurement."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, serialize_by_alias=True)

    record_schema: Literal[1] = Field(default=1, alias="schema")
    property: str
    version: int
    params: dict[str, str | int | float | bool | None] = {}
    sae: str
    sae_digest: str
    model: str
    model_digest: str
    hook: str
    reading: dict[str, str | int | float | bool | None] = {}
    """What else than weights, model, hook and texts it depends on how the SAE was read: see `SAESpec.reading`."""
    corpus: str
    value: float | None = None
    unscored_reason: str | None = None
    broken: bool = False
    """Unscored because the SAE misbehaves, which fails the test, not because the property does not apply to it."""
    better: Better
    unit: str
    ci_low: float | None = None
    ci_high: float | None = None
    n: int = 0
    n_unit: str = ""
    items: str | None = None
    """Content address of the per-item values: `<scores file without suffix>.items/<address>.npz`."""
    floor: float | None = None
    ceiling: float | None = None
    controls: dict[str, float] = {}
    control: bool = False
    """Of an SAE that is a control: shown apart, and never ranked."""
    l0: float | None = None
    fvu: float | None = None
    d_sae: int | None = None
    """Width: how many latents the SAE has."""
    architecture: str | None = None
    facts: dict[str, str | int | float | bool] = Field(default={}, exclude_if=lambda facts: not facts)
    """What else is known of the SAE and has a column: see `saebench.record.facts`."""
    budget: str = ""
    """What `--sae-budget` said: how much was read."""
    seed: int = 0
    """Which repetition of the random stages; what is published and compared is 0."""
    seconds: float = 0.0
    cached: bool = False
    device: str = "cpu"
    dtype: str = "float32"
    batch_size: int | None = None
    """Contexts per forward pass, as memory allowed; the score does not depend on it."""
    revisions: dict[str, str] = {}
    """Commits of the SAE, the model and the texts on the hub; none for what lay on the machine."""
    versions: dict[str, str] = {}
    commit: str = ""
    dirty: bool = False
    created: str = ""

    @model_validator(mode="after")
    def _value_or_reason(self) -> "Score":
        if (self.value is None) == (self.unscored_reason is None):
            raise ValueError("a score has either a value or an unscored_reason")
        if self.value is not None and (self.ci_low is None or self.ci_high is None):
            raise ValueError("a value needs its interval: ci_low and ci_high")
        return self

    def identity(self) -> str:
        """Hash of what was measured on what: property, version, params, SAE and how it is read, model, corpus."""
        return identity(
            property=self.property, version=self.version, params=self.params, sae_digest=self.sae_digest,
            model_digest=self.model_digest, hook=self.hook, reading=self.reading, corpus=self.corpus, seed=self.seed,
        )  # fmt: skip

    def share_fields(self, known: set[str]) -> set[str]:
        """Hold the names of the fields that were given, which are half of a score's memory, together with another one."""
        if self.model_fields_set == known:
            # Its documented name; `model_fields_set` only reads it, and nothing changes a frozen score.
            object.__setattr__(self, "__pydantic_fields_set__", known)
        return self.model_fields_set

    def half_width(self) -> float | None:
        """Half of the 95% interval's width: the number behind the `±`."""
        if self.ci_low is None or self.ci_high is None:
            return None
        return (self.ci_high - self.ci_low) / 2

    def to_line(self) -> str:
        return self.model_dump_json()

    @classmethod
    def from_line(cls, line: str) -> "Score":
        return cls.model_validate_json(line)


def identity(
    *,
    property: str,
    version: int,
    params: Mapping[str, object],
    sae_digest: str,
    model_digest: str,
    hook: str,
    reading: Mapping[str, object],
    corpus: str,
    seed: int = 0,
) -> str:
    """Hash that names one measurement; never the pytest node id, which changes with a rename."""
    key = [property, version, params, sae_digest, model_digest, hook, reading, corpus, *([seed] if seed else [])]
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]
