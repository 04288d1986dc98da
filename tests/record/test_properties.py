"""A wrong marker is one sentence that names the test and the nearest keyword."""

from typing import Any

import pytest

from saebench.record.properties import Property, from_marker

RIGHT: dict[str, Any] = {"name": "family.property", "version": 1, "better": "higher", "unit": "ratio"}
WHERE = "suites/test_x.py::test_y"


def marked(**changes: Any) -> Property:
    return from_marker((), RIGHT | changes, WHERE)


def test_marker_becomes_a_property() -> None:
    found = from_marker(("family.property", 2, "lower", "nat"), {"tolerance": 0.1, "floor": 1.0}, WHERE)
    assert found == Property("family.property", 2, "lower", "nat", tolerance=0.1, floor=1.0)
    assert (found.ceiling, found.machine) == (None, False)


@pytest.mark.parametrize(
    ("keyword", "nearest"), [("tolerence", "tolerance"), ("bettr", "better"), ("units", "unit"), ("flor", "floor")]
)
def test_unknown_keyword_gets_the_nearest(keyword: str, nearest: str) -> None:
    with pytest.raises(ValueError, match=f"no keyword '{keyword}'. Did you mean '{nearest}'") as caught:
        marked(**{keyword: 1})
    message = str(caught.value)
    assert message.startswith(f"{WHERE}: ")
    assert "Known: name, version, better, unit, tolerance, floor, ceiling, machine" in message
    assert "\n" not in message


def test_keyword_like_no_other_gets_the_list() -> None:
    with pytest.raises(ValueError, match=r"no keyword 'xyzzy'\. Known: name, version"):
        marked(xyzzy=1)


@pytest.mark.parametrize("direction", ["up", "Higher", "", None, True])
def test_direction_is_one_of_three(direction: Any) -> None:
    with pytest.raises(ValueError, match="is none of higher, lower, neither"):
        marked(better=direction)


@pytest.mark.parametrize("direction", ["higher", "lower", "neither"])
def test_the_three_directions(direction: str) -> None:
    assert marked(better=direction).better == direction


@pytest.mark.parametrize(
    "name", ["", "plain", "a.b.c", ".b", "a.", "a b.c", "a.b-c", "1a.b", "a..b", "a.b\n", "family/property"]
)
def test_name_is_family_and_property(name: str) -> None:
    with pytest.raises(ValueError, match=r"is not of the form family\.property"):
        marked(name=name)


@pytest.mark.parametrize("change", [{"tolerance": -0.1}, {"version": 0}, {"version": -1}])
def test_version_and_tolerance_have_a_least_value(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="version starts at 1 and tolerance at 0"):
        marked(**change)


def test_tolerance_that_is_no_number_is_refused() -> None:
    """It would let everything pass."""
    with pytest.raises(ValueError, match="tolerance"):
        marked(tolerance=float("nan"))


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        (("family.property",), {}),
        (("family.property", 1, "higher"), {}),
        (("family.property", 1, "higher", "ratio"), {"unit": "ratio"}),
        (("family.property", "1", "higher", "ratio"), {}),
        (("family.property", 1, "higher", "ratio", "much"), {}),
        ((7, 1, "higher", "ratio"), {}),
        (tuple(range(20)), {}),
    ],
)
def test_missing_and_wrong_arguments_name_the_test(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"suites/test_x\.py::test_y: "):
        from_marker(args, kwargs, WHERE)
