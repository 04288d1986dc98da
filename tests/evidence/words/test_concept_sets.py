"""The sets that ship say what is true of the embedded world."""

from saebench.evidence.words.concepts import available, load_concepts
from saebench.organism.world import World
from saebench.record.places import organism_folder


def test_the_taxonomy_is_that_of_the_world() -> None:
    lexicon, taxonomy = World.load(organism_folder()).lexicon, load_concepts("taxonomy")
    assert {name: frozenset(w.text for w in words) for name, words in lexicon.by_category.items()} == taxonomy.members
    assert taxonomy.members["reptile"] < taxonomy.members["animal"]


def test_the_attributes_are_those_of_the_worlds_people_and_cities() -> None:
    lexicon, attributes = World.load(organism_folder()).lexicon, load_concepts("attributes")
    for person in lexicon.people:
        home = person.home
        for concept in (home.continent, home.country, home.language, person.profession):
            assert person.name in attributes.members[concept]
    assert sum(map(len, attributes.members.values())) == 4 * len(lexicon.people) + 3 * len(lexicon.cities)


def test_every_set_that_ships_loads_and_is_scored() -> None:
    suite = (organism_folder().parent.parent / "suites" / "test_absorption.py").read_text()
    assert all(f'"{name}"' in suite and load_concepts(name).concepts for name in available())
