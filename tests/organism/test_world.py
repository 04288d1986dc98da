"""The world is deterministic, its words are unambiguous tokens, and what it says of them is true."""

import hashlib
import json
import re
from collections import Counter
from dataclasses import astuple

import pytest
from paths import ROOT

from saebench.organism.lexicon import load_lexicon
from saebench.organism.truth import vocabulary_truth
from saebench.organism.world import (
    GENRES,
    HELD_OUT_GENRE,
    PERSISTENT,
    READING,
    RECALLING,
    SLOT,
    TRAINING,
    VERSION,
    Mixture,
    World,
)
from saebench.record.places import organism_folder
from saebench.subject.corpora import SPLIT, WorldTexts
from saebench.zoo.tokenizer import load_tokenizer, single_tokens


@pytest.fixture(scope="module")
def world():
    return World.load(organism_folder())


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(organism_folder())


@pytest.fixture(scope="module")
def documents(world):
    return [world.document(f"test/{i}", TRAINING) for i in range(400)]


def test_the_version_names_what_is_generated(world):
    """Whatever moves a text, a word or what is true of it fails here: then the world needs another `VERSION`."""
    told = hashlib.sha256()
    for mixture in (TRAINING, PERSISTENT, RECALLING, READING, Mixture({HELD_OUT_GENRE: 1})):
        for split in ("train", SPLIT):
            for number in range(60):
                told.update(repr(astuple(world.document(f"{split}/{number}", mixture))).encode())
    lexicon = world.lexicon
    for known in (lexicon.words, lexicon.people, lexicon.cities):
        told.update(repr([astuple(one) for one in known]).encode())
    assert (VERSION, told.hexdigest()[:16]) == ("19b73564dc9c", "df753ed48cdbd522")


def test_the_published_corpus_is_of_this_world():
    lines = (ROOT / "leaderboards" / "organism.jsonl").read_text(encoding="utf-8").splitlines()
    corpora = {json.loads(line)["corpus"] for line in lines}
    assert f"organism-world@{VERSION}/{SPLIT}/96x256" in corpora
    assert f"organism-world@{VERSION}/{SPLIT}/96x256" == WorldTexts(96, 256).name


def test_lexicon_has_1500_words_in_three_levels(world):
    assert len(world.lexicon.words) >= 1500
    assert len({word.text for word in world.lexicon.words}) == len(world.lexicon.words)
    assert world.lexicon.by_text["snake"].path == ("animal", "reptile", "snake")


def test_people_and_cities_have_the_same_attributes_each_time():
    first, again = load_lexicon(organism_folder()), load_lexicon(organism_folder())
    assert first.people == again.people
    assert {city.name: city.country for city in first.cities}["Paris"] == "France"


def test_no_lexicon_word_stands_in_a_template(world):
    texts = [text for genre in world.templates.values() for part in genre.values() for text in part]
    glue = {word for text in texts for word in re.findall(r"\b[a-z]+\b", SLOT.sub(" ", text))}
    assert not glue & set(world.lexicon.by_text)


def test_a_document_depends_on_its_key_alone(world):
    assert world.document("a/1") == world.document("a/1")
    assert world.document("a/1") != world.document("a/2")
    assert world.document("heldout/1").text != world.document("train/1").text


def test_all_genres_occur_and_the_held_out_one_only_where_asked_for(world, documents):
    assert {d.genre for d in documents} == set(GENRES)
    assert HELD_OUT_GENRE not in TRAINING.genres
    assert HELD_OUT_GENRE not in READING.genres
    assert world.document("x", Mixture({HELD_OUT_GENRE: 1})).text.count(" stop") > 10


def test_every_document_fills_a_context_of_256_tokens(documents, tokenizer):
    assert min(len(tokenizer(d.text)["input_ids"]) for d in documents) >= 256


def test_every_word_of_the_world_is_one_token_after_a_space(world, tokenizer):
    encoded = tokenizer([f" {word}" for word in single_tokens(world.lexicon)], add_special_tokens=False)["input_ids"]
    assert {len(ids) for ids in encoded} == {1}


def test_nearly_all_tokens_of_a_text_are_whole_words_or_punctuation(documents, tokenizer):
    pieces = Counter(t for d in documents[:50] for t in tokenizer.convert_ids_to_tokens(tokenizer(d.text)["input_ids"]))
    inner = sum(n for piece, n in pieces.items() if piece.isalpha() and piece[0] != "Ġ" and not piece[0].isupper())
    assert inner / pieces.total() < 0.02


def test_truth_of_tokens(world, tokenizer):
    truth = {t.text: t for t in vocabulary_truth(world.lexicon, tokenizer)}
    assert truth[" snake"].letter == "S"
    assert truth[" snake"].path == ("animal", "reptile", "snake")
    assert truth[" Paris"].attributes == {"country": "France", "continent": "Europe", "language": "French"}
    anna = world.lexicon.people[0]
    assert truth[f" {anna.name}"].attributes["home"] == anna.home.name
    assert truth["."].letter is None
    assert len(truth) >= 4000


def test_an_alliterating_document_keeps_to_its_letter(world):
    mixture = Mixture({"story": 1}, alliteration=1.0)
    shares = []
    for i in range(20):
        document = world.document(f"alliteration/{i}", mixture)
        words = [world.lexicon.by_text[w] for w in re.findall(r"[a-z]+", document.text) if w in world.lexicon.by_text]
        shares.append(sum(word.letter == document.letter for word in words) / len(words))
    assert sum(shares) / len(shares) > 0.7


def test_sentiment_of_a_document_shows_in_its_adjectives(world):
    for i in range(40):
        document = world.document(f"sentiment/{i}", Mixture({"letter": 1}, alliteration=0.0))
        opposite = {"positive": "negative", "negative": "positive"}.get(document.sentiment)
        if opposite:
            adjectives = world.lexicon.by_category[opposite]
            moods = re.findall(r"(?:is|are) ([a-z]+)", document.text)
            assert not set(moods) & {adjective.text for adjective in adjectives}


def test_sorted_lists_are_sorted(world):
    document = next(
        d for i in range(200) if "In order:" in (d := world.document(f"lists/{i}", Mixture({"lists": 1}))).text
    )
    for line in re.findall(r"In order: (.*)\.", document.text):
        assert line.split(", ") == sorted(line.split(", "))
