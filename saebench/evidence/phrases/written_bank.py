"""Phrases that a judge writes, after an explanation that it gave of texts: strictly read, and nonsense is no phrase."""

import re

from saebench.evidence.phrases.bank import FEWEST_PARTS, FEWEST_PHRASES, MOST_PARTS, Feature, Phrase
from saebench.judges.prompts import LONGEST, TASK, Prompt

VERSION = 1
"""Of everything in this file that moves what is written."""
WORD = re.compile(r"[^\W\d_]{4,}")
HEADING = re.compile(r"#+\s*(\S.*)")
LISTED = re.compile(r"\s*(?:\d+\s*[.):]|[-*])\s*(\S.*)")
Written = dict[str, list[str]]
"""Phrases by subcomponent; empty where the judge wrote none that are of use."""


def asking(explanation: str) -> Prompt:
    """What is it made of, in phrases that do not name it? An answer that is of no use is an answer, and not asked for again."""
    head = (
        f"It is active on: {explanation}\n\nWhich {MOST_PARTS} narrower topics is this made of? For each write its name in a"
        f" line that begins with #, then {FEWEST_PHRASES} short phrases about it, one on a line, each behind its number."
        " No phrase may repeat a word of the line above that says what it is active on."
    )
    return Prompt(TASK, head, "", 60 * MOST_PARTS * FEWEST_PHRASES // 3, lambda answer: written_in(answer, explanation))


def written_in(answer: str, explanation: str) -> Written:
    """Subcomponents with enough phrases that have no word of four letters or more in common with the explanation."""
    words = {word.lower() for word in WORD.findall(explanation)}
    found: Written = {}
    phrases: list[str] | None = None
    for line in answer.splitlines():
        if heading := HEADING.fullmatch(line.strip()):
            phrases = found.setdefault(heading[1][:LONGEST].strip("*: "), [])
        elif (match := LISTED.fullmatch(line)) and phrases is not None:
            text = match[1].strip()[:LONGEST]
            named = words & {word.lower() for word in WORD.findall(text)}
            phrases += [] if named or text in phrases or not any(map(str.isalpha, text)) else [text]
    kept = {name: phrases[:FEWEST_PHRASES] for name, phrases in found.items() if len(phrases) >= FEWEST_PHRASES}
    return dict(list(kept.items())[:MOST_PARTS]) if len(kept) >= FEWEST_PARTS else {}


def written_feature(explanation: str, written: Written) -> Feature | None:
    """A feature of what was written; None where that was of no use."""
    if not written:
        return None
    parts = {name: tuple(Phrase(text, (explanation, name)) for text in phrases) for name, phrases in written.items()}
    return Feature(explanation, parts, (explanation, *written), description=explanation)
