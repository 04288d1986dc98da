"""Arrays of other shapes, other kinds of numbers, and numbers that are none."""

from pathlib import Path

import hostile
import pytest
import torch
from hostile import (
    FORMATS,
    LATENTS,
    D,
    arrays,
    place,
)
from hostile_cases import Told, changed, loaded

torch.set_num_threads(1)

EACH = [pytest.param(form, name, id=f"{form}-{name}") for form in FORMATS for name in hostile.USED[form].split()]


MISSHAPEN = [
    pytest.param(form, name, how, id=f"{form}-{name}-{how}")
    for form in FORMATS
    for name in hostile.USED[form].split()
    for how in hostile.WAYS.get(hostile.dimensions(form, name), ["empty", "3-D"])
    # A transposed square is as good, and one threshold may stand for all.
    if not (how == "transposed" and name in ("W_skip", "affine_skip_connection"))
    if not (how == "0-D" and name == "threshold" and form.startswith("dictionary_learning"))
]


ARRAYS = ("enc", "dec", "bias", "threshold", "mag", "gate", "skip")


@pytest.mark.parametrize(("form", "name", "how"), MISSHAPEN)
def test_array_of_another_shape(tmp_path: Path, told: Told, form: str, name: str, how: str) -> None:
    value = hostile.misshapen(FORMATS[form].weights()[name], how)
    sentence = told(lambda: loaded(place(tmp_path / "mine", changed(form, name, value))))
    assert any(part in sentence for part in ARRAYS), "it does not say which array"


@pytest.mark.parametrize(("form", "name"), EACH)
def test_array_that_is_not_there(tmp_path: Path, told: Told, form: str, name: str) -> None:
    if name in ("threshold", "W_skip", "affine_skip_connection") and " " not in form.replace("gemma scope 2", ""):
        pytest.skip("without thresholds it is a ReLU, and without a skip connection a transcoder like others")
    known = FORMATS[form]
    files = known.files({key: value for key, value in known.weights().items() if key != name})
    sentence = told(lambda: loaded(place(tmp_path / "mine", files)))
    assert any(part in sentence for part in ARRAYS), "it does not say which array"


@pytest.mark.parametrize("sizes", [(0, 8), (8, 0)])
def test_sae_of_no_size(tmp_path: Path, told: Told, sizes: tuple[int, int]) -> None:
    d, n = sizes
    weights = {"W_enc": torch.ones(d, n), "W_dec": torch.ones(n, d), "b_enc": torch.ones(n), "b_dec": torch.ones(d)}
    told(lambda: loaded(place(tmp_path, {"x.safetensors": hostile.saved(weights)})), "x.safetensors", "W_enc")


NUMBERS = {"int64": torch.int64, "bool": torch.bool, "complex64": torch.complex64, "float8": torch.float8_e4m3fn}


@pytest.mark.parametrize("numbers", NUMBERS)
@pytest.mark.parametrize("form", FORMATS)
def test_numbers_of_another_kind(tmp_path: Path, told: Told, form: str, numbers: str) -> None:
    if form == "npz" and numbers == "float8":
        pytest.skip("numpy has none")
    name = hostile.USED[form].split()[0]
    files = changed(form, name, FORMATS[form].weights()[name].contiguous().to(NUMBERS[numbers]))
    sentence = told(lambda: loaded(place(tmp_path / "mine", files)))
    assert any(
        part in sentence for part in (numbers, {"int64": "I64", "float8": "F8"}.get(numbers, "?"), "BOOL", "C64")
    )


@pytest.mark.parametrize("bad", ["nan", "-inf"])
@pytest.mark.parametrize(("form", "name"), EACH)
def test_numbers_that_are_none(tmp_path: Path, told: Told, form: str, name: str, bad: str) -> None:
    value = FORMATS[form].weights()[name].clone(memory_format=torch.contiguous_format)
    value.view(-1)[0] = float(bad)
    told(lambda: loaded(place(tmp_path / "mine", changed(form, name, value))), "NaN or infinite")


def test_numbers_that_are_too_large_for_float32(tmp_path: Path, told: Told) -> None:
    weights = arrays(W_dec=torch.full((LATENTS, D), 1e300, dtype=torch.float64))
    told(lambda: loaded(place(tmp_path, {"x.safetensors": hostile.saved(weights)})), "W_dec", "NaN or infinite")
