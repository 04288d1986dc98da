import pytest

from saebench.judges import prompts


@pytest.mark.parametrize(
    ("answer", "meant"),
    [
        ("2, 5", [2, 5]), ("none", []), ("None.", []), ("1", [1]), ("Texts: 1, 3", [1, 3]), ("[]", []), ("1 and 2", [1, 2]),
        ("Numbers: 4.", [4]), ("7", None), ("0", None), ("maybe 2", None), ("", None), ("all of them", None), ("2, 99", None),
    ],
)  # fmt: skip
def test_numbers_are_read_strictly(answer: str, meant: list[int] | None) -> None:
    assert prompts.numbers_in(answer, 6) == meant


def test_an_explanation_is_the_first_line_with_words() -> None:
    assert prompts.explanation_in('\n"animals, and their kinds"\nSure!') == "animals, and their kinds"
    assert prompts.explanation_in("?!\n--") is None
    assert len(prompts.explanation_in("a" * 9999) or "") == prompts.LONGEST


def test_texts_are_written_behind_numbers_without_marks() -> None:
    assert prompts.lines_in("Sure:\n1. a <<cat>>\n2) a dog\n- a cow", 3) == ["a cat", "a dog", "a cow"]
    assert prompts.lines_in("1. a cat\n2. ...", 2) is None


def test_prompts_that_are_alike_are_one() -> None:
    assert prompts.choose("x", ["a"], marked=True) == prompts.choose("x", ["a"], marked=True)
    assert prompts.choose("x", ["a"], marked=True) != prompts.choose("x", ["a"], marked=False)
    assert prompts.weigh("x", "a", marked=True).head == prompts.weigh("x", "b", marked=True).head
