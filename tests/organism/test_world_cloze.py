"""Questions of the world are about what it told, in forms that the language model was trained on."""

import pytest

from saebench.organism.cloze import FACTS, questions
from saebench.organism.world import World
from saebench.record.places import organism_folder

WORLD = World.load(organism_folder())


def words(text: str) -> int:
    return len(text.split())


@pytest.fixture(scope="module")
def asked() -> list:
    return questions(WORLD, 40, 80, 60, words)


def test_every_form_of_a_fact_is_one_of_the_templates() -> None:
    for fact in FACTS:
        assert fact.told in WORLD.templates[fact.genre]["open"]
        form = f"{fact.asked} {{{fact.person}.{fact.attribute}}}"
        assert any(body.startswith(form) for body in WORLD.templates[fact.genre]["body"]), fact


def test_passages_have_the_lengths_that_are_asked_for(asked) -> None:
    lengths = [words(question.passage) for question in asked]
    assert 40 < min(lengths) < max(lengths) <= 80
    assert max(lengths) - min(lengths) > 20


def test_the_answer_of_a_fact_is_true_of_who_is_named_in_the_beginning_and_stands_nowhere_else(asked) -> None:
    told = {person.name: (person.home.name, person.home.country) for person in WORLD.lexicon.people}
    told |= {city.name: (city.country,) for city in WORLD.lexicon.cities}
    facts = [question for question in asked if question.kind == "fact"]
    assert len(facts) == 30
    for question in facts:
        said = question.passage.replace(",", " ").replace(".", " ").split()
        assert any(question.answer in told[word] for word in said if word in told)
        opening = question.passage.partition(".")[0] + question.passage[:120]
        rest = question.passage[len(opening) :]
        assert question.answer not in rest.split()


def test_what_is_recalled_is_told_in_the_same_words(asked) -> None:
    for question in (question for question in asked if question.kind == "recalled"):
        # What is asked is the beginning of a sentence that stood there before, with the answer.
        tails = [question.passage[i:] for i, letter in enumerate(question.passage) if letter == " "]
        assert any(f"{tail} {question.answer}." in question.passage for tail in tails if len(tail) > 8)


def test_options_are_several_and_different(asked) -> None:
    assert all(len(set(question.options)) == len(question.options) >= 5 for question in asked)
    assert len({question.text for question in asked}) == len(asked)


def test_more_questions_begin_with_the_same_ones(asked) -> None:
    assert questions(WORLD, 40, 80, 10, words) == asked[:10]


def test_a_passage_that_cannot_be_as_short_is_one_sentence() -> None:
    with pytest.raises(ValueError, match="no passage of the world has 2 to 3 tokens"):
        questions(WORLD, 1, 3, 1, words)
