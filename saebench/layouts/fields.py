"""Which fields of a configuration are obeyed, which are known to be harmless, and what is said of all others."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from saebench.naming import nearest, shown

SHOWN = 60
"""Characters of a name or a value from a file, in a sentence."""
MISSPELT = 0.85
"""As alike as `hook_name` and `hook_nme`: where anything may be noted, a less similar name is a note."""


@dataclass(frozen=True)
class Fields:
    """The fields of a table, in three classes; what is in none of them is refused."""

    obeyed: Iterable[str] = ()
    """Part of the computation, or of where and on what the SAE reads."""
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
            elif name not in {*self.obeyed, *self.harmless}:
                self._check_unknown(name, where)

    def _check_table(self, name: str, value: Any, where: object) -> None:
        if value is None:
            return
        if not isinstance(value, dict):
            raise ValueError(f"{where}: {name} is {brief(value)}, and should be a table")
        self.tables[name].check(value, f"{where}: {name}")

    def _check_unknown(self, name: str, where: object) -> None:
        hint = nearest(name, self.known)
        if not self.free:
            raise ValueError(unknown("field", name, where, hint))
        if hint and get_close_matches(name, self.known, n=1, cutoff=MISSPELT):
            raise ValueError(f"{where}: unknown field {brief(name)}.{hint}")

    @property
    def known(self) -> list[str]:
        return [*self.obeyed, *self.harmless, *self.only, *self.tables]


def check_value(name: str, value: Any, known: tuple[Any, ...], where: object) -> None:
    """Whether it is one of the values that are known, and of the same type: 1 is not true."""
    if not any(type(value) is type(one) and value == one for one in known):
        alone = " or ".join(map(brief, known))
        raise ValueError(f"{where}: {name} is {brief(value)}, which is not evaluated here: only {alone} is understood")


def unknown(what: str, name: object, where: object, hint: str) -> str:
    """The sentence that refuses what is not understood."""
    return (
        f"{where}: unknown {what} {brief(name)}, which may change what the SAE computes.{hint}"
        " If it does not, take it out; if it does, give the SAE as a Python object with encode and decode"
    )


def brief(value: object) -> str:
    return shown(repr(value), SHOWN)
