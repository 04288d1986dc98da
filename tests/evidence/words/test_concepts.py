"""Concept sets and their files, and prompts: which words stand in them, and which are read."""

from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import models
import pytest

from saebench.evidence.words import concepts as module
from saebench.evidence.words.concepts import ConceptSet, Plan, available, load_concepts, prefixes
from saebench.evidence.words.readings import prompts
from saebench.evidence.words.vocabulary import Split, Word, WordFilter, words_of
from saebench.record.score import Unscored
from saebench.subject.subject import Subject

TEMPLATE = "{word} is a kind of {concept}"
MEMBERS = {
    "animal": frozenset({"snake", "cat", "dog", "owl"}),
    "bird": frozenset({"owl", "hen"}),
    "food": frozenset({"fig", "hen"}),
}
GOOD = """
template = "{word} is a kind of {concept}"
about = "things"
[concepts]
animal = ["snake", "cat", "dog", "owl"]
bird = ["owl", "hen"]
food = ["fig", "hen"]
"""


def words(*texts: str) -> list[Word]:
    return [Word(text, token) for token, text in enumerate(texts)]


def made_up(count: int, *, before: str = " ") -> list[Word]:
    """As many words, of four letters each."""
    letters = "abcdefghij"
    return words(*(before + "".join(letters[int(digit)] for digit in f"{i:04}") for i in range(count)))


def things(**change: Any) -> ConceptSet:
    return ConceptSet(**{"name": "things", "template": TEMPLATE, "members": MEMBERS} | change)


def written(folder: Path, text: str, name: str = "things") -> str:
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


# Sets


def test_letters() -> None:
    letters = load_concepts("letters")
    assert letters.concepts == tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    for word in words(" snake", "snake", " Snake", "SNAKE"):
        assert letters.knows(word)
        assert letters.of(word) == ["S"]


def test_letters_in_a_prompt() -> None:
    letters, (word,) = load_concepts("letters"), words(" snake")
    assert letters.example(word) == " snake has the first letter: S\n"
    assert letters.query(word) == " snake has the first letter:"


def test_file(tmp_path: Path) -> None:
    loaded = load_concepts(written(tmp_path, GOOD))
    assert (loaded.name, loaded.template, loaded.about) == ("things", TEMPLATE, "things")
    assert loaded.members == MEMBERS
    assert loaded.concepts == ("animal", "bird", "food")  # In the order of the file: most general first.


def test_file_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, GOOD)
    monkeypatch.setattr(module, "concepts_dir", lambda: tmp_path)
    assert available() == ["letters", "things"]
    assert load_concepts("things").members == MEMBERS


@pytest.mark.parametrize("name", available())
def test_sets_that_ship(name: str) -> None:
    loaded = load_concepts(name)
    assert loaded.name == name
    assert len(loaded.concepts) > 1
    assert "{word}" in loaded.template


@pytest.mark.parametrize(
    "text, concepts, example",
    [
        (" snake", ["animal"], " snake is a kind of animal\n"),
        ("owl", ["animal", "bird"], "owl is a kind of animal\n"),
        (" hen", ["bird", "food"], " hen is a kind of bird\n"),
    ],
)
def test_of_a_word(text: str, concepts: list[str], example: str) -> None:
    (word,) = words(text)
    assert things().knows(word)
    assert things().of(word) == concepts
    assert things().example(word) == example
    assert things().query(word) == f"{text} is a kind of"


@pytest.mark.parametrize("text", [" mole", "Snake", " snakes", "animal"])
def test_of_a_word_that_is_in_no_set(text: str) -> None:
    (word,) = words(text)
    assert not things().knows(word)
    assert things().of(word) == []


def test_membership() -> None:
    found = things().membership(words(" snake", "owl", " hen", " mole"))
    assert found.dtype == bool
    assert found.astype(int).tolist() == [[1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 0]]


def test_membership_of_letters() -> None:
    found = load_concepts("letters").membership(words(" zebra", "Apple"))
    assert found.shape == (2, 26)
    assert (found[0, 25], found[1, 0], found.sum()) == (True, True, 2)


@pytest.mark.parametrize(
    "template, query",
    [
        ("{word} is", " owl is"),
        ("{word}", " owl"),
        ("The{word} is: {concept}", "The owl is:"),
        ("{word}: {concept}, no less", " owl:"),
    ],
)
def test_query_ends_where_the_answer_would_follow(template: str, query: str) -> None:
    assert things(template=template).query(words(" owl")[0]) == query


# Digests


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("things", "other things"),
        GOOD.replace('"cat", "dog"', '"dog", "cat"'),
        GOOD.replace('["owl", "hen"]', '["hen", "owl", "hen"]'),
    ],
)
def test_digest_of_the_same_set(text: str, tmp_path: Path) -> None:
    assert text != GOOD
    assert load_concepts(written(tmp_path, text, "renamed")).digest == things().digest


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("a kind of", "kind of"),
        GOOD.replace('"cat"', '"rat"'),
        GOOD.replace('"cat", ', ""),
        GOOD.replace("food", "dish"),
        GOOD.replace('bird = ["owl", "hen"]\n', ""),
        # The first of a word's concepts stands in the prompts.
        GOOD.replace('bird = ["owl", "hen"]\nfood = ["fig", "hen"]', 'food = ["fig", "hen"]\nbird = ["owl", "hen"]'),
    ],
)
def test_digest_of_another_set(text: str, tmp_path: Path) -> None:
    assert text != GOOD
    assert load_concepts(written(tmp_path, text)).digest != things().digest


def test_digest_is_the_same_in_every_process() -> None:
    """Order of sets of strings differs from process to process."""
    assert things().digest == "2acaf31c"


# Files that are none

BAD = {
    "no template": GOOD.replace(f'template = "{TEMPLATE}"\n', ""),
    "no table": GOOD.partition("[")[0],
    "key that is none": 'separator = " "\n' + GOOD,
    "template is a number": GOOD.replace('"{word} is a kind of {concept}"', "3"),
    "template without word": GOOD.replace("{word}", "it"),
    "template with another field": GOOD.replace("{word}", "{word} of {colour}"),
    "template with a lone brace": GOOD.replace("{word}", "{word} {"),
    "template with the answer first": GOOD.replace(TEMPLATE, "{concept}: {word}"),
    "table is a list": 'concepts = ["animal"]\n' + GOOD.partition("[")[0],
    "table is empty": GOOD.partition("animal")[0],
    "words are a string": GOOD + 'plant = "oak"\n',
    "words are numbers": GOOD + "plant = [1, 2]\n",
    "words are lists": GOOD + 'plant = [["oak"]]\n',
    "words are a table": GOOD + '[concepts.plant]\noak = ["elm"]\n',
    "word with a space": GOOD + 'plant = [" oak"]\n',
    "concept without words": GOOD + "plant = []\n",
    "about is a number": GOOD.replace('"things"', "3"),
    "no TOML": GOOD + "plant =\n",
    "no text": "",
}  # fmt: skip


@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
def test_bad_file_is_refused_in_a_sentence(text: str, tmp_path: Path) -> None:
    assert text != GOOD
    path = written(tmp_path, text)
    with pytest.raises(ValueError, match=r"things\.toml") as error:
        load_concepts(path)
    assert type(error.value) is ValueError
    assert "\n" not in str(error.value)


def test_file_that_is_no_text_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "things.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"things\.toml"):
        load_concepts(str(path))


@pytest.mark.parametrize(
    "name, message",
    [
        ("leters", "^leters: no such concept set. Did you mean 'letters'?"),
        ("thing", "Did you mean 'things'?"),
        ("xyzzy", "^xyzzy: no such concept set. Known: letters, things"),
        ("nowhere.toml", "^nowhere.toml: no such concept set."),
    ],
)
def test_misspelled_name(name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, GOOD)
    monkeypatch.setattr(module, "concepts_dir", lambda: tmp_path)
    with pytest.raises(ValueError, match=message.replace(".", r"\.").replace("?", r"\?")):
        load_concepts(name)


# Prefixes

LETTERS = load_concepts("letters")


def examples_in(text: str) -> list[str]:
    """The words of a prefix of letters, with their spaces."""
    return [line.partition(" has the")[0] for line in text.removesuffix("\n").split("\n")]


def test_prefixes_have_the_size_that_is_asked_for() -> None:
    texts, used = prefixes(LETTERS, made_up(600), 8, 10)
    assert [len(set(examples_in(text))) for text in texts] == [10] * 8
    assert all(len(examples_in(text)) == 10 for text in texts)
    assert {word.text for word in used} == {word for text in texts for word in examples_in(text)}
    assert len(used) <= module.POOL * 10
    assert len(set(texts)) == 8


def test_prefixes_say_what_their_words_are() -> None:
    texts, _ = prefixes(LETTERS, made_up(600), 2, 5)
    for line in "".join(texts).splitlines():
        assert line.endswith(f": {line.strip()[0].upper()}")


def test_prefixes_are_the_same_every_time() -> None:
    assert prefixes(LETTERS, made_up(600), 8, 10) == prefixes(LETTERS, made_up(600), 8, 10)


def test_prefixes_are_pinned() -> None:
    """Other ones would move every score of words."""
    texts, _ = prefixes(LETTERS, made_up(600), 1, 3)
    assert examples_in(texts[0]) == [" afah", " aaba", " afce"]


def test_prefixes_do_not_touch_the_global_generator() -> None:
    import random

    random.seed(0)
    before = random.getstate()
    prefixes(LETTERS, made_up(600), 8, 10)
    assert random.getstate() == before


def test_sets_have_prefixes_of_their_own() -> None:
    both = [prefixes(ConceptSet(name, LETTERS.template, {}), made_up(600), 4, 10) for name in ("letters", "others")]
    assert both[0][1] != both[1][1]
    assert set(both[0][0]).isdisjoint(both[1][0])


@pytest.mark.parametrize("count", [40, 200, 600])
def test_examples_are_train_words(count: int) -> None:
    _, used = prefixes(LETTERS, made_up(count), 8, 10)
    assert used
    assert {word.split for word in used} == {Split.TRAIN}


def test_most_train_words_are_left_to_be_read() -> None:
    """Also where there are few of them."""
    all_words = made_up(60)
    train = [word for word in all_words if word.split is Split.TRAIN]
    _, used = prefixes(LETTERS, all_words, 8, 10)
    assert 0 < len(used) <= len(train) / 4


def test_examples_look_like_running_text_where_there_are_enough() -> None:
    odd = [*made_up(300, before=""), *words(*(word.text.upper() for word in made_up(300))), *words(" a", " be")]
    _, used = prefixes(LETTERS, [*odd, *made_up(300)], 8, 5)
    assert {(word.text[0], word.text.islower(), len(word.text)) for word in used} == {(" ", True, 5)}
    _, used = prefixes(LETTERS, odd, 8, 5)
    assert len(used) == module.POOL * 5


# Prompts


def plan(concepts: ConceptSet = LETTERS, **change: Any) -> Plan:
    return Plan(**{"concepts": concepts, "filter": WordFilter(shortest=3), "prefixes": 3, "examples": 3} | change)


@cache
def model(*texts: str, regex: bool = True) -> Subject:
    tokenizer = models.byte_level([*texts, " has", " the", " first", " letter"], regex=regex)
    return models.subject("gpt2", tokenizer)


SPACED = tuple(models.spaced(models.WORDS))


def test_words_in_prefixes_are_not_read() -> None:
    subject = model(*SPACED)
    known = words_of(subject.tokenizer, plan().filter)
    _, used = prefixes(LETTERS, known, 3, 3)
    read, _ = prompts(subject, plan())
    assert used
    assert set(read).isdisjoint(used)
    assert {*read, *used} == set(known)


def test_prefixes_are_tokenized_after_bos() -> None:
    subject = model(*SPACED)
    texts, _ = prefixes(LETTERS, words_of(subject.tokenizer, plan().filter), 3, 3)
    _, tokens = prompts(subject, plan())
    assert [ids[0] for ids in tokens] == [subject.tokenizer.bos_token_id] * 3
    assert [subject.tokenizer.decode(ids[1:]) for ids in tokens] == texts


def test_only_words_of_the_set_are_read() -> None:
    members = {"first": frozenset(models.WORDS[:30]), "second": frozenset(models.WORDS[20:])}
    subject = model(*models.WORDS, *SPACED)
    read, _ = prompts(subject, plan(things(members=members)))
    assert {word.text.strip() for word in read} <= set(models.WORDS)
    assert {word.text for word in read} & {*models.WORDS}
    assert {word.text for word in read} & {*SPACED}


def test_too_few_words_are_unscored() -> None:
    with pytest.raises(Unscored, match="tiny-gpt2 has 0 words of letters"):
        prompts(model(), plan(filter=WordFilter(shortest=9)))
    with pytest.raises(Unscored, match=r"has \d words of things"):
        prompts(model(*SPACED), plan(things()))


def test_too_few_words_that_are_one_token_in_their_line_are_unscored() -> None:
    """All of them merge with what follows."""
    subject = model(*(f"{word} has" for word in SPACED), regex=False)
    assert len(words_of(subject.tokenizer, plan().filter)) > 50
    with pytest.raises(Unscored, match="words of letters"):
        prompts(subject, plan(filter=WordFilter(shortest=5, space="required")))


def test_prompts_that_are_too_long_are_unscored() -> None:
    members = {word: frozenset({word}) for word in models.WORDS}
    with pytest.raises(Unscored, match=r"tokens long.* context of tiny-gpt2 160"):
        prompts(model(*models.WORDS, *SPACED), plan(things(members=members, template="{word} " + "x" * 60)))
    prompts(model(*models.WORDS, *SPACED), plan(things(members=members, template="{word} " + "x" * 10)))


# Plans


def test_names_of_plans_tell_them_apart() -> None:
    plans = [
        plan(), plan(prefixes=2), plan(examples=2), plan(most=9), plan(most=8), plan(filter=WordFilter()),
        plan(things()), plan(things(name="a")), plan(things(members={"animal": frozenset({"owl"})})),
        plan(things(template="{word}: {concept}")), plan(things(separator=" ")),
    ]  # fmt: skip
    assert len({plan.name for plan in plans}) == len(plans)


def test_sample_of_words_depends_on_nothing_but_the_words() -> None:
    everything = made_up(300)
    sample = plan(most=40).chosen(everything)
    assert len(sample) == 40
    assert sample == sorted(sample, key=everything.index)
    assert set(plan(most=40).chosen(Random(0).sample(everything, 300))) == set(sample)
    assert set(plan(most=20).chosen(everything)) < set(sample)
    assert {word.split for word in sample} == set(Split)
    assert 100 < sum(map(everything.index, sample)) / 40 < 200  # From everywhere, not the first ones of the alphabet.


@pytest.mark.parametrize("most", [None, 300, 1000])
def test_all_words_are_kept_where_there_are_no_more(most: int | None) -> None:
    assert plan(most=most).chosen(made_up(300)) == made_up(300)


def test_sample_is_what_is_read() -> None:
    read, _ = prompts(model(*SPACED), plan(most=50))
    assert read == plan(most=50).chosen(prompts(model(*SPACED), plan())[0])
