"""Is a feature made of what its description says, as Einstein may be of Germany, physics and fame? After Vikram N's experiment of 2024, with the controls that it lacks."""

import pytest

from saebench.metrics import decomposability

SOURCES = pytest.mark.parametrize("source", ["description", "texts"])


@SOURCES
@pytest.mark.score("decomposability.j", 1, "higher", "J", headline=True, tolerance=0.05, floor=0.0, ceiling=1.0)
def test_j(decomposed, record, source):
    record(decomposability.j(decomposed))


@SOURCES
@pytest.mark.score("decomposability.coverage", 1, "higher", "fraction", tolerance=0.05, floor=0.05, ceiling=1.0)
def test_coverage(decomposed, record, source):
    record(decomposability.coverage(decomposed))


@pytest.mark.parametrize("source", ["description"])
@pytest.mark.score("decomposability.found", 1, "neither", "fraction", floor=0.0, ceiling=1.0)
def test_found(decomposed, record, source):
    record(decomposability.found_share(decomposed))


@SOURCES
@pytest.mark.score("decomposability.evenness", 1, "neither", "fraction", floor=0.0, ceiling=1.0)
def test_evenness(decomposed, record, source):
    record(decomposability.evenness(decomposed))


@SOURCES
@pytest.mark.score("decomposability.none", 1, "neither", "fraction")
def test_none(decomposed, record, source):
    record(decomposability.kind_share(decomposed, "none"))


@SOURCES
@pytest.mark.score("decomposability.partial", 1, "neither", "fraction")
def test_partial(decomposed, record, source):
    record(decomposability.kind_share(decomposed, "partial"))


@SOURCES
@pytest.mark.score("decomposability.all", 1, "neither", "fraction")
def test_all(decomposed, record, source):
    record(decomposability.kind_share(decomposed, "all"))
