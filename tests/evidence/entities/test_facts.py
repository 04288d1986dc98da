"""What users write about entities, and what they are told where it is wrong."""

from pathlib import Path

import pytest

from saebench.evidence.entities.facts import facts_dir, hub_entities, kinds_for, load_facts

GOOD = """
patched = "name"
[attributes.country]
templates = ["{e} is in"]
[attributes.language]
templates = ["In {e} people speak"]
[entities]
Paris = ["France", "French"]
"""


def written(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text)
    return str(path)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    found = load_facts(written(tmp_path, GOOD))
    assert (found.name, found.attributes, found.values) == (
        "mine",
        ("country", "language"),
        {"Paris": ("France", "French")},
    )
    assert not found.onward
    assert load_facts(written(tmp_path, GOOD.replace("French", "Gallic"))).digest != found.digest


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("patched", "patchd", "unknown key 'patchd'.*patched"),
        ('"name"', '"nowhere"', "patched is 'nowhere', and should be one of name, onward"),
        ('["{e} is in"]', '["It is in"]', r"\[attributes.country\]: templates are texts with one {e}"),
        ('["{e} is in"]', '["It is {e}"]', "something after it"),
        ('["{e} is in"]', '["{e} is in", "{e} lies in"]', "equally many templates"),
        ("[attributes.language]", "[attributes.country.x]\n[attributes.language]", "should hold a list `templates`, and nothing else"),
        ('["France", "French"]', '["France"]', "entity 'Paris' is .*a list of 2 values"),
        ('patched = "name"', 'patched = "name"\nworld = "mars"', "world is one of cities, people, without"),
        ("[entities]\nParis", "[entities]\n#", "it needs a table .entities."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_a_sentence(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        load_facts(written(tmp_path, GOOD.replace(old, new, 1)))


def test_a_name_that_is_not_there_is_told_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"citys: no such entities\..*cities"):
        load_facts("citys")


def test_attributes_of_the_world_are_checked(tmp_path: Path) -> None:
    text = GOOD.partition("[entities]")[0].replace("country", "colour")
    with pytest.raises(ValueError, match="its world knows no attribute 'colour'"):
        load_facts(written(tmp_path, 'world = "cities"' + text))


def test_all_files_that_ship_are_read() -> None:
    for path in facts_dir().glob("*.toml"):
        if hub_entities(path.stem) is None:
            found = load_facts(path.stem)
            assert len(found.values) > 50
            assert {len(of) for of in found.values.values()} == {len(found.attributes)}


HUB = """
patched = "name"
models = ["us/*"]
[hub]
repo = "them/facts@v1"
values = "values.json"
prompts = "prompts.json"
attributes = ["Country", "Field"]
templates = 1
entities = 30
known = 20
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("templates = 1", "template = 1", r"unknown key 'template' in \[hub\].*templates"),
        ("templates = 1", "templates = 0", "templates of .hub. is 0, and should be positive"),
        ("known = 20", 'known = "20"', "known of .hub. is '20', and should be a whole number"),
        ('["Country", "Field"]', '["Country"]', "attributes of .hub. should be two or more names"),
        ("them/facts", "../facts", "is no repository of the hub"),
        ("[hub]", '[entities]\nParis = ["France"]\n[hub]', ".hub. says what is read, and entities stands beside it"),
        ('["us/*"]', '"us/*"', "models is 'us/.', and should be a list of names and globs"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_kind_of_the_hub_is_said_in_a_sentence(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        load_facts(written(tmp_path, HUB.replace(old, new, 1)))


def test_kinds_name_their_models() -> None:
    assert kinds_for("google/gemma-2-2b") == ["ravel-city", "ravel-nobel"]
    assert kinds_for("organism") == []
