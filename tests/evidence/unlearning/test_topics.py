"""Topics are data: what ships is whole, and what is wrong with a file is one sentence."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saebench.evidence.unlearning.choices import lettered
from saebench.evidence.unlearning.cloze import APART, KNOWN, LONGEST, cloze
from saebench.evidence.unlearning.options import OPTIONS
from saebench.evidence.unlearning.questions import One, chosen, is_test, together
from saebench.evidence.unlearning.topic import Choices, load_topic, topic_of, topics_dir
from saebench.record.score import Unscored

WORLD = 'models = ["m"]\n[forget]\nslots = ["city"]\nforms = [{of = "city", text = "{name}", answer = "country"}]\n'
KEPT = '[retain]\nforms = [{of = "word", text = "{name}", answer = "category"}]\n'


def test_what_ships_can_be_read_and_is_about_other_things_than_what_stays() -> None:
    topics = {path.stem: load_topic(path) for path in topics_dir().glob("*.toml")}
    assert {"organism", "smollm2"} <= set(topics)
    assert all(topic.about and topic.forget != topic.retain for topic in topics.values())
    assert topics["organism"].of_world


def test_a_model_has_the_topic_that_names_it() -> None:
    found = topic_of("organism")
    assert found is not None
    assert found.name == "organism"
    assert topic_of("openai-community/gpt2") is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "needs a table [forget]|models is None"),
        (WORLD, r"needs a table \[retain\]"),
        (WORLD + KEPT + "[forgett]\n", "unknown key 'forgett'.*forget"),
        (WORLD.replace("slots", "slot") + KEPT, "unknown key 'slot'.*slots"),
        (WORLD.replace('slots = ["city"]\n', "") + KEPT, "no slots"),
        (WORLD.replace('of = "city"', 'of = "town"') + KEPT, "expected of .one of city, person, word"),
        (WORLD + '[retain]\ncloze = true\ntexts = "x.txt"\n', "the other does not"),
        ('models = ["m"]\n[forget]\ncloze = true\n[retain]\ncloze = true\n', "needs texts"),
        ('models = ["m"]\n[forget]\ntexts = "x"\n' + KEPT, "one of forms, cloze and choices"),
        ('models = "m"\n[forget]\n[retain]\n', "should be a list of names"),
        ("models = [", "is not TOML"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=sentence) as raised:
        load_topic(path)
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)


class Words:
    """A tokenizer whose tokens are words after a space."""

    bos_token_id, eos_token_id = 0, 0

    def __init__(self) -> None:
        self.words = ["<s>"]

    def __call__(self, texts: list[str], **_: Any) -> dict[str, list[list[int]]]:
        new = {word: None for text in texts for word in text.split() if word not in self.words}
        self.words += list(new)
        return {"input_ids": [[self.words.index(word) for word in text.split()] for text in texts]}

    def batch_decode(self, rows: list[list[int]]) -> list[str]:
        return [f" {self.words[row[0]]}" for row in rows]


def letters(number: int) -> str:
    return "".join("abcdefghij"[int(digit)] for digit in f"{number:05}")


def test_cloze_asks_for_the_next_word_among_words_of_other_texts() -> None:
    texts = [" ".join(letters(100 * text + place) for place in range(60)) for text in range(30)]
    tokenizer = Words()
    found = list(cloze(tokenizer, texts, "forget"))
    assert len({one.unit for one in found}) == 30
    assert {one.among[len(one.prompt)] == one.options[0] for one in found} == {True}
    assert {one.among[: len(one.prompt)] == one.prompt for one in found} == {True}
    assert all(KNOWN <= len(one.prompt) < LONGEST and len(set(one.options)) == OPTIONS for one in found)
    assert not any(set(one.options[1:]) & set(one.among) for one in found)
    places = [len(one.prompt) for one in found if one.unit == found[0].unit]
    assert min(b - a for a, b in pairwise(places)) >= APART
    assert [one.options for one in cloze(tokenizer, texts, "forget")] == [one.options for one in found]


def test_lettered_questions_are_asked_in_four_orders_and_known_if_right_in_all() -> None:
    tokenizer = Words()
    asked = [(f"which {letters(n)} is it", [f"{letters(n)}{x}" for x in "pqrs"], n % 4) for n in range(6)]
    found = list(lettered(tokenizer, asked))
    assert len(found) == 24
    words = [[tokenizer.words[token] for token in one.prompt] for one in found]
    of = {question: answers[right] for question, answers, right in asked}
    said = [row[row.index(f"{tokenizer.words[one.options[0]]}.") + 1] for row, one in zip(words, found, strict=True)]
    assert said == [of[one.unit] for one in found]
    assert [len({one.options[0] for one in found if one.unit == unit}) for unit in of] == [OPTIONS] * 6
    questions = together(found[:12], found[12:], whole=True)
    right = np.ones(24, dtype=bool)
    right[[0, 13]] = False
    assert questions.known(right).tolist() == [False] * 4 + [True] * 8 + [False] * 4 + [True] * 8


def test_choices_are_fetched_once_and_what_is_no_question_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SAEBENCH_CACHE", str(tmp_path))
    rows: list[dict[str, Any]] = [{"question": "which?", "choices": ["a", "b", "c", "d"], "answer": 2}]
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: rows)
    source = Choices("org/set", ("one", "two")).source()
    with pytest.raises(OSError, match="saebench fetch"):
        source.questions()
    assert source.need().lacking() == ["its questions"]
    source.keep("0123456789abcdef")
    assert source.questions() == [("which?", ["a", "b", "c", "d"], 2)] * 2
    assert source.name == "org/set@0123456789ab/one,two/test"
    assert source.need().lacking() == []
    rows[0] = {"text": "no question"}
    with pytest.raises(OSError, match=r"org/set.*a row has text"):
        source.keep("fedcba")


def test_questions_of_one_unit_are_all_of_one_part_and_their_order_is_kept() -> None:
    ones = [One(f"unit {number // 3}", (0, number), (1, 2, 3, 4)) for number in range(300)]
    found = chosen(ones, 10, 20)
    assert [is_test(one.unit) for one in found] == [False] * 10 + [True] * 20
    questions = together(found, ones[-6:])
    assert questions.retain.sum() == 6
    assert questions.test[:30].tolist() == [False] * 10 + [True] * 20
    assert questions.tokens[questions.row[0]].tolist() == list(found[0].prompt)
    with pytest.raises(Unscored, match="there is no answer"):
        together(found, [])
