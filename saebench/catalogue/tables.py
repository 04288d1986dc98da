"""The tables of a family file, as they are written: which keys there are, and of which kind their values."""

from collections.abc import Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from saebench.record.naming import nearest

KINDS = {"string_type": "str", "int_type": "int", "bool_type": "bool", "dict_type": "dict", "list_type": "list"}
"""What pydantic finds a value not to be."""


class Facts(BaseModel):
    """What may be said of an SAE, in its own table or for all of a family."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    model: str | None = None
    hook: str | None = None
    hook_out: str | None = None
    context_size: int | None = None
    prepend_bos: bool | None = None
    normalisation: str | None = None
    revision: str | None = None
    corpus: str | None = None
    architecture: str | None = None
    d_in: int | None = None
    d_sae: int | None = None
    centred: bool | None = None


class Stanza(Facts):
    """`[sae.NAME]`: one SAE."""

    location: str | None = None
    digest: str | None = None
    control: bool | None = None
    repo: str | None = None
    format: str | None = None


class File(Facts):
    """The whole file; what is inside of its tables is looked at on its own."""

    path: str | None = None
    about: str | None = None
    sae: dict[str, Any] = {}
    controls: list[str] = []
    words: dict[str, Any] = {}
    entities: list[str] = []
    default: list[str] = []
    suite: list[Any] = []


class Suite(BaseModel):
    """`[[suite]]`: a pattern of SAEs. Facts may be templates, or tables by the value of a placeholder."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    name: Any = None
    release: str | None = None
    id: str | None = None
    repo: str | None = None
    path: str | None = None
    format: str | None = None
    values: dict[str, Any] = {}


T = TypeVar("T", bound=BaseModel)
FACTS: Mapping[str, type] = {name: get_args(known.annotation)[0] for name, known in Facts.model_fields.items()}
"""The kind of each fact."""


def validated(kind: type[T], table: Mapping[str, Any], where: str, also: Mapping[str, object] | None = None) -> T:
    """A table of the file. Raises ValueError with one sentence for a key that there is not, or a value of another kind.

    `also` are keys that are looked at elsewhere.
    """
    known = {**kind.model_fields, **(also or {})}
    if unknown := next((key for key in table if key not in known), None):
        raise ValueError(f"{where}: unknown key '{unknown}'.{nearest(unknown, known)} Known: {', '.join(known)}")
    try:
        return kind.model_validate(table)
    except ValidationError as error:
        problem = error.errors()[0]
        name, expected = problem["loc"][0], KINDS.get(problem["type"], problem["msg"])
        raise ValueError(f"{where}: {name} is {table[str(name)]!r:.80}, and should be {expected}") from None
