"""`[tool.saebench]` of a project's pyproject.toml: its own tolerances, and regressions that it knows of."""

import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError

from saebench.record.naming import nearest, one_sentence
from saebench.record.plain_text import read_toml


class Acknowledged(BaseModel):
    """A regression that is known: it does not fail its test until a date."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    score: str
    """`PROPERTY` or `PROPERTY[SAE]`, with `*` and `?`."""
    reason: str = Field(min_length=1)
    until: datetime.date
    """Last day on which it holds."""

    def covers(self, property: str, sae: str) -> bool:
        # In a pattern of fnmatch, brackets are sets of characters; here they are themselves.
        pattern = self.score.replace("[", "[[]")
        return fnmatchcase(f"{property}[{sae}]", pattern) or fnmatchcase(property, pattern)

    @property
    def exact(self) -> bool:
        """Whether it names one property, and not several of which others may still need it."""
        return not set("*?") & set(self.score.partition("[")[0])

    def expired(self, today: datetime.date) -> bool:
        return today > self.until


class Settings(BaseModel):
    """What the table holds; empty where there is none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tolerances: dict[str, Annotated[float, Strict()]] = {}
    """By property, with `*` and `?`; the last that matches holds."""
    acknowledged: list[Acknowledged] = []

    def tolerance(self, property: str, own: float) -> float:
        """How much worse a property may get: what the project says, else the suite's marker."""
        return next((t for name, t in reversed(self.tolerances.items()) if fnmatchcase(property, name)), own)

    def acknowledgement(self, property: str, sae: str) -> Acknowledged | None:
        return next((known for known in self.acknowledged if known.covers(property, sae)), None)

    def check(self, properties: list[str]) -> None:
        """Raise ValueError for a pattern that matches none of the properties that there are."""
        named = [*self.tolerances, *(known.score.partition("[")[0] for known in self.acknowledged)]
        for name in named:
            if not any(fnmatchcase(known, name) for known in properties):
                hint = nearest(name, properties)
                raise ValueError(
                    f"[tool.saebench] in pyproject.toml names {name!r}, and there is no such property.{hint}"
                )


@one_sentence
def read_settings(folder: Path) -> Settings:
    """Read pyproject.toml in a folder. Raises ValueError with one sentence that names what is wrong."""
    path = folder / "pyproject.toml"
    if not path.is_file():
        return Settings()
    table = read_toml(path).get("tool", {}).get("saebench", {})
    try:
        settings = Settings.model_validate(table)
    except ValidationError as error:
        raise ValueError(f"{path}, [tool.saebench]: {_first(error)}") from None
    if wrong := [name for name, tolerance in settings.tolerances.items() if not 0 <= tolerance < float("inf")]:
        raise ValueError(f"{path}, [tool.saebench]: the tolerance of {wrong[0]} must be a number of 0 or more")
    return settings


def _first(error: ValidationError) -> str:
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    known: dict[str, Any] = Acknowledged.model_fields if len(problem["loc"]) > 1 else Settings.model_fields
    hint = nearest(str(problem["loc"][-1]), known) if problem["type"] == "extra_forbidden" else ""
    return f"{where}: {problem['msg']}.{hint} Known: {', '.join(known)}"
