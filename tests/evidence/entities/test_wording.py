"""What stands before a name, the tokens of names of any length, and answers that can be told apart."""

from typing import Any

import pytest

from saebench.evidence.entities.wording import LONGEST, worded
from saebench.record.score import Unscored


class Letters:
    """A tokenizer whose tokens are words with the space before them, and single letters of names in capitals."""

    bos_token_id, eos_token_id = 0, None

    def __init__(self) -> None:
        self.known: dict[str, int] = {"<s>": 0}

    def __call__(self, texts: list[str], **_: Any) -> dict[str, list[list[int]]]:
        return {"input_ids": [[self.known.setdefault(part, len(self.known)) for part in self.parts(t)] for t in texts]}

    def parts(self, text: str) -> list[str]:
        words = text.replace(" ", "| ").split("|")
        pieces = [
            piece for word in words if word for piece in ([word[:2], *word[2:]] if word.strip().isupper() else [word])
        ]
        return [half for piece in pieces for half in self.quoted(piece)]

    def quoted(self, piece: str) -> list[str]:
        return [part for part in piece.replace('"', '|"|').split("|") if part]


def test_names_of_several_tokens_and_what_stands_around_them() -> None:
    found = worded(Letters(), "The city of {e} is in", ["Paris", "AB", "ABCD"], ["France", "Spain"])
    assert {name: len(ids) for name, ids in found.names.items()} == {"Paris": 1, "AB": 1 + 1, "ABCD": 4}
    assert (len(found.prefix), len(found.suffix)) == (4, 2)
    assert found.prefix[0] == 0
    assert found.told == [True, True]


def test_names_that_are_too_long_do_not_count() -> None:
    long = "ABCDEFGHIJKL"
    assert len(long) > LONGEST
    assert "Paris" in worded(Letters(), "In {e} it is", ["Paris", long], ["x", "y"]).names
    assert long not in worded(Letters(), "In {e} it is", ["Paris", long], ["x", "y"]).names


def test_values_that_begin_alike_are_not_told_apart() -> None:
    found = worded(Letters(), "{e} is in", ["Paris"], ["South Korea", "South Africa", "France"])
    assert found.told == [False, False, True]
    assert found.answers[0] == found.answers[1] != found.answers[2]


def test_what_follows_a_quote_has_no_space_before_it() -> None:
    letters = Letters()
    found = worded(letters, '{"city": "{e}", "in": "', ["Paris", "Rome"], ["France"])
    assert letters.known["France"] == found.answers[0]
    assert set(found.names) == {"Paris", "Rome"}
    assert found.names["Paris"] == [letters.known["Paris"]]


def test_without_a_first_token_a_sentence_cannot_begin_with_a_name() -> None:
    letters = Letters()
    letters.bos_token_id = None  # type: ignore[assignment]
    with pytest.raises(Unscored, match="no token that a text begins with"):
        worded(letters, "{e} is in", ["Paris"], ["France"])
