"""What a judge writes is read strictly, and nonsense is no phrase."""

import pytest

from saebench.evidence.phrases.written_bank import asking, written_feature, written_in

ANSWER = """# Germany
1. He grew up near Munich.
2. They spoke German at home.
3. The train left for Berlin.

## Relativity
- Clocks run slower in orbit.
- Mass bends space.
- Nothing outruns light.
- A fourth one.
# Too few
1. Only this.
"""


def test_subcomponents_and_phrases_are_read() -> None:
    found = written_in(ANSWER, "Albert Einstein")
    assert list(found) == ["Germany", "Relativity"]
    assert found["Relativity"] == ["Clocks run slower in orbit.", "Mass bends space.", "Nothing outruns light."]
    feature = written_feature("Albert Einstein", found)
    assert feature is not None
    assert list(feature.parts) == ["Germany", "Relativity"]


def test_a_phrase_that_repeats_the_explanation_is_left_out() -> None:
    found = written_in(ANSWER, "things of space and Munich")
    assert "Germany" not in found  # one of its three phrases names it
    assert found == {}  # and one subcomponent alone is none


@pytest.mark.parametrize(
    "answer", ["", "I cannot help with that.", "1. a\n2. b\n3. c", "# a\n# b", "# x\n1. !\n2. ?\n3. .\n" * 2]
)
def test_nonsense_is_an_answer_without_phrases(answer: str) -> None:
    assert written_in(answer, "x") == {}
    assert written_feature("x", {}) is None
    assert asking("x").read(answer) is not None  # so that it is not asked for again
