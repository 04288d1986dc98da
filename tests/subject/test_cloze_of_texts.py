"""The rule asks for words that the passage has, among words of their class."""

from saebench.subject.cloze_of_texts import FEWEST_OTHERS, questions, rare_words

NAMES = "Ann Bob Cleo Dan Eve Finn".split()
THINGS = "lantern harbour violin glacier meadow parrot".split()
TEXT = "The friends met " + ", ".join(NAMES) + " and saw " + ", ".join(THINGS) + " today. "
ASKING = "Then the lantern was near Bob and the harbour near Cleo and the lantern. Later they saw Dan with the violin. "
LONG = TEXT + ASKING * 6
COMMON = ["the was and then near saw they with later today friends met"] * 40


def words(text: str) -> int:
    return len(text.split())


def made(text: str = LONG, low: int = 20, high: int = 90, count: int = 5):
    return questions([text, *COMMON], low, high, count, words)


def test_there_is_one_question_of_each_kind() -> None:
    found = {question.kind: question for question in made()}
    assert set(found) == {"named", "common", "final"}
    assert {*found["named"].options} <= {*NAMES}
    assert {*found["common"].options} <= {*THINGS}
    assert found["final"].others == ()
    assert found["final"].answer in ("lantern", "violin")


def test_answers_and_options_stand_in_the_passage_and_the_answer_comes_next() -> None:
    for question in made():
        assert LONG.startswith(f"{question.passage} {question.answer}")
        assert all(option in question.passage for option in question.options)
        assert 20 < words(question.passage) <= 90
        assert not question.others or len(question.others) >= FEWEST_OTHERS


def test_words_of_many_texts_are_not_asked_for() -> None:
    rare = rare_words([LONG, *COMMON])
    assert {*THINGS} <= rare
    assert not rare & {*COMMON[0].split()}


def test_a_text_without_what_is_asked_for_has_no_question() -> None:
    assert made("the was and then near saw. " * 40) == []
    assert made(low=400, high=500) == []
    assert made("漢字" * 300) == []


def test_only_so_many_texts_are_asked_about() -> None:
    found = questions([LONG, LONG.replace("Ann", "Una"), LONG.replace("Ann", "Pia"), *COMMON], 20, 90, 2, words)
    assert {question.text for question in found} == {"20-90/0", "20-90/1"}
