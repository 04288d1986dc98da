"""RAVEL's files of entities and sentences, from the stand-in for the hub to what a model is asked."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hub import Hub, redirect, serve

from saebench.catalogue.spec import SAESpec
from saebench.evidence.entities.facts import hub_entities, load_facts
from saebench.hub.entity_files import ABSENT
from saebench.hub.hub import Unreachable
from saebench.hub.needs import ensure
from saebench.record.score import Unreadable, Unscored
from saebench.record.store import Store
from saebench.run.options import Options
from saebench.run.run import Run

REPO = "adamkarvonen/ravel_prompts"
VALUES, PROMPTS = "ravel_city_entity_attributes.json", "ravel_city_attribute_to_prompts.json"
CITIES = {
    f"City {number}": {"Country": f"C{number % 5}", "Continent": f"K{number % 2}", "Language": "L", "Latitude": "9"}
    for number in range(40)
}
TEMPLATES = {
    "Country": ["%s is in", "%s is a city in the country of", '[{"city": "%s", "country": "', "50%% of %s is in", "%s"],
    "Continent": ["%s is on", "The continent of %s is", "%s and %s are on", "On a map %s is in"],
    "Language": ["In %s they speak", "%s speaks", "People of %s speak ", "What is spoken in %s is"],
    "Latitude": ["%s lies at"],
}
SPEC = SAESpec("them/sae", "files", "", model="google/gemma-2-2b", hook="blocks.1.hook_resid_post")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("SAEBENCH_CACHE", str(tmp_path / "saebench"))
    with serve() as served:
        redirect(monkeypatch.setattr, served, tmp_path / "cache")
        yield served


def put(hub: Hub, values: Any = CITIES, prompts: Any = TEMPLATES) -> str:
    files = {VALUES: json.dumps(values).encode(), PROMPTS: json.dumps(prompts).encode(), "other.json": b"{}"}
    commit: str = hub.add(f"datasets/{REPO}", files)
    return commit


def bring() -> None:
    told = hub_entities("ravel-city")
    assert told is not None
    ensure([told.need()], lambda line: None)


def run() -> Run:
    return Run([SPEC], Store(Path("unused.jsonl")), Options("smoke", device="cpu"))


def test_sentences_with_one_name_and_entities_with_all_attributes_are_read(hub: Hub) -> None:
    commit = put(hub, {**CITIES, "Nowhere": {"Country": "C1", "Continent": "", "Language": "L"}, "Odd": None})
    bring()
    assert not any("other.json" in path for _, path in hub.log)
    found, told = load_facts("ravel-city"), hub_entities("ravel-city")
    assert found.attributes == ("Country", "Continent", "Language")
    assert set(found.values) == set(CITIES)
    assert found.values["City 7"] == ("C2", "K1", "L")
    assert {len(texts) for texts in found.templates.values()} == {3}
    every = {text for texts in found.templates.values() for text in texts}
    assert all(text.count("{e}") == 1 and not text.endswith(" ") for text in every)
    assert set(found.templates["Continent"]) == {"{e} is on", "The continent of {e} is", "On a map {e} is in"}
    assert found.known == 300
    assert told is not None
    assert told.identity.endswith(f"@{commit[:12]}")
    assert run().entities.read(SPEC, "gradient").count(commit[:12]) == 1  # of the laureates there is nothing here
    assert ABSENT in run().entities.read(SPEC, "gradient")


def test_percent_signs_are_as_they_are_read(hub: Hub) -> None:
    put(hub, prompts={**TEMPLATES, "Country": ["50%% of %s is in"] * 3})
    bring()
    assert set(load_facts("ravel-city").templates["Country"]) == {"50% of {e} is in"}


def test_what_is_not_here_is_said_once_and_only_its_tests_have_no_score(hub: Hub) -> None:
    said: list[str] = []
    prepared = run()
    prepared.preparation.prepare_suite("disentanglement", prepared.entities.needs, said.append)
    assert len(said) == 1
    assert said[0].startswith("disentanglement: ")
    assert REPO in said[0]
    with pytest.raises(Unscored, match=f"{PROMPTS} of {REPO} is not in the cache: `saebench fetch` brings it"):
        prepared.entities.facts(SPEC)


def test_without_a_network_it_is_said_in_a_sentence(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    put(hub)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(Unreachable, match=r"HF_HUB_OFFLINE is set.*the entities ravel-city"):
        bring()


@pytest.mark.parametrize(
    ("values", "prompts", "said"),
    [
        (CITIES, [], f"{PROMPTS} is no JSON object"),
        (CITIES, {k: v for k, v in TEMPLATES.items() if k != "Country"}, "has no attribute 'Country'"),
        (CITIES, {**TEMPLATES, "Country": ["%s is in", 7]}, "has 1 texts with one %s that ask for Country, where 3"),
    ],
)
def test_files_that_are_not_what_they_should_be_are_told(hub: Hub, values: Any, prompts: Any, said: str) -> None:
    put(hub, values, prompts)
    bring()
    with pytest.raises(Unreadable, match=said):
        run().entities.facts(SPEC)
