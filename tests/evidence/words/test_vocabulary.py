"""Words of byte-level and of SentencePiece vocabularies, their filters and splits, and words that merge with a line."""

from collections import Counter
from itertools import product
from random import Random
from string import ascii_lowercase, ascii_uppercase
from typing import Any

import models
import numpy as np
import pytest

from saebench.evidence.words.concepts import ConceptSet
from saebench.evidence.words.readings import one_token
from saebench.evidence.words.vocabulary import SHARES, Split, Word, WordFilter, token_texts, words_of

ANY = WordFilter()
LETTERS = ConceptSet("letters", "{word} has the first letter: {concept}", {})
WORDS = (" snake", "snake", " Snake", "SNAKE", " a")
NO_WORDS = (
    " cat1",
    " 42",
    " don't",
    "cat-",
    "café",
    " naïve",
    " ſ",
    "  cat",
    "\ncat",
    "\tcat",
    "cat ",
    " has a",
    " ",
    "▁▁",
)


def texts_of(tokenizer: Any, chosen: WordFilter = ANY, counts: Any = None) -> list[str]:
    return [word.text for word in words_of(tokenizer, chosen, counts)]


def word(tokenizer: Any, text: str) -> Word:
    return Word(text, token_texts(tokenizer).index(text))


# What is a word


@pytest.mark.parametrize("kind", models.TOKENIZERS)
@pytest.mark.parametrize("text", WORDS)
def test_letters_after_at_most_one_space_are_a_word(text: str, kind: str) -> None:
    tokenizer = models.TOKENIZERS[kind](WORDS)
    (found,) = [word for word in words_of(tokenizer, ANY) if word.text == text]
    written = tokenizer.convert_ids_to_tokens(found.token)
    assert written == text.replace(" ", "Ġ" if kind == "byte-level" else "▁")
    assert (found.letter, found.text.strip()) == (text.strip()[0].upper(), text.strip())


@pytest.mark.parametrize("kind", models.TOKENIZERS)
@pytest.mark.parametrize("text", NO_WORDS)
def test_everything_else_is_no_word(text: str, kind: str) -> None:
    tokenizer = models.TOKENIZERS[kind]([text, *WORDS])
    piece = text if kind == "byte-level" else text.replace("▁", " ")  # "▁" is a space there.
    assert piece in token_texts(tokenizer)
    assert piece not in texts_of(tokenizer)


@pytest.mark.parametrize("kind", models.TOKENIZERS)
def test_every_token_has_a_text(kind: str) -> None:
    tokenizer = models.TOKENIZERS[kind](WORDS)
    texts = token_texts(tokenizer)
    assert len(texts) == len(tokenizer)
    assert [texts.count(text) for text in (" snake", "snake", " Snake")] == [1, 1, 1]


@pytest.mark.parametrize("kind", ["llama", "metaspace"])
def test_byte_pieces_are_no_words(kind: str) -> None:
    tokenizer = models.TOKENIZERS[kind](WORDS)
    names = tokenizer.convert_ids_to_tokens([word.token for word in words_of(tokenizer, ANY)])
    assert "<0x61>" in tokenizer.get_vocab()  # Its text is "a", as that of the piece "a", which comes later.
    assert [name for name in names if name.startswith("<")] == []
    assert {"a", "z", "Q"} < set(names)


@pytest.mark.parametrize("kind", models.TOKENIZERS)
def test_words_come_once_and_by_token(kind: str) -> None:
    words = words_of(models.TOKENIZERS[kind](WORDS), ANY)
    assert max(Counter(word.text for word in words).values()) == 1
    assert [word.token for word in words] == sorted(word.token for word in words)


@pytest.mark.parametrize("kind", models.TOKENIZERS)
@pytest.mark.parametrize("role", ["unk_token", "mask_token", "sep_token"])
def test_special_tokens_are_no_words(role: str, kind: str) -> None:
    tokenizer = models.TOKENIZERS[kind](WORDS, **{role: "snake"})
    assert "snake" not in texts_of(tokenizer)
    assert " snake" in texts_of(tokenizer)


def test_special_tokens_without_a_role_are_no_words() -> None:
    from tokenizers import AddedToken

    tokenizer = models.byte_level(WORDS)
    tokenizer.add_tokens([AddedToken("Reserved", special=True), AddedToken("ordinary", special=False)])
    assert "ordinary" in texts_of(tokenizer)
    assert "Reserved" not in texts_of(tokenizer)


# Filters


@pytest.mark.parametrize(
    "chosen, kept",
    [
        ({}, "snake| snake|Snake| Snake|SNAKE| sNAKE|ox| Q"),
        ({"case": "lower"}, "snake| snake|ox"),
        ({"case": "capital"}, "Snake| Snake|SNAKE| Q"),
        ({"space": "required"}, " snake| Snake| sNAKE| Q"),
        ({"shortest": 2}, "snake| snake|Snake| Snake|SNAKE| sNAKE|ox"),
        ({"shortest": 5}, "snake| snake|Snake| Snake|SNAKE| sNAKE"),
        ({"shortest": 6}, ""),
        ({"longest": 4}, "ox| Q"),
        ({"longest": 5, "case": "lower", "space": "required"}, " snake"),
    ],
    ids=str,
)
def test_filters(chosen: dict[str, Any], kept: str) -> None:
    """Spaces count in no length."""
    texts = "snake| snake|Snake| Snake|SNAKE| sNAKE|ox| Q".split("|")
    assert "|".join(text for text in texts if WordFilter(**chosen).keeps(text)) == kept


@pytest.mark.parametrize(
    "text", ["", " ", "  snake", "snake ", "sn ake", "snake1", "ſnake", "snáke", "snake\n", "_snake"]
)
def test_no_filter_keeps_what_is_no_word(text: str) -> None:
    assert not WordFilter(shortest=0).keeps(text)


@pytest.mark.parametrize(
    "seen, kept", [(0, {"snake", " snake", "SNAKE"}), (1, {"snake", " snake"}), (3, {" snake"}), (9, set())]
)
def test_rare_tokens_are_dropped(seen: int, kept: set[str]) -> None:
    tokenizer = models.byte_level(("snake", " snake", "SNAKE"))
    counts = [0] * len(tokenizer)
    counts[word(tokenizer, "snake").token], counts[word(tokenizer, " snake").token] = 2, 3
    assert set(texts_of(tokenizer, WordFilter(shortest=5, seen=seen), counts)) == kept


def test_counts_are_asked_for_only_where_they_matter() -> None:
    tokenizer = models.byte_level(("snake",))
    assert texts_of(tokenizer, WordFilter(shortest=5)) == texts_of(tokenizer, WordFilter(shortest=5), [])


def test_names_tell_all_filters_apart() -> None:
    options = product(("any", "lower", "capital"), ("any", "required"), (1, 2, 11), (1, 2, 11, 64), (0, 1, 2))
    names = [WordFilter(*option).name for option in options]  # type: ignore[arg-type]
    assert len(set(names)) == len(names) == 216


# Splits


@pytest.mark.parametrize("word", models.WORDS)
def test_all_forms_of_a_word_are_on_one_side(word: str) -> None:
    forms = (word, f" {word}", word.capitalize(), f" {word.capitalize()}", word.upper(), f" {word.upper()}")
    assert len({Word(form, token).split for token, form in enumerate(forms)}) == 1


@pytest.mark.parametrize("text, split", [(" snake", Split.TRAIN), (" cat", Split.VALIDATION), (" dog", Split.TEST)])
def test_splits_never_change(text: str, split: Split) -> None:
    """A hash of the word: another one would move every score of words."""
    assert Word(text, 0).split is split


def test_splits_have_their_shares() -> None:
    rng = Random(0)
    words = ["".join(rng.choices(ascii_lowercase, k=7)) for _ in range(4000)]
    found = Counter(Word(word, 0).split for word in words)
    shares = [found[split] / len(words) for split in Split]
    assert shares == pytest.approx([*SHARES, 1 - sum(SHARES)], abs=0.03)


@pytest.mark.parametrize("letter", ascii_uppercase[::5])
def test_splits_have_their_shares_of_every_letter(letter: str) -> None:
    rng = Random(letter)
    words = [letter + "".join(rng.choices(ascii_lowercase, k=6)) for _ in range(1000)]
    assert np.mean([Word(word, 0).split is Split.TRAIN for word in words]) == pytest.approx(SHARES[0], abs=0.06)


# Words that are one token in their line

LINE = " newt has the first letter: N\n"
MERGING = ("snake", "\nsnake", " bird", " bird has", " fox", " newt", " otter", " otters", "fox", ":fox")


def kept(tokenizer: Any, texts: list[str], before: str = LINE, concepts: ConceptSet = LETTERS) -> list[str]:
    words = [word(tokenizer, text) for text in texts]
    found = one_token(tokenizer, before, words, concepts)
    assert found.dtype == bool
    return [word.text for word, good in zip(words, found, strict=True) if good]


@pytest.mark.parametrize(
    "before, text, alone",
    [
        (LINE, "snake", False),  # "\nsnake" is a token.
        (LINE, " bird", False),  # " bird has" is a token.
        (LINE, " fox", True),
        (LINE, " otter", True),
        (LINE[:-1] + ":", "snake", True),
        (LINE[:-1] + ":", "fox", False),
        ("", "snake", True),
    ],
)
def test_words_that_merge_with_their_line_are_dropped(before: str, text: str, alone: bool) -> None:
    """A tokenizer that splits nowhere merges words with what precedes or follows them."""
    assert (kept(models.byte_level(MERGING, regex=False), [text], before) == [text]) is alone


@pytest.mark.parametrize("kind", models.TOKENIZERS)
def test_words_that_the_tokenizer_writes_otherwise_are_dropped(kind: str) -> None:
    """As it writes the letter "a" with its piece, never with its byte."""
    tokenizer = models.TOKENIZERS[kind](("snake", " snake", " cat", " newt"))
    snake, newt = word(tokenizer, " snake"), word(tokenizer, " newt")
    others = [Word("snake", snake.token), Word(" cat", snake.token), Word(" snakes", snake.token)]
    assert one_token(tokenizer, LINE, [snake, *others, newt], LETTERS).tolist() == [True, False, False, False, True]


def test_words_that_change_the_tokens_before_them_are_dropped() -> None:
    """GPT-2 writes an empty line as one token before a space, and as two before a letter."""
    tokenizer = models.byte_level(("snake", " snake", "\n\n"))
    assert kept(tokenizer, [" snake", "snake"], LINE + "\n") == [" snake"]
    assert kept(tokenizer, [" snake", "snake"], LINE) == [" snake", "snake"]


@pytest.mark.parametrize("trim", [True, False])
def test_offsets_with_and_without_the_space_serve(trim: bool) -> None:
    from tokenizers import processors

    tokenizer = models.byte_level(("snake", " snake", " bird"))
    tokenizer.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim)
    assert kept(tokenizer, [" snake", "snake", " bird"]) == [" snake", "snake", " bird"]


@pytest.mark.parametrize("kind", models.TOKENIZERS)
@pytest.mark.parametrize("template", ["The{word} is: {concept}", "One says that{word} has the letter {concept}"])
def test_something_may_stand_before_the_word(template: str, kind: str) -> None:
    tokenizer = models.TOKENIZERS[kind](("snake", " snake", " cat", "The", " that"))
    concepts = ConceptSet("letters", template, {})
    assert kept(tokenizer, [" snake", "snake"], concepts.example(word(tokenizer, " cat")), concepts) == [
        " snake",
        "snake",
    ]


def test_words_that_merge_with_what_stands_before_them_are_dropped() -> None:
    tokenizer = models.byte_level((" snake", " cat", "The", "The cat"), regex=False)
    concepts = ConceptSet("letters", "The{word} is: {concept}", {})
    assert kept(tokenizer, [" snake", " cat"], concepts.example(word(tokenizer, " snake")), concepts) == [" snake"]
