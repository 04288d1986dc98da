"""What the documents say is what the program does."""

import re

from paths import ROOT

from saebench.catalogue.suites import suite_questions
from saebench.record.properties import from_marker

SUITES = sorted((ROOT / "suites").glob("test_*.py"))


def documented_options() -> set[str]:
    return set(re.findall(r"`(--sae[a-z-]*)", (ROOT / "README.md").read_text()))


def test_the_readme_lists_every_option(pytester):
    help_text = pytester.runpytest_inprocess("--help", "-p", "saebench.plugin").stdout.str()
    assert documented_options() == set(re.findall(r"^\s+(--sae[a-z-]*)", help_text, re.MULTILINE))


def test_the_readme_lists_every_property():
    readme = (ROOT / "README.md").read_text()
    assert len(SUITES) > 6
    for suite in SUITES:
        for name in re.findall(r'mark\.score\("([\w.]+)"', suite.read_text()):
            assert f"`{name}`" in readme, f"{name} of {suite.name} is not in the README"


def test_every_suite_asks_a_question_with_its_paper():
    questions = suite_questions(ROOT / "suites")
    assert set(questions) == {path.stem.removeprefix("test_") for path in SUITES}
    assert all("?" in question for question in questions.values())


def test_suite_tests_are_short():
    for suite in SUITES:
        bodies = re.split(r"^def ", suite.read_text(), flags=re.MULTILINE)[1:]
        assert all(len(body.split("@pytest")[0].strip().splitlines()) <= 8 for body in bodies)


def test_a_property_has_one_name_and_one_version():
    names = [n for s in SUITES for n in re.findall(r'mark\.score\("([\w.]+)"', s.read_text())]
    assert len(names) == len(set(names)) > 50
    assert from_marker(("a.b", 1, "lower", "nat"), {}, "here").version == 1
