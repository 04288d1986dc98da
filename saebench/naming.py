"""How names are sorted, guessed and shown."""

import difflib
import re
from collections.abc import Callable, Iterable
from functools import wraps
from typing import ParamSpec, TypeVar

from saebench.score import Unscored

P = ParamSpec("P")
T = TypeVar("T")
LONGEST = 500
"""Characters of a sentence that says what is wrong."""


def natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key under which `k16` comes before `k128`."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


def nearest(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the most similar known name, or an empty string."""
    matches = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean '{matches[0]}'?" if matches else ""


def shown(text: str, most: int = LONGEST) -> str:
    """A text from a file or a user as it may stand in a terminal: one line, nothing that steers it, not too long."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in " ".join(text.split("\n")))
    return plain if len(plain) <= most else f"{plain[: most // 2]} … {plain[-most // 2 :]}"


def one_sentence(function: Callable[P, T]) -> Callable[P, T]:
    """Let whatever is wrong with what a function reads be one line, as ValueError or OSError.

    For functions that read what strangers wrote: there is no end to the ways in which a file can be wrong, and no
    traceback helps its reader.
    """

    @wraps(function)
    def told(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except (Unscored, ImportError):
            raise
        except (ValueError, OSError) as error:
            if (sentence := shown(str(error))) == str(error):
                raise
            plain = type(error).__init__ in (ValueError.__init__, OSError.__init__)
            raise (type(error) if plain else ValueError)(sentence) from error
        except Exception as error:
            what = getattr(args[0], "name", args[0]) if args else function.__name__
            raise ValueError(shown(f"{what} cannot be read: {type(error).__name__}: {error}")) from error

    return told
