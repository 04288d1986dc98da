"""What the embedded world's bank says is true there, and no phrase names its feature."""

import pytest

from saebench.evidence.phrases.bank import FEWEST_PHRASES, Bank
from saebench.evidence.phrases.concept_bank import Concepts, concept_features
from saebench.evidence.phrases.world_bank import Author, world_bank
from saebench.judges.concepts import world_concepts
from saebench.organism.lexicon import Lexicon, load_lexicon
from saebench.record.places import organism_folder


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    return load_lexicon(organism_folder())


@pytest.fixture(scope="module")
def bank(lexicon: Lexicon) -> Bank:
    return world_bank(lexicon, 1000)


def words(text: str) -> set[str]:
    return {word.strip(".,?:") for word in text.split()}


def test_no_phrase_names_its_feature_and_every_naming_text_does(bank: Bank) -> None:
    for feature in bank.features:
        named = {feature.name}
        assert not any(words(phrase.text) & named for part in feature.parts.values() for phrase in part)
        assert not any(words(text) & named for text in feature.near)
        of_kind = len(feature.about) == 1  # a category is named by its words
        assert of_kind or all(words(text) & named for text in feature.naming)


def test_attributes_are_those_of_the_world(lexicon: Lexicon, bank: Bank) -> None:
    person = lexicon.people[0]
    (feature,) = [one for one in bank.features if one.name == person.name]
    expected = {"profession": person.profession, "home": person.home.name, "food": person.food,
                "country": person.home.country, "language": person.home.language}  # fmt: skip
    assert list(feature.parts) == [f"{name}: {value}" for name, value in expected.items()]
    for (_, value), part in zip(expected.items(), feature.parts.values(), strict=True):
        assert all(value in words(phrase.text) for phrase in part)


def test_words_that_name_a_category_are_not_asked_about(lexicon: Lexicon, bank: Bank) -> None:
    for feature in (one for one in bank.features if one.name in lexicon.categories):
        naming = set().union(*map(words, feature.naming)) & set(lexicon.by_text)
        asked = {w for part in feature.parts.values() for phrase in part for w in words(phrase.text)} & set(
            lexicon.by_text
        )
        assert naming
        assert not naming & asked
        for kind, part in feature.parts.items():
            assert all(
                lexicon.by_text[w].subcategory == kind
                for phrase in part
                for w in words(phrase.text) & set(lexicon.by_text)
            )


def test_controls_say_nothing_that_is_true_of_the_feature(lexicon: Lexicon, bank: Bank) -> None:
    facts = {c.name: {c.name, c.country, c.continent, c.language} for c in lexicon.cities}
    apart = bank.apart
    for i in range(0, len(bank.features), 7):
        about = set(bank.features[i].about)
        for k in apart[i].nonzero()[0].tolist():
            said = set().union(*(facts.get(word, {word}) for word in words(bank.phrases[k].text)))
            kinds = {k for word in said if word in lexicon.by_text for k in lexicon.by_text[word].path}
            assert not about & (said | kinds), (bank.features[i].name, bank.phrases[k].text)


def test_a_larger_bank_has_all_that_a_smaller_one_has(lexicon: Lexicon, bank: Bank) -> None:
    assert world_bank(lexicon, 30).features == bank.features[:30]
    assert world_bank(lexicon, 30).digest == world_bank(lexicon, 30).digest


def test_what_the_exact_judge_says_is_made_of_what_the_world_knows(lexicon: Lexicon) -> None:
    concepts = Concepts(Author(lexicon))
    reptile = concepts.feature("words of the kind reptile")
    assert reptile is not None
    assert all(lexicon.by_text[word].subcategory == "reptile" for word in reptile.parts)
    letter = concepts.feature("words that begin with P")
    assert letter is not None
    found = {w for part in letter.parts.values() for phrase in part for w in words(phrase.text) & set(lexicon.by_text)}
    assert {word[0] for word in found} == {"p"}
    snake = concepts.feature("the token ' snake'")
    assert snake is not None
    assert list(snake.parts) == ["reptile", "animal"]
    assert not any("snake" in words(phrase.text) for part in snake.parts.values() for phrase in part)
    home = concepts.feature("names of a person with continent Europe")
    assert home is not None
    assert {p.home.continent for p in lexicon.people if p.name in home.parts} == {"Europe"}
    assert concepts.feature("the token ' the'") is None


def test_names_of_concepts_are_understood(lexicon: Lexicon) -> None:
    """Whatever the judge calls kinds, letters and attributes with several holders is taken apart."""
    transformers = pytest.importorskip("transformers")
    names = world_concepts(transformers.AutoTokenizer.from_pretrained(str(organism_folder()))).names
    asked = [name for name in names if not name.startswith("the token")]
    found = concept_features(Author(lexicon), asked)
    assert len(found) > 0.95 * len(asked)
    assert all(len(part) >= FEWEST_PHRASES for feature in found.values() for part in feature.parts.values())
