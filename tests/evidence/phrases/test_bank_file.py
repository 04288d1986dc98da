"""A bank of a user is read, or refused in one sentence; the one that ships never names what it is about."""

from pathlib import Path
from typing import Any

import pytest
from paths import ROOT

from saebench.evidence.phrases.bank_file import default_bank, load_bank

FEATURE = """
[feature.{name}]
names = ["{name}"]
naming = ["{name} came in.", "Here is {name}.", "We saw {name}.", "It was {name}."]
near = ["The bus is late."]
[feature.{name}.parts]
"physics" = ["Light is fast.", "Mass bends space.", "Energy is kept."]
"{name} own" = ["He lived in Ulm.", "He left in spring.", "He played the violin."]
"""
GOOD = FEATURE.format(name="Albert") + FEATURE.format(name="Marie")


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def test_a_bank_is_read(tmp_path: Path) -> None:
    bank = load_bank(write(tmp_path, GOOD))
    assert bank.identity == f"phrases/mine@{bank.digest}/2"
    assert [feature.name for feature in bank.features] == ["Albert", "Marie"]
    assert bank.texts[:3] == ["Light is fast.", "Mass bends space.", "Energy is kept."]
    assert bank.texts[12:14] == ["The bus is late."] * 2
    assert len(bank.texts) == 12 + 2 + 8
    assert bank.part_of.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert bank.feature_of.tolist() == [0] * 6 + [1] * 6


def test_a_subject_that_two_features_share_is_no_control(tmp_path: Path) -> None:
    apart = load_bank(write(tmp_path, GOOD)).apart
    assert apart.tolist() == [[False] * 9 + [True] * 3, [False] * 3 + [True] * 3 + [False] * 6]


def test_another_text_is_another_bank(tmp_path: Path) -> None:
    first = load_bank(write(tmp_path, GOOD)).digest
    assert load_bank(write(tmp_path, GOOD.replace("Ulm", "Bern"))).digest != first


def test_a_latent_may_be_given(tmp_path: Path) -> None:
    text = GOOD.replace('names = ["Albert"]', "latent = 123\ndescription = 'a physicist'", 1)
    feature = load_bank(write(tmp_path, text)).features[0]
    assert (feature.latent, feature.description) == (123, "a physicist")


WRONG = {
    "no TOML": ("[feature", "is not TOML"),
    "one feature": (FEATURE.format(name="Albert"), "2 to 2000 tables"),
    "unknown key": (GOOD.replace("naming =", "nameing =", 1), "unknown key 'nameing'. Did you mean 'naming'?"),
    "unknown key above": ("features = 1\n" + GOOD, "unknown key 'features'. Did you mean 'feature'?"),
    "too few phrases": (GOOD.replace('"Light is fast.", ', "", 1), "part 'physics' needs 3 or more different phrases"),
    "a phrase twice": (GOOD.replace("Light is fast.", "Mass bends space.", 1), "3 or more different phrases"),
    "an empty phrase": (GOOD.replace("Light is fast.", " ", 1), "part 'physics' needs 3 or more"),
    "numbers for texts": (GOOD.replace('["The bus is late."]', "[1]", 1), "near should be a list of texts"),
    "too few that name": (GOOD.replace('"Albert came in.", ', "", 1), "3 texts in naming, and no latent"),
    "no names": (GOOD.replace('names = ["Albert"]', "", 1), "needs names"),
    "a leak": (GOOD.replace("Light is fast.", "albert is fast.", 1), "[feature.Albert] the phrase 'albert is fast.' names"),
    "a text that does not name": (GOOD.replace("Albert came in.", "He came in.", 1), "the text 'He came in.' in naming contains none"),
    "a negative latent": (GOOD.replace('names = ["Albert"]', "latent = -1", 1), "latent is -1, and should be"),
    "a latent that is true": (GOOD.replace('names = ["Albert"]', "latent = true", 1), "latent is True, and should be"),
    "no parts": ("[feature.A]\nlatent = 1\n[feature.B]\nlatent = 2\n", "needs a table parts of 2 to 5"),
    "a feature of text": ("[feature]\nA = 'x'\nB = 'y'\n", "[feature.A] should be a table"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_said_in_one_sentence(what: str, tmp_path: Path) -> None:
    text, expected = WRONG[what]
    path = write(tmp_path, text)
    with pytest.raises(ValueError, match=r"mine\.toml") as caught:
        load_bank(path)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_ends_the_run(pytester: Any) -> None:
    pytester.makepyfile("def test_nothing(sae): ...")
    found = pytester.runpytest_inprocess("--sae", "organism/topk-16", "--sae-phrases", "no/such.toml")
    assert found.ret == pytest.ExitCode.USAGE_ERROR
    found.stderr.fnmatch_lines(["*no/such.toml: no such file of phrases*"])


def test_the_bank_that_ships_is_whole() -> None:
    bank = default_bank()
    assert len(bank.features) == 24
    assert {len(feature.parts) for feature in bank.features} == {5}
    assert len(set(bank.texts)) == len(bank.texts) == 24 * (15 + 3 + 8)


def test_the_example_of_the_documentation_is_a_bank(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "explanation" / "decomposability.md").read_text("utf-8")
    example = page.split("```toml\n")[1].split("```")[0]
    other = "[feature." + example.replace("Einstein", "Curie").split("[feature.", 1)[1]
    assert [feature.name for feature in load_bank(write(tmp_path, example + other)).features] == ["Einstein", "Curie"]
