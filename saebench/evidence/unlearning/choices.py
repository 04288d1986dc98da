"""Questions with lettered answers as an instruction model is asked them: in four orders, and known only if in all."""

from collections.abc import Iterator, Sequence
from typing import Any

from saebench.evidence.unlearning.options import OPTIONS
from saebench.evidence.unlearning.questions import One, single_tokens
from saebench.record.score import Unscored
from saebench.stats.statistics import fixed_seed_of
from saebench.subject.corpora import token_ids

LETTERS = "ABCD"
LONGEST = 256
"""Tokens; longer questions are left out."""


def lettered(tokenizer: Any, questions: Sequence[tuple[str, list[str], int]], *, bos: bool = True) -> Iterator[One]:
    """Each question in four orders, every answer once at every letter, all of one unit; in an order by hash.

    Raises Unscored where a letter after a space is not one token.
    """
    letter = single_tokens(tokenizer, LETTERS)
    if len(letter) < OPTIONS:
        raise Unscored("the letters of answers are not one token each")
    for question, answers, right in sorted(questions, key=lambda one: fixed_seed_of(f"unlearning.order {one[0]}")):
        for shift in range(OPTIONS):
            order = [answers[(place + shift) % OPTIONS] for place in range(OPTIONS)]
            own = LETTERS[(right - shift) % OPTIONS]
            lines = [
                question.strip(),
                *(f"{name}. {text}" for name, text in zip(LETTERS, order, strict=True)),
                "Answer:",
            ]
            (prompt,) = token_ids(tokenizer, ["\n".join(lines)], bos=bos)
            if len(prompt) <= LONGEST:
                others = tuple(letter[name] for name in LETTERS if name != own)
                yield One(question, tuple(prompt), (letter[own], *others))
