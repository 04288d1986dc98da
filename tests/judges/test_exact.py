from functools import cache

import numpy as np
import pytest
from transformers import AutoTokenizer

from saebench.judges.concepts import Concepts, world_concepts
from saebench.judges.exact import Exact
from saebench.judges.passages import END, Passages, pieces_of
from saebench.organism.lexicon import load_lexicon
from saebench.organism.truth import vocabulary_truth
from saebench.record.places import organism_folder


@cache
def tokenizer():
    return AutoTokenizer.from_pretrained(str(organism_folder()), local_files_only=True)


@cache
def exact() -> Exact:
    return Exact(world_concepts(tokenizer()))


@cache
def truths():
    return vocabulary_truth(load_lexicon(organism_folder()), tokenizer())


def texts(marked: np.ndarray) -> Passages:
    """Five random texts of words, in which tokens are marked whose ids are among those that are given."""
    rng = np.random.default_rng(0)
    ids = rng.integers(0, len(truths()), size=(1, 40, 32))
    ids[0, 0, 20:] = END
    return Passages(ids, np.isin(ids, marked), pieces_of(tokenizer(), ids, len(truths())))


def tokens_of(level: str) -> np.ndarray:
    return np.array([at for at, truth in enumerate(truths()) if level in truth.path])


@pytest.mark.parametrize("level", ["animal", "fruit", "city"])
def test_a_latent_of_a_concept_is_explained_by_it(level: str) -> None:
    shown = texts(tokens_of(level))
    assert exact().explain(shown) == [f"words of the kind {level}"]
    assert (exact().fires([f"words of the kind {level}"], shown) == shown.marked.any(axis=2)).all()
    assert (exact().fits([f"words of the kind {level}"], shown)[shown.marked.any(axis=2)] == 1).all()


def test_a_latent_that_fires_behind_a_concept_is_explained_by_what_comes_before() -> None:
    shown = texts(tokens_of("animal"))
    behind = np.roll(shown.marked, 1, axis=2) & (shown.ids != END)
    behind[..., 0] = False
    after = Passages(shown.ids, behind, shown.pieces)
    assert exact().explain(after) == ["what follows words of the kind animal"]
    assert (exact().fires(exact().explain(after), after) == behind.any(axis=2)).all()
    assert (exact().contained(exact().explain(after), shown.ids[0]) == behind.any(axis=2)).all()


def test_other_words_do_not_fit() -> None:
    shown = texts(tokens_of("animal"))
    wrong = Passages(shown.ids, ~shown.marked & (shown.ids != END), shown.pieces)
    assert exact().fits(["words of the kind animal"], wrong).max() == 0


def test_texts_that_contain_a_concept_are_those_on_which_it_fires() -> None:
    shown = texts(tokens_of("animal"))
    said = ["words of the kind animal", "words that begin with B", None]
    three = Passages(*(np.repeat(part, 3, axis=0) for part in (shown.ids, shown.marked)), shown.pieces)
    found, fires = exact().contained(said, shown.ids[0]), exact().fires(said, three)
    assert (found[:2] == fires[:2]).all()
    assert not found[2].any()
    assert np.isnan(fires[2]).all()


def test_what_marks_nothing_is_not_explained() -> None:
    assert exact().explain(texts(np.array([], dtype=int))) == [None]


def test_many_latents_are_explained_as_each_alone() -> None:
    one, other = texts(tokens_of("animal")), texts(tokens_of("city"))
    many = Passages(
        *(np.concatenate([a, b] * 150) for a, b in ((one.ids, other.ids), (one.marked, other.marked))), one.pieces
    )
    assert exact().explain(many) == ["words of the kind animal", "words of the kind city"] * 150


def test_concepts_are_sets_of_tokens() -> None:
    known: Concepts = exact().concepts
    assert known.tokens.shape == (len(known.names), len(truths()) + 1)
    assert len(set(known.names)) == len(known.names)
    animal = known.tokens[[known.place["words of the kind animal"]]].indices
    assert set(animal.tolist()) == set(tokens_of("animal").tolist())
