"""Which fields of a configuration are obeyed, which are known to be harmless, and what is said of all others."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from math import isfinite
from types import NoneType, UnionType
from typing import Any, get_args

from saebench.record.naming import nearest, shown

SHOWN = 60
"""Characters of a name or a value from a file, in a sentence."""
MISSPELT = 0.85
"""As alike as `hook_name` and `hook_nme`: where anything may be noted, a less similar name is a note."""


Kind = type | UnionType
FACT = object
"""Whatever an SAE may be said to be, which is checked where the facts of an SAE are."""


@dataclass(frozen=True)
class Fields:
    """The fields of a table, in three classes; what is in none of them is refused."""

    obeyed: Mapping[str, Kind] = field(default_factory=dict)
    """Part of the computation, or of where and on what the SAE reads; of the kind that it has to be."""
    harmless: Iterable[str] = ()
    """How it was trained, and bookkeeping: nothing that it computes depends on them."""
    only: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """Harmless with these values alone."""
    tables: "Mapping[str, Fields]" = field(default_factory=dict)
    """Tables within; they may be null."""
    free: bool = False
    """Whether anyone may note here what they like, so that only what looks like a known field is refused."""

    def check(self, table: Mapping[str, Any], where: object) -> None:
        """Raise ValueError with one sentence for a field, or a value, that may change what the SAE computes."""
        for name, value in table.items():
            if name in self.tables:
                self._check_table(name, value, where)
            elif name in self.only:
                check_value(name, value, self.only[name], where)
            elif name in self.obeyed:
                check_kind(name, value, self.obeyed[name], where)
        known = {*self.known}
        self._check_unknown([name for name in table if name not in known], where)

    def _check_table(self, name: str, value: Any, where: object) -> None:
        if value is None:
            return
        if not isinstance(value, dict):
            raise ValueError(f"{where}: {name} is {brief(value)}, and should be a table")
        self.tables[name].check(value, f"{where}: {name}")

    def _check_unknown(self, names: list[str], where: object) -> None:
        if names and not self.free:
            raise ValueError(unknown("field", names, where, self.known))
        for name in names:
            if get_close_matches(name, self.known, n=1, cutoff=MISSPELT):
                raise ValueError(f"{where}: unknown field {brief(name)}.{nearest(name, self.known)}")

    @property
    def known(self) -> list[str]:
        return [*self.obeyed, *self.harmless, *self.only, *self.tables]


def check_kind(name: str, value: Any, kind: Kind, where: object) -> None:
    """Whether it is of its kind: true is no number, and NaN and infinity are none."""
    if kind is FACT:
        return
    kinds = get_args(kind) or (kind,)
    fits = isinstance(value, kind) and (bool in kinds or not isinstance(value, bool))
    if not fits or (isinstance(value, float) and not isfinite(value)):
        names = " or ".join("null" if one is NoneType else one.__name__ for one in kinds)
        raise ValueError(f"{where}: {name} is {brief(value)}, and should be {names}")


def check_value(name: str, value: Any, known: tuple[Any, ...], where: object) -> None:
    """Whether it is one of the values that are known, and of the same type: 1 is not true."""
    if not any(type(value) is type(one) and value == one for one in known):
        alone = " or ".join(map(brief, known))
        raise ValueError(f"{where}: {name} is {brief(value)}, which is not evaluated here: only {alone} is understood")


def unknown(what: str, names: Sequence[str], where: object, known: Iterable[str]) -> str:
    """The sentence that refuses what is not understood."""
    some = ", ".join(map(brief, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return (
        f"{where}: unknown {what} {some}, which may change what the SAE computes.{nearest(names[0], known)}"
        " If it does not, take it out; if it does, give the SAE as a Python object with encode and decode"
    )


def brief(value: object) -> str:
    return shown(repr(value), SHOWN)
