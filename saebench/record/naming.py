"""How names are sorted, guessed and shown."""

import difflib
import re
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import PurePosixPath
from typing import ParamSpec, TypeVar

from saebench.record.score import Unscored

P = ParamSpec("P")
T = TypeVar("T")
LONGEST = 500
"""Characters of a sentence that says what is wrong."""


def natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key under which `k16` comes before `k128`."""
    return [_place(part) for part in re.split(r"(\d+)", name) if part]


def _place(part: str) -> tuple[int, int, str]:
    """Of a number its digits, which are in order if the longer is the larger: it may be too long for an int."""
    digits = part.lstrip("0")
    return (0, len(digits), digits) if part.isdecimal() else (1, 0, part)


def nearest(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the most similar known name, or an empty string."""
    if len(name) > LONGEST:
        return ""
    # Its time goes with the square of their lengths, and nobody mistypes a name of thousands of characters.
    matches = difflib.get_close_matches(name, [other for other in known if len(other) <= LONGEST], n=1)
    return f" Did you mean '{matches[0]}'?" if matches else ""


def shown(text: str, most: int = LONGEST) -> str:
    """A text from a file or a user as it may leave: one line, nothing that steers a terminal or a page, not too long."""
    if len(text) <= most and text.isprintable():
        return text
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in " ".join(text.split("\n")))
    return plain if len(plain) <= most else f"{plain[: most // 2]} … {plain[-most // 2 :]}"


def shown_lines(text: str, most: int = 100_000) -> str:
    """Lines that were made here, of what came from files and users."""
    return "\n".join(shown(line, most) for line in text.split("\n"))


def shown_model(name: str) -> str:
    """A model's name as it is read: that of a file in a wheel is the file's, with the wheel's version."""
    wheel, _, member = name.partition("#")[0].removeprefix("pypi:").partition("/")
    return f"{PurePosixPath(member).stem} of {wheel}" if name.startswith("pypi:") else name


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
