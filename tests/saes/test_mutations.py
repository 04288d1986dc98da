"""A field or an array that is added, renamed, dropped or given another value is never ignored, and never a traceback.

What comes of it is what was computed before, to the bit, where the field is known to be harmless; another computation,
where it is obeyed; or one sentence that names it.
"""

import json
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import hostile
import pytest
import torch
from checkpoints import check_sentence, computed, loaded
from hostile import FORMATS as KINDS
from hostile import Files, Weights
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from paths import DATA

from saebench.catalogue.layouts import FORMATS
from saebench.catalogue.layouts.fields import Fields, brief
from saebench.saes.sae import LoadedSAE

torch.set_num_threads(1)
FEW = settings(
    max_examples=15, derandomize=True, database=None, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)  # fmt: skip
LAYOUT_OF = {
    "safetensors": "arrays", "skip": "arrays", "npz": "params_npz", "pt": "arrays", "sparsify": "sparsify",
    "gemma scope 2": "params_safetensors", "sae-lens": "sae_lens", "dictionary_learning": "dictionary_learning_1",
}  # fmt: skip
"""By how a kind's name begins."""
CONFIGURED = [
    name for name in KINDS if any(file.endswith(".json") for file in KINDS[name].files(KINDS[name].weights()))
]
CHECKPOINTS = DATA / "checkpoints"
LIBRARIES = sorted(folder.name for folder in CHECKPOINTS.iterdir() if not folder.name.startswith("plain"))
each_configured = pytest.mark.parametrize("kind", [*CONFIGURED, *LIBRARIES])
NAMES = st.one_of(
    st.sampled_from(
        "k threshold log_threshold scaling_factor signed io bias b_dec norm activation top_k dropout tied temperature"
        " apply_b_dec_to_input normalize_activations rescale_acts_by_decoder_norm use_threshold norm_factor pre_bias".split()
    ),
    st.text(min_size=1, max_size=12),
)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-3, 10**12), st.floats(), st.text(max_size=8))
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=2), st.dictionaries(st.text(max_size=4), SCALARS, max_size=2))


@cache
def files_of(kind: str) -> Files:
    """Of a made-up SAE, or of one that its library wrote; the configuration as a table."""
    if kind in KINDS:
        files = KINDS[kind].files(KINDS[kind].weights())
    else:
        (folder,) = (path for path in (CHECKPOINTS / kind).iterdir() if path.is_dir())
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return {n: json.loads(c) if n.endswith(".json") and isinstance(c, bytes) else c for n, c in files.items()}


def layout_name(kind: str) -> str:
    return next(name for start, name in LAYOUT_OF.items() if kind.startswith(start))


def outcome(files: Files) -> "str | LoadedSAE":
    """The sentence with which an SAE is refused, or the SAE."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            sae = loaded(hostile.place(Path(folder) / "mine", files))
        except (ValueError, OSError) as error:
            check_sentence(str(error))
            return str(error)
        computed(sae)
        return sae


@cache
def known(kind: str) -> LoadedSAE:
    found = outcome(files_of(kind))
    assert isinstance(found, LoadedSAE), found
    return found


def same(sae: LoadedSAE, kind: str) -> bool:
    """Whether it computes the same, to the bit, and reads in the same place."""
    other = known(kind)
    facts = ("hook", "hook_out", "model", "context_size", "prepend_bos", "normalisation", "centred")
    told = all(getattr(sae.spec, fact) == getattr(other.spec, fact) for fact in facts)
    return told and all(map(torch.equal, computed(sae), computed(other)))


def config_of(kind: str) -> tuple[str, dict[str, Any]]:
    files = files_of(kind)
    name = next(name for name in files if name.endswith(".json"))
    return name, json.loads(json.dumps(files[name]))


def fields_of(kind: str) -> Fields:
    _, config = config_of(kind)
    layout = FORMATS[layout_name(kind)]
    return layout.fields_of(next(iter(layout.configs)), config)


def tables(config: dict[str, Any], fields: Fields) -> list[tuple[dict[str, Any], Fields]]:
    """A configuration, and the tables in it, with what is known of each."""
    inner = [
        pair
        for name, own in fields.tables.items()
        if isinstance(config.get(name), dict)
        for pair in tables(config[name], own)
    ]
    return [(config, fields), *inner]


def classes(fields: Fields) -> dict[str, str]:
    kinds = {"obeyed": fields.obeyed, "harmless": fields.harmless, "only": fields.only, "table": fields.tables}
    return {name: kind for kind, names in kinds.items() for name in names}


@each_configured
@FEW
@given(data=st.data())
def test_field_that_is_added(kind: str, data: st.DataObject) -> None:
    file, config = config_of(kind)
    table, fields = data.draw(st.sampled_from(tables(config, fields_of(kind))))
    name = data.draw(NAMES.filter(lambda name: name not in table and name not in fields.known))
    table[name] = data.draw(VALUES)
    found = outcome({**files_of(kind), file: config})
    if fields.free and isinstance(found, LoadedSAE):
        assert same(found, kind)
    else:
        assert isinstance(found, str), f"{name} was ignored"
        assert "unknown" in found
        assert brief(name) in found


@each_configured
@FEW
@given(data=st.data())
def test_field_that_is_renamed(kind: str, data: st.DataObject) -> None:
    file, config = config_of(kind)
    table, fields = data.draw(st.sampled_from(tables(config, fields_of(kind))))
    assume(table)
    old = data.draw(st.sampled_from(sorted(table)))
    new = data.draw(st.sampled_from([old[:-1], f"{old}s", old.replace("_", "-"), old.upper(), f"my_{old}"]))
    assume(new not in {*table, *fields.known} and new)
    table[new] = table.pop(old)
    found = outcome({**files_of(kind), file: config})
    if isinstance(found, LoadedSAE):
        assert fields.free, f"{new} was ignored"
    else:
        assert brief(old) in found or brief(new) in found or old in found


@each_configured
@FEW
@given(data=st.data())
def test_field_that_is_dropped_or_has_another_value(kind: str, data: st.DataObject) -> None:
    file, config = config_of(kind)
    table, fields = data.draw(st.sampled_from(tables(config, fields_of(kind))))
    assume(table)
    name = data.draw(st.sampled_from(sorted(table)))
    kept = classes(fields).get(name, "a note")
    if data.draw(st.booleans()):
        del table[name]
    else:
        table[name] = data.draw(VALUES.filter(lambda value: json.dumps(value) != json.dumps(table[name])))
    found = outcome({**files_of(kind), file: config})
    if kept in ("harmless", "a note"):
        assert isinstance(found, LoadedSAE), found
        assert same(found, kind)
    elif kept == "only" and name in table and isinstance(found, LoadedSAE):
        assert any(type(table[name]) is type(one) and table[name] == one for one in fields.only[name])


def weights_of(kind: str) -> Weights:
    return dict(KINDS[kind].weights())


def shaped(weights: Weights) -> st.SearchStrategy[tuple[int, ...]]:
    """A shape that fits in, or one that does not."""
    sizes = sorted({size for value in weights.values() for size in value.shape})
    return st.lists(st.sampled_from([*sizes, 1, 3]), max_size=2).map(tuple)


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(data=st.data())
def test_array_that_is_added(kind: str, data: st.DataObject) -> None:
    weights, arrays = weights_of(kind), arrays_of(kind)
    name = data.draw(
        NAMES.filter(lambda name: name not in weights and name.isprintable() and "/" not in name and "\\" not in name)
    )
    weights[name] = torch.ones(data.draw(shaped(weights)))
    found = outcome(KINDS[kind].files(weights))
    if name in arrays.harmless:
        assert isinstance(found, str) or same(found, kind)
    elif name in arrays.shapes:
        assert isinstance(found, str) or not same(found, kind)
    else:
        assert isinstance(found, str), f"{name} was ignored"
        assert "unknown array" in found
        assert brief(name) in found


def arrays_of(kind: str) -> Any:
    config = config_of(kind)[1] if kind in CONFIGURED else {}
    return FORMATS[layout_name(kind)].arrays_of(config)


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(data=st.data())
def test_array_that_is_dropped_renamed_or_scaled(kind: str, data: st.DataObject) -> None:
    weights = weights_of(kind)
    name = data.draw(st.sampled_from(sorted(weights)))
    value = weights.pop(name)
    how = data.draw(st.sampled_from(["dropped", "renamed", "scaled"]))
    if how == "renamed":
        weights[data.draw(st.sampled_from([f"{name}2", name[:-1], f"sae.{name}", name.swapcase()]))] = value
    if how == "scaled":
        weights[name] = value + 1 if value.is_floating_point() else value
    found = outcome(KINDS[kind].files(weights))
    unneeded = name in arrays_of(kind).harmless or not value.is_floating_point()
    if isinstance(found, LoadedSAE):
        assert how != "renamed" or name.swapcase() in weights
        assert unneeded or how == "renamed" or not same(found, kind)


def test_what_is_mutated_is_what_the_libraries_wrote() -> None:
    assert len(LIBRARIES) > 15
    kinds: Mapping[str, Any] = {kind: fields_of(kind) for kind in (*CONFIGURED, *LIBRARIES)}
    assert all(isinstance(fields, Fields) for fields in kinds.values())
