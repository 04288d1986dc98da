"""Whatever a file, a name or the hub says: one sentence, no code is run, nothing hangs, fills memory or strays."""

import builtins
import errno
import importlib
import json
import os
import shlex
import shutil
import signal
import sys
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hostile
import hub_repos as repos
import psutil
import pytest
import torch
from factories import make_sae_folder, make_score
from hostile import (
    FORMATS,
    HOSTILE,
    LATENTS,
    UNSHOWABLE,
    Code,
    D,
    arrays,
    entry,
    limited,
    npy,
    place,
    safetensors,
    written,
)
from hub import Hub, redirect, serve

from saebench.boards.leaderboard import render
from saebench.catalogue.registry import resolve, resolve_all
from saebench.catalogue.spec import SAESpec
from saebench.cli import main
from saebench.hub.files import here
from saebench.hub.needs import check_fit, ensure, of_corpus, of_model, of_sae
from saebench.hub.texts import source_of
from saebench.record.score import Unscored
from saebench.record.store import Store
from saebench.run.asked import Asked
from saebench.run.run import Run
from saebench.saes.loaders import load_sae
from saebench.saes.sae import LoadedSAE
from saebench.subject.corpora import Texts
from saebench.subject.subject import Subject, load_subject

torch.set_num_threads(1)
LONGEST = 700
"""Characters of a sentence; folders of tests have long names."""
HOOK = "blocks.1.hook_resid_post"
Told = Callable[..., str]
Case = tuple[Any, str]


@pytest.fixture(scope="module", autouse=True)
def imported() -> None:
    """What is slow, or takes memory, when it is first imported."""
    import sae_lens
    import transformers
    from transformer_lens.model_bridge import TransformerBridge

    assert sae_lens.SAE and transformers.AutoTokenizer and TransformerBridge  # noqa: PT018


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No network, nobody's token, caches and a working folder of its own."""
    from huggingface_hub import constants

    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("SAEBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serve() as served:
        redirect(monkeypatch.setattr, served, tmp_path / "hf")
        yield served


def check_sentence(sentence: str) -> None:
    assert sentence.strip(), "it says nothing"
    assert len(sentence.splitlines()) == 1, f"more than a line: {sentence!r}"
    assert sentence.isprintable(), f"what steers a terminal: {sentence!r}"
    assert len(sentence) <= LONGEST, f"{len(sentence)} characters: {sentence[:200]}"


@pytest.fixture
def told(request: pytest.FixtureRequest) -> Told:
    """Does what has to fail, and gives the sentence that a user reads; it has to have one of these parts in it."""

    def run(action: Callable[[], object], *parts: str, seconds: float = hostile.SECONDS) -> str:
        with pytest.raises((ValueError, OSError, Unscored)) as caught, limited(seconds):
            action()
        sentence = str(caught.value)
        request.node.user_properties.append(("told", sentence))
        check_sentence(sentence)
        assert not [part for part in parts if part not in sentence], sentence
        return sentence

    return run


def ids(cases: list[tuple[Any, ...]] | dict[str, Any]) -> Any:
    """Parametrizes a test by name."""
    named = cases.items() if isinstance(cases, dict) else ((case[0], case[1:]) for case in cases)
    return pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in named])


def loaded(path: Path) -> LoadedSAE:
    """An SAE that lies here, as it is before its first score."""
    (spec,) = resolve(str(path))
    sae = load_sae(spec)
    sae.decode(sae.encode(torch.ones(2, sae.spec.d_in or D)), torch.ones(2, sae.spec.d_in or D))
    return sae


def named(pattern: str, families: Path | None = None) -> list[SAESpec]:
    """SAEs by a pattern, with the repositories that they are in."""
    specs = resolve(pattern, families)
    for spec in specs[:3]:
        of_sae(spec)
    return specs


def test_what_is_broken_below_is_whole_at_first(tmp_path: Path) -> None:
    for form, known in FORMATS.items():
        assert loaded(place(tmp_path / form / "mine", known.files(known.weights()))).spec.d_sae == LATENTS


# Headers

FOUR = bytes(4)
SAFETENSORS: dict[str, Any] = {
    "nothing": b"",
    "text": b"<html>404</html>",
    "length of 2^63": safetensors(b"{}", length=2**63),
    "length of 2^64 - 1": safetensors(b"{}", length=2**64 - 1),
    "length of 100 MB": safetensors(b"{}", length=10**8),
    "cut off": hostile.saved(arrays())[:-5],
    "longer": hostile.saved(arrays()) + b"x",
    "header cut off": hostile.saved(arrays())[:100],
    "no JSON": safetensors(b"{"),
    "a list": safetensors(b"[]"),
    "null": safetensors(b"null"),
    "entry is text": safetensors({"W_enc": "x"}),
    "entry lacks a shape": safetensors({"W_enc": {"dtype": "F32", "data_offsets": [0, 4]}}, FOUR),
    "no arrays": safetensors({}),
    "nested lists": safetensors(b"[" * 500_000),
    "nested tables": safetensors(b'{"a":' * 100_000),
    "terabytes": safetensors({"W_enc": entry([10**6, 10**6], 0, 4 * 10**12)}),
    "10^400 numbers": safetensors({"W_enc": entry([10**400], 0, 4)}, FOUR),
    "10^400 integers": safetensors({"W_enc": entry([10**400], 0, 4, "I64")}, FOUR),
    "60000 dimensions of 1": safetensors({"W_enc": entry([1] * 60_000, 0, 4)}, FOUR),
    "5000 digits": safetensors(b'{"W_enc":{"dtype":"F32","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,4]}}', FOUR),
    "negative": safetensors({"W_enc": entry([-1], 0, 4)}, FOUR),
    "twice negative": safetensors({"W_enc": entry([-1, -1], 0, 4)}, FOUR),
    "infinite shape": safetensors({"W_enc": entry([float("inf")], 0, 4)}, FOUR),
    "NaN shape": safetensors({"W_enc": entry([float("nan")], 0, 4)}, FOUR),
    "infinite offset": safetensors({"W_enc": entry([1], 0, float("inf"))}, FOUR),
    "shape is text": safetensors({"W_enc": entry("1", 0, 4)}, FOUR),
    "overlapping": safetensors({"W_enc": entry([2], 0, 8), "W_dec": entry([2], 4, 12)}, bytes(12)),
    "hole": safetensors({"W_enc": entry([1], 4, 8)}, bytes(8)),
    "backwards": safetensors({"W_enc": entry([1], 4, 0)}, FOUR),
    "one name twice": safetensors(b'{"W_enc":%s,"W_enc":%s}' % ((json.dumps(entry([1], 0, 4)).encode(),) * 2), FOUR),
    "half a character": safetensors(b'{"\\ud800":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', FOUR),
    "dtype is a list": safetensors({"W_enc": entry([1], 0, 4, ["F32"])}, FOUR),
    **{f"dtype {name}": safetensors({"W_enc": entry([1], 0, 4, HOSTILE[name])}, FOUR) for name in HOSTILE},
    **{f"name {name}": safetensors({HOSTILE[name]: entry([1], 0, 4, "I32")}, FOUR) for name in HOSTILE},
}


@ids(SAFETENSORS)
def test_header_of_safetensors(tmp_path: Path, told: Told, case: bytes) -> None:
    told(lambda: loaded(place(tmp_path, {"x.safetensors": case})), "x.safetensors", seconds=2)


def member(*arguments: Any, **more: Any) -> bytes:
    return hostile.archive([("W_enc.npy", npy(*arguments, **more))])


NPZ: dict[str, Any] = {
    "nothing": b"",
    "text": b"<html>404</html>",
    "no members": hostile.archive([]),
    "cut off": hostile.npz(arrays())[:-50],
    "member is empty": hostile.archive([("W_enc.npy", b"")]),
    "member is text": hostile.archive([("W_enc.npy", b"hello")]),
    "terabytes": member((10**6, 10**6)),
    "10^400 numbers": member((10**400,)),
    "negative": member((-1, 4)),
    "twice negative": member((-2, -2), data=bytes(16)),
    "true": member((True,), data=FOUR),
    "objects": member((1,), "|O", hostile.raw_pickle([1])),
    "structure": member((1,), [("a", "<f4")], FOUR),
    "nested (": member(0, header="(" * 9000),
    "nested [": member(0, header="[" * 150),
    "nested -": member(0, header="-" * 9000 + "1"),
    "text without end": member(0, header="{'descr': '''"),
    "Python 2": member(0, header="{'descr': '<f4', 'fortran_order': False, 'shape': (1L,), }", data=FOUR),
    "big-endian": hostile.npz({**arrays(), "W_enc": arrays()["W_enc"].numpy().astype(">f4")}),
    "long double": hostile.npz({**arrays(), "W_enc": arrays()["W_enc"].numpy().astype("longdouble")}),
    "version 9": hostile.archive([("W_enc.npy", b"\x93NUMPY\x09\x09" + bytes(100))]),
    "header of 4 GB": hostile.archive([("W_enc.npy", b"\x93NUMPY\x02\x00" + b"\xff" * 4 + bytes(100))]),
    "directory says terabytes": hostile.archive([("W_enc.npy", npy((10**6, 10**6)))], says=4 * 10**12 + 128),
    "path out of the archive": hostile.archive([("../../W_enc.npy", b"x")]),
    **{f"name {name}": hostile.archive([(f"{HOSTILE[name]}.npy", b"x")]) for name in HOSTILE if name != "half"},
}


@ids(NPZ)
def test_header_of_npz(tmp_path: Path, told: Told, case: bytes) -> None:
    told(lambda: loaded(place(tmp_path, {"x.npz": case})), "x.npz", seconds=2)


PT: dict[str, Any] = {
    "nothing": b"",
    "text": b"<html>404</html>",
    "a pickle": hostile.raw_pickle({"W_enc": [1]}),
    "before 1.6": hostile.old_checkpoint(arrays()),
    "cut off": hostile.checkpoint(arrays())[:-200],
    "another archive": hostile.archive([("a.txt", b"x")]),
    "pickle is empty": hostile.archive([("a/data.pkl", b""), ("a/version", b"3\n")]),
    "pickle is cut off": hostile.archive([("a/data.pkl", b"\x80\x02]q\x00("), ("a/version", b"3\n")]),
    "nested pickle": hostile.archive([("a/data.pkl", b"\x80\x02" + b"(" * 99_999 + b"t" * 99_999 + b".")]),
    "directory says terabytes": hostile.archive([("a/data.pkl", b"x")], says=4 * 10**12),
    "a list": hostile.checkpoint([torch.ones(1)]),
    "nested": hostile.checkpoint({"state_dict": arrays()}),
    "names are numbers": hostile.checkpoint({1: torch.ones(1)}),
    "a module": hostile.checkpoint(torch.nn.Linear(2, 2)),
    "stretched to 4 TB": hostile.checkpoint(arrays(W_enc=hostile.stretched(10**6, 10**6))),
    "without numbers": hostile.checkpoint(arrays(W_enc=torch.empty(D, LATENTS, device="meta"))),
    "sparse": hostile.checkpoint(arrays(W_enc=arrays()["W_enc"].to_sparse())),
    **{f"name {name}": hostile.checkpoint({HOSTILE[name]: torch.ones(1)}) for name in HOSTILE if name != "half"},
}


@ids(PT)
def test_header_of_pt(tmp_path: Path, told: Told, case: bytes) -> None:
    told(lambda: loaded(place(tmp_path, {"x.pt": case})), "x.pt")


def test_archive_of_20000_arrays(tmp_path: Path, told: Told) -> None:
    content = hostile.archive([(f"{i}.npy", npy((1,), data=FOUR)) for i in range(20_000)])
    told(lambda: loaded(place(tmp_path, {"x.npz": content})), "x.npz", "20000", seconds=2)


def test_checkpoint_that_unpacks_to_more_than_it_is(tmp_path: Path, told: Told) -> None:
    content = hostile.archive([("a/data.pkl", bytes(20_000_000))], zipfile.ZIP_DEFLATED)
    told(lambda: loaded(place(tmp_path, {"x.pt": content})), "x.pt", "compressed")


def test_tensors_that_are_larger_than_their_file(tmp_path: Path, told: Told) -> None:
    n = 10**8
    weights = {"W_enc": (D, n), "W_dec": (n, D), "b_enc": (n,), "b_dec": (D,)}
    content = hostile.checkpoint({name: hostile.stretched(*shape) for name, shape in weights.items()})
    assert len(content) < 10_000
    told(lambda: loaded(place(tmp_path, {"x.pt": content})), "x.pt", "W_enc")


def test_archive_that_unpacks_to_more_than_the_memory(
    tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = place(tmp_path, {"x.npz": hostile.npz({"W_enc": torch.zeros(5000, 5000)}, compressed=True)})
    assert path.stat().st_size < 200_000
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=50_000_000))
    told(lambda: loaded(path), "x.npz says that it holds 0.1 GB, and 0.05 GB of memory are free")


@pytest.mark.parametrize("kind", ["safetensors", "npz", "compressed npz", "pt"])
def test_no_changed_bit_ends_in_more_than_a_sentence(tmp_path: Path, kind: str) -> None:
    whole = {
        "safetensors": hostile.saved, "npz": hostile.npz, "compressed npz": lambda w: hostile.npz(w, compressed=True),
        "pt": hostile.checkpoint,
    }[kind](arrays())  # fmt: skip
    path = tmp_path / f"x.{kind.rpartition(' ')[2]}"
    places = torch.randperm(len(whole), generator=torch.Generator().manual_seed(0))[:50]
    nameless = list[str]()
    for at in [*range(0, 200, 5), *range(len(whole) - 200, len(whole), 5), *places.tolist()]:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            loaded(path)
        except (ValueError, OSError) as error:
            check_sentence(str(error))
            nameless += [str(error)] if path.name not in str(error) else []
    assert not nameless, "sentences that do not name the file"


# Shapes, kinds of numbers, and numbers


def changed(form: str, name: str, value: torch.Tensor) -> hostile.Files:
    known = FORMATS[form]
    return known.files({**known.weights(), name: value})


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


# Code


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("kind", ["x.pt", "raw x.pt", "old x.pt", "x.npz", "ae.pt", "goodfire"])
def test_code_in_a_pickle_is_not_run(
    tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch, kind: str, forced: bool
) -> None:
    import numpy as np

    if forced:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    mark, weights = tmp_path / "ran", {**arrays(), "more": Code(tmp_path / "ran")}
    files: dict[str, hostile.Files] = {
        "x.pt": {"x.pt": hostile.checkpoint(weights)},
        "raw x.pt": {"x.pt": hostile.raw_pickle(weights)},
        "old x.pt": {"x.pt": hostile.old_checkpoint(weights)},
        "x.npz": {"x.npz": hostile.npz({**arrays(), "more": np.array([Code(mark)], dtype=object)})},
        "ae.pt": FORMATS["dictionary_learning AutoEncoderTopK"].files(weights),
        "goodfire": {"x.pt": hostile.checkpoint(weights)},
    }
    path = place(tmp_path / "mine", files[kind])
    # sae-lens's converters call torch.load without a word about code.
    as_goodfire = SAESpec("mine/goodfire", "files", str(path), format="goodfire")
    told(lambda: load_sae(as_goodfire) if kind == "goodfire" else loaded(path))
    assert not mark.exists()


# Configurations


def of_form(folder: Path, form: str, name: str, config: Any) -> Path:
    """An SAE whose configuration is changed; bytes replace it as a whole."""
    files = dict(FORMATS[form].files(FORMATS[form].weights()))
    known = files[name] if isinstance(files[name], dict) else json.loads(files[name])
    files[name] = config if isinstance(config, bytes) else merged(known, config)
    return written(folder / "mine", files)


def merged(known: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    both = {key: merged(known[key], value) for key, value in changes.items() if both_tables(known.get(key), value)}
    return {**known, **changes, **both}


def both_tables(known: Any, value: Any) -> bool:
    return isinstance(known, dict) and isinstance(value, dict) and bool(value)


BROKEN: dict[str, bytes] = {
    "nothing": b"", "binary": bytes(range(256)), "half": b"{", "a list": b"[]", "text": b'"x"', "null": b"null",
    "nested": b'{"a":' * 100_000, "5000 digits": b'{"d_in": ' + b"9" * 5000 + b"}", "UTF-16": '{"a": 1}'.encode("utf-16"),
}  # fmt: skip
CONFIGS = [
    ("sae-lens topk", "cfg.json"),
    ("dictionary_learning AutoEncoderTopK", "config.json"),
    ("sparsify", "cfg.json"),
]


@pytest.mark.parametrize(("form", "name"), CONFIGS)
@ids(BROKEN)
def test_configuration_that_is_none(tmp_path: Path, told: Told, form: str, name: str, case: bytes) -> None:
    told(lambda: loaded(of_form(tmp_path, form, name, case)), "mine")


def about(**metadata: Any) -> dict[str, Any]:
    return {"metadata": metadata}


SAE_LENS: dict[str, Case] = {
    **{f"architecture {v!r:.9}": ({"architecture": v}, "architecture") for v in (5, ["topk"], {})},
    "unknown architecture": ({"architecture": "nope"}, "nope"),
    **{f"architecture {name}": ({"architecture": HOSTILE[name]}, "mine") for name in HOSTILE},
    **{f"d_in {v!r}": ({"d_in": v}, "d_in") for v in ("16", 1.5, [16], True, {}, float("nan"))},
    **{f"d_in {v!r:.9}": ({"d_in": v}, "mine") for v in (-1, 0, 15, 10**12, 10**30)},
    **{f"d_sae {v!r:.9}": ({"d_sae": v}, "mine") for v in (-1, 0, 63, 10**12, 10**30, "64")},
    **{f"k {v!r:.9}": ({"k": v}, "k") for v in (-1, 0, 65, 10**30, "5", 1.5, None, [5], {})},
    **{f"normalisation {v!r:.9}": ({"normalize_activations": v}, "normal") for v in (5, [], {}, "nope", "a\nb")},
    **{f"metadata {v!r}": ({"metadata": v}, "metadata") for v in ("x", [1], 5)},
    **{f"model {v!r}": (about(model_name=v), "model_name") for v in (5, ["x"], {"a": 1})},
    **{f"model {name}": (about(model_name=HOSTILE[name]), "model is") for name in UNSHOWABLE},
    **{f"hook {v!r}": (about(hook_name=v), "hook_name") for v in (5, ["x"], {"a": 1})},
    **{f"hook {name}": (about(hook_name=HOSTILE[name]), "hook is") for name in UNSHOWABLE},
    **{f"hook out {name}": (about(hook_name_out=HOSTILE[name]), "hook_out is") for name in UNSHOWABLE},
    **{f"context {v!r}": (about(context_size=v), "context_size") for v in ("64", [64], 1.5, True, -5, 0, {"a": 1})},
    **{f"BOS {v!r}": (about(prepend_bos=v), "prepend_bos") for v in ("x", 1, [])},
    **{f"kwargs {v!r}": (about(model_from_pretrained_kwargs=v), "mine") for v in ("x", [1], 5)},
}


@ids(SAE_LENS)
def test_configuration_of_sae_lens(tmp_path: Path, told: Told, case: Case) -> None:
    told(lambda: loaded(of_form(tmp_path, "sae-lens topk", "cfg.json", case[0])), case[1])


def trainer(**facts: Any) -> dict[str, Any]:
    return {"trainer": facts}


DICTIONARY_LEARNING: dict[str, Case] = {
    "no trainer": ({"trainer": []}, "trainer"),
    **{
        f"class {v!r:.9}": (trainer(dict_class=v), "dict_class") for v in ("Nope", ["x"], 5, None, "a\nb", "a" * 10_000)
    },
    **{
        f"layer {v!r:.9}": (trainer(layer=v), "layer")
        for v in ("../..", {"a": 1}, [1], -1, 1.5, True, "5\n", "a" * 10_000)
    },
    **{f"model {v!r:.9}": (trainer(lm_name=v), "model") for v in (5, ["x"], "a\nb", "a\x1b[31m", "a" * 10_000)},
    **{f"context {v!r}": ({"buffer": {"ctx_len": v}}, "context_size") for v in ("64", [1], -3, 1.5, True, {"a": 1})},
}


@ids(DICTIONARY_LEARNING)
def test_configuration_of_dictionary_learning(tmp_path: Path, told: Told, case: Case) -> None:
    path = of_form(tmp_path, "dictionary_learning AutoEncoderTopK", "config.json", case[0])
    told(lambda: loaded(path), case[1])


@pytest.mark.parametrize("k", [0, -1, 65, 2**62, 2.5, float("nan"), float("inf")])
def test_k_in_a_checkpoint(tmp_path: Path, told: Told, k: float) -> None:
    files = changed("dictionary_learning AutoEncoderTopK", "k", torch.tensor(k))
    told(lambda: loaded(place(tmp_path / "mine", files)), " k ")


@pytest.mark.parametrize("k", ["5", "x", -1, 0, 65, 10**30, 1.5, None, [5], {}, True, float("inf"), float("nan")])
def test_k_of_sparsify(tmp_path: Path, told: Told, k: Any) -> None:
    told(lambda: loaded(of_form(tmp_path, "sparsify", "cfg.json", {"k": k})), "/mine", "k is ")


@pytest.mark.parametrize("activation", ["nope", "a\nb", 5, ["topk"], None, "a" * 10_000])
def test_activation_of_sparsify(tmp_path: Path, told: Told, activation: Any) -> None:
    told(lambda: loaded(of_form(tmp_path, "sparsify", "cfg.json", {"activation": activation})), "activation")


@ids({
    **{f"model {v!r:.9}": ({"model": v}, "model") for v in (5, ["x"], {"a": 1}, "a\nb", "a" * 10_000)},
    **{f"context {v!r}": ({"ctx_len": v}, "context_size") for v in ("64", [1], -1, 1.5, {"a": 1})},
    "a list": ([], "config.json"),
})  # fmt: skip
def test_run_of_sparsify(tmp_path: Path, told: Told, case: Case) -> None:
    path = of_form(tmp_path, "sparsify", "cfg.json", {})
    written(tmp_path, {"config.json": case[0]})
    told(lambda: loaded(path), case[1])


@ids({
    **{f"hook {v!r:.9}": ({"hf_hook_point_in": v}, "hook") for v in (5, ["x"], "a\nb", "model.layers.1.nope", "a" * 10_000)},
    **{f"model {v!r:.9}": ({"model_name": v}, "model") for v in (5, {"a": 1}, "a\nb", "a\x1b[31m")},
})  # fmt: skip
def test_configuration_of_gemma_scope_2(tmp_path: Path, told: Told, case: Case) -> None:
    told(lambda: loaded(of_form(tmp_path, "gemma scope 2", "config.json", case[0])), case[1])


# Family files

REPO = '\nrepo = "a/b"\nformat = "gemma_2"\nlocation = "c"\n'
QUOTED = {name: json.dumps(text) for name, text in HOSTILE.items() if name != "half"}
"""As TOML writes them, which has no half characters."""


def suite(more: str, name: str = '"x-{a}"', where: str = 'repo = "a/b"\npath = "p/{a}"\nformat = "gemma_2"') -> str:
    return f"[[suite]]\nname = {name}\n{where}\n{more}\n"


def release(pattern: str, sae_id: str = "{x...}") -> str:
    return f'[[suite]]\nname = "x"\nrelease = "{pattern}"\nid = "{sae_id}"\n'


ONE = 'values = { a = ["1"] }'
TEN = "[" + ", ".join(f'"{i}"' for i in range(10)) + "]"
BILLIONS = "{ a = ['1'], " + ", ".join(f"v{i} = {TEN}" for i in range(40)) + " }"
THOUSANDS = "{ a = ['1'], " + ", ".join(f"v{i} = {TEN}" for i in range(4)) + " }"
MANY = "".join(suite(f"values = {THOUSANDS}", f'"x{i}-{{v0}}-{{v1}}-{{v2}}-{{v3}}"') for i in range(40))
TOUCHING, FEW = ("".join(f"{{k{i}...}}" for i in range(many)) for many in (12, 5))
LOOKUPS = {
    "two keys": '{ a = { 1 = "x" }, b = {} }', "no key": "{}", "to text": '{ a = "x" }', "to a list": '{ a = ["x"] }',
    "list at the end": '{ a = { 1 = ["x"] } }', "no table": '["x"]', "a date": "1979-05-27",
}  # fmt: skip
FAMILIES: dict[str, str] = {
    "not TOML": "x =",
    "not UTF-8": "\udcff",
    "nested": "a = " + "[" * 100_000,
    "nested tables": "a = " + "{b=" * 50_000,
    "5000 digits": "context_size = " + "9" * 5000,
    **{f"unknown key {name}": f"{QUOTED[name]} = 1" for name in QUOTED},
    **{f"unknown key of an SAE {name}": f'[sae.a]\n{QUOTED[name]} = "x"' for name in QUOTED},
    **{f"unknown key of a suite {name}": f"{suite(ONE)}{QUOTED[name]} = 1" for name in QUOTED},
    **{f"SAE without a place {name}": f'[sae.{QUOTED[name]}]\nrepo = "a/b"' for name in QUOTED},
    **{f"SAE {name}": f"[sae.{QUOTED[name]}]{REPO}" for name in QUOTED},
    **{f"value {name}": f"{suite(f'values = {{ a = [{QUOTED[name]}] }}')}" for name in QUOTED},
    **{f"SAE {name!r}": f'[sae."{name}"]{REPO}' for name in ("../../x", "a/../b", "..", "", "é", "a b")},
    **{f"model {name}": f"[sae.a]{REPO}model = {QUOTED[name]}" for name in UNSHOWABLE if name != "half"},
    **{f"hook {name}": f"[sae.a]{REPO}hook = {QUOTED[name]}" for name in UNSHOWABLE if name != "half"},
    **{f"corpus {name}": f"[sae.a]{REPO}corpus = {QUOTED[name]}" for name in UNSHOWABLE if name != "half"},
    "path upwards": 'path = "../*"',
    "path upwards below": 'path = "a/../../*"',
    "path from the root": 'path = "/etc/*"',
    "path that is no pattern": 'path = "a**"',
    "location upwards": '[sae.a]\nlocation = "../outside"',
    "location from the root": '[sae.a]\nlocation = "/etc"',
    "location in a repository upwards": '[sae.a]\nrepo = "a/b"\nformat = "gemma_2"\nlocation = "../../c"',
    **{f"location {name}": f"[sae.a]\nlocation = {QUOTED[name]}" for name in ("line", "ansi", "nul", "bidi")},
    "location that is not there": '[sae.a]\nlocation = "nope"',
    "unknown format": '[sae.a]\nlocation = "c"\nrepo = "a/b"\nformat = "nope"',
    "unknown format with a loader": '[sae.a]\nlocation = "c"\nrepo = "a/b"\nformat = "nope"\nloader = "files"',
    **{f"loader {name}": f'[sae.a]\nlocation = "c"\nloader = "{name}"' for name in ("nope", "..os", "control", "build")},
    "negative context": '[sae.a]\nlocation = "here"\ncontext_size = -5',
    "control is a number": 'path = "*"\ncontrols = [1]',
    "suite is a number": "suite = 5",
    "suite is a list of numbers": "suite = [1]",
    "SAEs are a list": "sae = [1]",
    "billions of values": suite(f"values = {BILLIONS}"),
    "2^20000 values": suite("values = { a = ['1'], " + ", ".join(f"v{i} = ['1','2']" for i in range(20_000)) + " }"),
    "forty suites of 10000": MANY,
    "values are text": suite('values = { a = "123" }'),
    "values are a number": suite("values = { a = 5 }"),
    "values are a table": suite("values = { a = { b = 1 } }"),
    "value is a list": suite('values = { a = [["x"]] }'),
    "no values": suite(""),
    **{f"placeholder {p}": suite(ONE, f'"x-{p}"') for p in ("{0}", "{missing}", "{a...}", "{__class__}", "{x.__class__}")},
    **{f"placeholder {p} in a hook": suite(f'{ONE}\nhook = "{p}"') for p in ("{0}", "{missing}", "{__class__}")},
    **{f"placeholder {p} in a path": suite(ONE, where=f'repo = "a/b"\npath = "{p}"\nformat = "gemma_2"') for p in ("{0}", "{b}")},
    **{f"hook looked up: {how}": suite(f"{ONE}\nhook = {LOOKUPS[how]}") for how in LOOKUPS},
    **{f"d_in looked up: {how}": suite(f"{ONE}\nd_in = {LOOKUPS[how]}") for how in LOOKUPS},
    **{f"name looked up: {how}": suite(ONE, LOOKUPS[how]) for how in LOOKUPS if how != "a date"},
    "hook is a number": suite(f"{ONE}\nhook = 5"),
    "width is text": suite(f'{ONE}\nd_in = "x"'),
    "BOS is text": suite(f'{ONE}\nprepend_bos = "{{a}}"'),
    "width of 2^10^15": suite(f'{ONE}\nd_sae = "2pow999999999999999"'),
    "width of 5000 digits": suite(f'{ONE}\nd_sae = "{"9" * 5000}"'),
    "release with a number": release("{5}"),
    "release with a name that begins with a number": release("{1x}"),
    "release that takes years": release(f"{TOUCHING}!"),
    "id that takes years": release("{r...}", f"{TOUCHING}!"),
    "release that takes minutes": release(f"{FEW}!"),
    "id that takes minutes": release("{r...}", f"{FEW}!"),
    "unknown format of a suite": suite(ONE, where='repo = "a/b"\npath = "p"\nformat = "no\\npe"'),
}  # fmt: skip


def family(folder: Path, text: str, name: str = "evil.toml") -> Path:
    make_sae_folder(folder / "family" / "here")
    make_sae_folder(folder / "outside")
    (folder / "family" / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    return folder / "family" / name


@ids(FAMILIES)
def test_family_file(tmp_path: Path, told: Told, case: str) -> None:
    path = family(tmp_path, case)
    told(lambda: named(str(path)), "evil", seconds=3)


@ids({
    "repository upwards": 'repo = "../b"', "repository further upwards": 'repo = "../../b"', "from the root": 'repo = "/a/b"',
    "line": 'repo = "a/b\\n"', "revision upwards": 'repo = "a/b"\nrevision = "../../c"',
    "revision nul": 'repo = "a/b"\nrevision = "a\\u0000"', "revision line": 'repo = "a/b"\nrevision = "a\\nb"',
})  # fmt: skip
def test_repository_of_a_family_file(tmp_path: Path, told: Told, case: str) -> None:
    told(lambda: named(str(family(tmp_path, f'[sae.a]\nformat = "gemma_2"\nlocation = "c"\n{case}'))))


@pytest.mark.parametrize("name", ["line", "ansi", "bidi", "invisible", "html", "table", "code"])
def test_name_of_a_family_file(tmp_path: Path, told: Told, name: str) -> None:
    told(lambda: named(str(family(tmp_path, f"[sae.a]{REPO}", f"{HOSTILE[name]}.toml".replace("/", "_")))))


@pytest.mark.parametrize(
    "template", ["{a.__class__}", "{a!r}", "{a[0]}", "{a:>99999999999}", "{}", "{{a}}", "%s", "{a"]
)
def test_templates_reach_nothing_but_values(tmp_path: Path, template: str) -> None:
    where = f'repo = "a/b"\npath = "p/{template}"\nformat = "gemma_2"'
    with limited():
        try:
            (spec,) = named(str(family(tmp_path, suite(f'{ONE}\nhook = "{template}"', where=where))))
        except ValueError as error:
            check_sentence(str(error))
        else:
            expected = template.replace("{a}", "1")
            assert (spec.location, spec.hook) == (f"p/{expected}", expected)


def test_family_file_runs_no_code(tmp_path: Path, told: Told) -> None:
    Path("evil_module.py").write_bytes(hostile.script(tmp_path / "ran") + b"def make(): pass\n")
    path = family(tmp_path, '[sae.a]\nlocation = "evil_module:make"\nloader = "python"')
    told(lambda: load_sae(resolve(str(path))[0]), "evil.toml")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("key", ["path", "location"])
def test_link_out_of_a_family(tmp_path: Path, key: str) -> None:
    """What it leads to is read as any SAE is, and nothing else happens."""
    text = 'path = "link*"' if key == "path" else '[sae.a]\nlocation = "link"'
    path = family(tmp_path, text)
    (path.parent / "link").symlink_to("/etc")
    with pytest.raises(ValueError, match="is not an SAE in a known format"):
        named(str(path))


# Names


@pytest.mark.parametrize(
    "pattern",
    [
        "{}",
        "./{}",
        "saelens:{}/x",
        "saelens:gpt2-small-res-jb/{}",
        "hf:a/{}",
        "hf:a/b/{}",
        "hf:a/b@{}",
        "organism~{}",
        "os:{}",
        "organism/{}*",
    ],
)
@pytest.mark.parametrize("name", HOSTILE)
def test_pattern(tmp_path: Path, told: Told, pattern: str, name: str) -> None:
    family(tmp_path, f"[sae.a]{REPO}", "organism.toml")
    told(lambda: named(pattern.format(HOSTILE[name]), tmp_path / "family"))


@pytest.mark.parametrize("pattern", [
    "hf:../x", "hf:a/../b", "hf:a/b/../../c", "hf:a/b/..", "hf:a/b@../../c", "hf:a/b@a/../c", "hf:a", "hf:", "saelens:../x/y",
    "saelens:gpt2-small-res-jb/../x", "saelens:gpt2-small-res-jb/*@../c", "~nosuchuser/x", "../../../nope", "organism/../x",
    "/dev/null", "/dev/zero", "/", "", "[", "organism~nope", "organism/topk-16~random~pca",
])  # fmt: skip
def test_pattern_that_strays(told: Told, tmp_path: Path, pattern: str) -> None:
    told(lambda: Run(named(pattern), Store(tmp_path / "s.jsonl")).holder.sae(resolve(pattern)[0]))


@pytest.mark.parametrize("name", ["line", "ansi", "bidi", "invisible", "html", "table", "code"])
def test_folder_with_a_bad_name_that_holds_nothing_good(tmp_path: Path, told: Told, name: str) -> None:
    folder = make_sae_folder(tmp_path / HOSTILE[name].replace("/", "_"))
    (folder / "cfg.json").write_text("{")
    told(lambda: resolve(str(folder)))
    told(lambda: resolve(str(tmp_path / "*")))


@pytest.mark.parametrize("command", ["ls", "show"])
@pytest.mark.parametrize("name", ["line", "ansi", "bidi", "invisible", "html", "table", "separator"])
def test_folder_with_a_bad_name_is_shown_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, name: str
) -> None:
    main([command, str(make_sae_folder(tmp_path / HOSTILE[name].replace("/", "_")))])
    check_shown(capsys.readouterr())


@pytest.mark.parametrize("command", ["ls", "show"])
@pytest.mark.parametrize("key", ["l0", "model_name", "hook_name", "notes", "a key\n\x1b[31m"])
@pytest.mark.parametrize("name", UNSHOWABLE)
def test_metadata_is_shown_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, key: str, name: str
) -> None:
    main([command, str(make_sae_folder(tmp_path / "mine", **{key: HOSTILE[name]}))])
    check_shown(capsys.readouterr())


def check_shown(captured: Any) -> None:
    for line in (captured.out + captured.err).split("\n"):
        assert line.isprintable(), repr(line)


FIELDS = ("sae", "model", "hook", "corpus", "unit", "n_unit", "commit", "created", "unscored", "property")


@pytest.mark.parametrize("field", [*FIELDS, "title", "command"])
@pytest.mark.parametrize("name", HOSTILE)
def test_leaderboard(field: str, name: str) -> None:
    text = HOSTILE[name]
    told = {"title": text} if field == "title" else {"title": "t"}
    told["command"] = f"pytest suites/ --sae {shlex.quote(text if field == 'command' else 'f')}"
    scores = [make_score(**({field: f"a.{text}" if field == "property" else text} if field in FIELDS else {}))]
    with limited():
        page = render([*scores, make_score(sae="f/b"), make_score(sae="f/c", unscored="no reason")], **told)
    assert all(line.isprintable() for line in page.split("\n")), "what steers a terminal"
    outside = page.replace(told["command"], "")
    assert "<" not in outside
    assert "](javascript" not in outside.replace("\\](", "")
    assert all(line.startswith(("#", "|", "-", "*", "(", "`", "Value", "pytest", "")) for line in page.split("\n"))
    page.encode()


def test_boards_are_written_where_they_belong(tmp_path: Path) -> None:
    names = [f"f/{HOSTILE[name]}" for name in HOSTILE if name not in ("half", "long")] + ["f/../../../evil", "../evil"]
    for number, name in enumerate(names):
        store = Store(tmp_path / "in" / f"{number}.jsonl")
        columns = {f"angle{end}": [1.0, 2.0] for end in ("", ":feature", ":feature:low", ":feature:high")}
        store.append(make_score(sae=name, property="distinguishability.angle"), columns)
        assert main(["publish", str(store.path), "--to", str(tmp_path / "out" / "boards")]) == 0
    assert {path.name for path in tmp_path.iterdir()} <= {"in", "out", "work", "cache", "hf"}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["boards"]


# Objects


def module(code: str) -> str:
    """The address of an SAE of Python."""
    Path("evil_sae.py").write_text(f"import torch\nclass SAE:\n    def encode(self, x): return x\n{code}\n")
    sys.modules.pop("evil_sae", None)
    importlib.invalidate_caches()
    return "evil_sae:make"


def with_attribute(name: str, value: str) -> str:
    return module(f"def make():\n    sae = SAE()\n    sae.{name} = {value}\n    return sae")


@pytest.fixture(scope="module")
def shared_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose model is loaded once."""
    return Run([], Store(tmp_path_factory.mktemp("run") / "s.jsonl"), Asked("smoke", "cpu"))


ATTRIBUTES = {
    "hook": [
        "5",
        "['x']",
        "{}",
        "'nope'",
        "'blocks.99.hook_resid_post'",
        "'blocks.-1.hook_resid_post'",
        "'blocks.٣.x'",
    ],
    "context_size": ["'64'", "-5", "0", "[1]", "64.5", "float('nan')", "True"],
    "model": ["5", "['x']", "'../../etc'", "'a/b/c'", "'a/b@../../c'", "'/etc/passwd'"],
    "architecture": ["5", "['x']", "{}"],
}
HOSTILE_ATTRIBUTES = [(name, repr(HOSTILE[bad])) for name in ("hook", "model", "architecture") for bad in UNSHOWABLE]


@pytest.mark.parametrize(("name", "value"), [
    *((name, value) for name, values in ATTRIBUTES.items() for value in values), *HOSTILE_ATTRIBUTES,
    ("hook", repr("a" * 10_000)), ("model", repr("a" * 10_000)),
])  # fmt: skip
def test_attribute_of_an_object(shared_run: Run, told: Told, name: str, value: str) -> None:
    (spec,) = resolve(with_attribute(name, value))
    shared_run.holder._sae = None

    def use() -> None:
        load_sae(spec)
        shared_run.documents.activations(shared_run.holder.sae(spec))

    told(use, seconds=20)


@pytest.mark.parametrize("code", [
    "make = 5", "def make(needed): return SAE()", "def make(): return 3", "make = None", "other = 1",
    "def make(): return type('a\\n\\x1b[31mb', (), {})()",
])  # fmt: skip
def test_callable_that_makes_no_sae(told: Told, code: str) -> None:
    told(lambda: load_sae(resolve(module(code))[0]), "evil_sae:make")


@pytest.mark.parametrize("code", [
    "raise RuntimeError('first \\x1b[31m line\\nsecond')", "raise RuntimeError('1,' * 50_000)", "return '<b>'", "return x[:1]",
    "return x * float('nan')", "return x @ torch.ones(17, 4)",
])  # fmt: skip
def test_sae_that_misbehaves(told: Told, code: str) -> None:
    sae = load_sae(resolve(module(f"class make(SAE):\n    def encode(self, x): {code}"))[0])
    told(lambda: sae.encode(torch.ones(2, D)), "encode")


# The hub


@cache
def gemma() -> bytes:
    return repos.gemma_scope_npz(D, LATENTS)


def fetched(pattern: str) -> LoadedSAE:
    specs = resolve_all([pattern])
    ensure([need for spec in specs for need in of_sae(spec)], print)
    return load_sae(specs[0])


def test_unknown_repository_revision_and_path(hub: Hub, told: Told) -> None:
    hub.add("a/b", {"x/params.npz": gemma()})
    told(lambda: fetched("hf:a/nope/x"), "a/nope: no such model on the hub")
    told(lambda: fetched("hf:a/b/x@nope"), "a/b has no revision 'nope'")
    told(lambda: fetched(f"hf:a/b/x@{'0' * 40}"), f"a/b has no revision '{'0' * 40}'")
    told(lambda: fetched("hf:a/b/nope"), "a/b has no nope")
    told(lambda: ensure(of_model("a/nope"), print), "a/nope: no such model on the hub")
    told(lambda: ensure(of_model("a/b@nope"), print), "a/b has no revision 'nope'")
    told(lambda: ensure(of_model("a/b"), print), "the model a/b", "config.json")


def test_gated_without_a_token(hub: Hub, told: Told) -> None:
    hub.add("g/sae", {"x/params.npz": gemma()})
    hub.add("g/model", tiny())
    hub.add("datasets/g/texts", repos.text_dataset(["a b c"]))
    hub.gated |= {"g/sae", "g/model", "datasets/g/texts"}
    told(lambda: fetched("hf:g/sae/x"), "g/sae is gated: accept its terms", "HF_TOKEN")
    told(lambda: ensure(of_model("g/model"), print), "g/model is gated: accept its terms", "HF_TOKEN")
    told(lambda: kept("g/texts"), "g/texts", "gated")


def test_disk_that_is_too_small(hub: Hub, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("a/b", {"x/params.npz": gemma()})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=10**9, used=10**9, free=1))
    told(lambda: fetched("hf:a/b/x"), "a/b: needs ", " left")


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_disk_that_fills_up(hub: Hub, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import file_download

    hub.add("a/b", {"x/params.npz": gemma()})
    with monkeypatch.context() as patch:
        patch.setattr(file_download, "http_get", full)
        told(lambda: fetched("hf:a/b/x"), "a/b: No space left on device")
    assert fetched("hf:a/b/x").spec.d_in == D


def test_texts_on_a_disk_that_fills_up(hub: Hub, told: Told, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hub.add("datasets/a/b", repos.text_dataset(["a b c"]))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        told(lambda: kept("a/b"), "a/b", "No space left on device", seconds=10)
    assert not [path for path in tmp_path.rglob("*.json") if "texts" in path.parts]
    assert kept("a/b") == ["a b c"]


def flipped(content: bytes, at: int = 3000) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def test_download_that_is_cut_off_goes_on(hub: Hub) -> None:
    hub.add("a/b", {"x/params.npz": gemma()})
    hub.cut["x/params.npz"] = 500
    assert fetched("hf:a/b/x").spec.d_in == D


def test_download_that_is_damaged_is_not_kept(hub: Hub, told: Told) -> None:
    hub.add("a/b", {"x/params.npz": gemma()})
    hub.corrupt["x/params.npz"] = flipped
    told(lambda: fetched("hf:a/b/x"), "a/b: x/params.npz arrived damaged")
    hub.corrupt.clear()
    assert fetched("hf:a/b/x").spec.d_in == D


@pytest.mark.parametrize("online", [True, False])
@pytest.mark.parametrize("how", [flipped, lambda content: content[:-100], lambda _: b""])
def test_cached_file_that_is_damaged(
    hub: Hub, told: Told, monkeypatch: pytest.MonkeyPatch, online: bool, how: Callable[[bytes], bytes]
) -> None:
    from huggingface_hub import constants

    hub.add("a/b", {"x/params.npz": gemma()})
    fetched("hf:a/b/x")
    (path,) = here(resolve("hf:a/b/x")[0])
    path.resolve().write_bytes(how(gemma()))
    if not online:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        told(lambda: fetched("hf:a/b/x"), "HF_HUB_OFFLINE is set", "hf:a/b/x")
    else:
        assert fetched("hf:a/b/x").spec.d_in == D
        assert path.read_bytes() == gemma()


@pytest.mark.parametrize("name", ["../../evil.json", "a/../../../evil.json", "a\nb.json", "/evil.json"])
def test_repository_whose_files_stray(hub: Hub, told: Told, tmp_path: Path, name: str) -> None:
    hub.add("a/b", {name: b"{}", **tiny()})
    told(lambda: ensure(of_model("a/b"), print))
    assert not list(tmp_path.rglob("*evil*"))


def test_model_whose_weights_are_pickled(hub: Hub, told: Told, tmp_path: Path) -> None:
    hub.add(
        "a/b",
        {
            "config.json": b"{}",
            "tokenizer.json": b"{}",
            "pytorch_model.bin": hostile.raw_pickle(Code(tmp_path / "ran")),
        },
    )
    told(lambda: ensure(of_model("a/b"), print), "the model a/b has no weights as safetensors", "pickled")
    assert not (tmp_path / "ran").exists()


# Texts


def kept(name: str) -> list[str]:
    source = source_of(name)
    ensure(of_corpus(source), print)
    assert source is not None
    return source.texts()


PARQUET = "data/train-00000-of-00001.parquet"


@ids({
    "no data": {"README.md": b"#"}, "another split": {"test.jsonl": b'{"text": "a"}\n'}, "numbers": {"train.jsonl": b'{"text": 5}\n'},
    "other columns": {"train.jsonl": b'{"a": "x"}\n'}, "column with a bad name": {"train.jsonl": b'{"a\\n\\u001b[31mb": "x"}\n'},
    "broken JSON": {"train.jsonl": b'{"text": 5}\n{"te'}, "broken Parquet": {PARQUET: b"\0junk" * 100},
    "unknown kind of file": {"train.xyz": b"\0"},
})  # fmt: skip
def test_data_set(hub: Hub, told: Told, case: dict[str, bytes]) -> None:
    hub.add("datasets/a/texts", case)
    told(lambda: kept("a/texts"), "a/texts", seconds=10)


@pytest.mark.parametrize("name", ["texts.py", "train.pkl"])
def test_code_in_a_data_set_is_not_run(hub: Hub, told: Told, tmp_path: Path, name: str) -> None:
    mark = tmp_path / "ran"
    content = hostile.script(mark) if name.endswith(".py") else hostile.raw_pickle(Code(mark))
    hub.add("datasets/a/texts", {name: content})
    told(lambda: kept("a/texts"), "a/texts", seconds=10)
    assert not mark.exists()


CORPORA: dict[str, tuple[str, bytes | None]] = {
    "binary": ("x.txt", bytes(range(256))),
    "Latin 1": ("x.txt", "é".encode("latin1")),
    "UTF-16": ("x.txt", "a snake".encode("utf-16")),
    "empty": ("x.txt", b""),
    "blank": ("x.txt", b"\n\n \n"),
    "folder": ("x.txt", None),
    "folder of lines": ("x.jsonl", None),
    "empty lines": ("x.jsonl", b"\n\n"),
    **{f"line {line[:9]!r}": ("x.jsonl", line) for line in (b"[1]", b'"x"', b"5", b"null", b"NaN", b"{", b"{}", b'{"text": 5}', b'{"text": ["a"]}', b'{"text": ""}')},
    "binary lines": ("x.jsonl", bytes(range(256))),
    "nested": ("x.jsonl", b'{"a":' * 100_000),
    "5000 digits": ("x.jsonl", b'{"text": ' + b"9" * 5000 + b"}"),
    "half a character": ("x.jsonl", b'{"text": "\\ud800 a snake is a reptile"}'),
    "bad name": ("a\nb\x1b[31m.txt", b""),
}  # fmt: skip


@ids(CORPORA)
def test_file_of_texts(tmp_path: Path, told: Told, case: tuple[str, bytes | None]) -> None:
    """It is looked at before anything heavy is loaded."""
    name, content = case
    (tmp_path / name).mkdir() if content is None else (tmp_path / name).write_bytes(content)
    run = Run(resolve("organism/topk-16"), Store(tmp_path / "s.jsonl"), Asked(texts=str(tmp_path / name)))
    told(lambda: run.preparation.prepare(print), "--sae-corpus")


@pytest.mark.parametrize("name", [
    "a\nb", "a\x1b[31mb", "a" * 10_000, "a" * 10_000 + ".txt", "a\0b.txt", "a\ud800.txt", "../b", "a/b@../../c", "a/b@c\n", "a/b/c",
    "~nosuchuser/x.txt", "nope.txt", "x.csv", "/dev/zero", "/etc/passwd", "<b>/c",
])  # fmt: skip
def test_name_of_texts(tmp_path: Path, told: Told, name: str) -> None:
    run = Run(resolve("organism/topk-16"), Store(tmp_path / "s.jsonl"), Asked(texts=name))
    told(lambda: run.preparation.prepare(print))


class Careful:
    """The organism's tokenizer, which does not take what would cost it minutes and gigabytes."""

    bos_token_id = 0
    eos_token_id = None

    def __init__(self) -> None:
        import transformers

        from saebench.hub.models import model_folder

        self.own = transformers.AutoTokenizer.from_pretrained(model_folder("organism"), local_files_only=True)

    def __call__(self, texts: list[str], **options: Any) -> Any:
        assert max(map(len, texts)) < 1_000_000, "more than a context can hold is split into tokens"
        return self.own(texts, **options)


@pytest.mark.parametrize("text", [b"the snake is a reptile of the house ", b"a", bytes(range(97, 123))])
def test_one_line_of_50_megabytes(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(text * (50_000_000 // len(text)))
    source = source_of(str(path))
    assert source is not None
    tokenizer = Careful()
    with limited(3):
        rows = Texts(source, 16, 256).rows(tokenizer)
    assert rows.tokens.shape == (1, 256)


# Models


@cache
def tiny() -> repos.Files:
    return repos.gpt2_model(D, 2, 2)


def model(folder: Path, spec: SAESpec | None = None) -> Subject:
    """A model that lies here, with an SAE, as a run makes them ready."""
    ensure(of_model(str(folder)), print)
    check_fit(spec or SAESpec("mine", "python", "x:y", hook=HOOK, d_in=D), str(folder), chosen=True)
    subject = load_subject(str(folder))
    subject.residual(torch.tensor([[1, 2, 3]]), (spec.hook if spec else None) or HOOK)
    return subject


def with_config(folder: Path, **changes: Any) -> Path:
    return written(folder / "model", {**tiny(), "config.json": {**json.loads(tiny()["config.json"]), **changes}})


def without(*parts: str) -> repos.Files:
    return {name: content for name, content in tiny().items() if not any(part in name for part in parts)}


def weights_of_model(**changes: torch.Tensor | None) -> repos.Files:
    """Weights whose names contain these are exchanged, or left out."""
    from safetensors.torch import load

    found = load(tiny()["model.safetensors"])
    for part, value in changes.items():
        for name in [name for name in found if part in name]:
            if value is None:
                del found[name]
            else:
                found[name] = value.expand(found[name].shape) if value.ndim == 0 else value
    return {**tiny(), "model.safetensors": hostile.saved(found)}


def test_model_is_whole_at_first(tmp_path: Path) -> None:
    assert model(written(tmp_path / "model", tiny())).n_ctx == 256


def with_weights(content: bytes) -> repos.Files:
    return {**tiny(), "model.safetensors": content}


def with_index(index: Any) -> hostile.Files:
    return {**without("safetensors"), "model.safetensors.index.json": index}


INDICES: dict[str, Any] = {
    "a list": [], "empty": {}, "list of weights": {"weight_map": []}, "a number": {"weight_map": {"a": 5}},
    "upwards": {"weight_map": {"a": "../../etc/passwd"}}, "from the root": {"weight_map": {"a": "/etc/passwd"}},
    "pickle": {"weight_map": {"a": "b.bin"}}, "line": {"weight_map": {"a": "a\n\x1b[31m.safetensors"}},
}  # fmt: skip
MODELS: dict[str, tuple[Callable[[], hostile.Files], str]] = {
    "nothing": (lambda: {}, "config.json"),
    "configuration alone": (lambda: {"config.json": tiny()["config.json"]}, "model.safetensors"),
    "pickled weights": (
        lambda: {**without("safetensors"), "pytorch_model.bin": hostile.checkpoint({})},
        "model.safetensors",
    ),
    "no tokenizer": (lambda: without("token"), "tokenizer"),
    "cut off": (lambda: with_weights(tiny()["model.safetensors"][:-9]), "model.safetensors"),
    "no safetensors": (lambda: with_weights(b"junk"), "model.safetensors"),
    "10^400 integers": (lambda: with_weights(safetensors({"a": entry([10**400], 0, 4, "I64")}, FOUR)), "model"),
    "terabytes": (lambda: with_weights(safetensors({"a": entry([10**13], 0, 4, "I64")}, FOUR)), "model"),
    "no weights": (lambda: with_weights(safetensors({})), "model"),
    "a layer is missing": (lambda: weights_of_model(**{"h.1.": None}), "h.1."),
    "another shape": (lambda: weights_of_model(wte=torch.ones(5, D)), "model"),
    "NaN": (lambda: weights_of_model(**{"ln_f.bias": torch.tensor(float("nan"))}), "NaN"),
    **{f"index {how}": (lambda how=how: with_index(INDICES[how]), "model") for how in INDICES},
    **{
        f"tokenizer {raw[:9]!r}": (lambda raw=raw: {**tiny(), "tokenizer.json": raw}, "model")
        for raw in (b"", b"{", b"[]", b"{}", b"null", b'{"a":' * 100_000)
    },
    **{
        f"configuration of the tokenizer {raw!r:.30}": (
            lambda raw=raw: {**tiny(), "tokenizer_config.json": raw},
            "model",
        )
        for raw in (b"{", b"[]", {"tokenizer_class": 5})
    },
}


@ids(MODELS)
def test_folder_of_a_model(tmp_path: Path, told: Told, case: tuple[Callable[[], hostile.Files], str]) -> None:
    (tmp_path / "model").mkdir()
    folder = written(tmp_path / "model", case[0]())
    told(lambda: model(folder), case[1], seconds=10)


@ids({
    **{f"{key} {value!r:.12}": {key: value} for key, values in {
        "n_layer": ("2", [2], {}, -1, 0, None, 10**9, 10**30, "x"), "n_embd": ("16", [16], -16, 0, None, 15), "n_head": (0, 3, "2", None),
        "n_positions": ("x", -5, [1]), "vocab_size": (-1, 10**12, "x", 5), "model_type": ("nope\n\x1b[31m", 5, ["gpt2"], None, "bert", "t5", "../../x", "a" * 10_000),
        "architectures": (5,), "activation_function": ("nope", 5, "os.system"), "attn_implementation": ("evil/kernel", "nope"), "dtype": ("nope",),
        "text_config": ({"n_layer": "x"}, [1]), "quantization_config": (5, {"quant_method": "awq"}), "tie_word_embeddings": ("x",), "layer_norm_epsilon": ("x",),
        "auto_map": (5,),
    }.items() for value in values},
})  # fmt: skip
def test_configuration_of_a_model(tmp_path: Path, told: Told, case: dict[str, Any]) -> None:
    told(lambda: model(with_config(tmp_path, **case)), "model")


@ids(BROKEN)
def test_configuration_of_a_model_that_is_none(tmp_path: Path, told: Told, case: bytes) -> None:
    told(lambda: model(written(tmp_path / "model", {**tiny(), "config.json": case})), "model")


@pytest.mark.parametrize("what", ["model", "model of a known type", "tokenizer", "tokenizer of the hub"])
def test_code_of_a_model_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, request: pytest.FixtureRequest
) -> None:
    """Nor is the user asked whether it should be: who answers yes by habit would run it."""
    mark, asked = tmp_path / "ran", list[str]()
    answers = iter(["y"] * 9)
    monkeypatch.setattr(builtins, "input", lambda prompt="": asked.append(prompt) or next(answers))
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    auto = {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M", "AutoTokenizer": ["evil.K", None]}
    config, tokenizer = json.loads(tiny()["config.json"]), json.loads(tiny()["tokenizer_config.json"])
    changes: dict[str, hostile.Files] = {
        "model": {"config.json": {**config, "model_type": "mine", "auto_map": auto}},
        "model of a known type": {"config.json": {**config, "auto_map": auto}},
        "tokenizer": {"tokenizer_config.json": {**tokenizer, "auto_map": {"AutoTokenizer": ["evil.K", None]}, "tokenizer_class": "K"}},
        "tokenizer of the hub": {"tokenizer_config.json": {**tokenizer, "auto_map": {"AutoTokenizer": ["a/b--evil.K", None]}, "tokenizer_class": "K"}},
    }  # fmt: skip
    folder = written(tmp_path / "model", {**tiny(), "evil.py": hostile.script(mark, "C", "M", "K"), **changes[what]})
    try:
        model(folder)
    except (ValueError, OSError) as error:
        request.node.user_properties.append(("told", str(error)))
        check_sentence(str(error))
    finally:
        signal.alarm(0)  # transformers' own, for an answer
    assert not mark.exists(), "code of a model was run"
    assert not asked, "the user was asked whether to run it"


@ids([
    ("width", {"hook": HOOK, "d_in": 17}, "17 dimensions"), ("layer", {"hook": "blocks.2.hook_resid_post"}, "2 layers"),
    ("layer of its output", {"hook": HOOK, "hook_out": "blocks.2.hook_resid_post"}, "2 layers"),
    ("hook", {"hook": "blocks.1.hook_nope"}, "no hook 'blocks.1.hook_nope'"), ("no block", {"hook": "ln_final.hook_normalized"}, "not inside a block"),
    ("negative layer", {"hook": "blocks.-1.hook_resid_post"}, "blocks.-1"), ("5000 digits", {"hook": f"blocks.{'9' * 5000}.hook_resid_post"}, "mine"),
    *((f"hook {name}", {"hook": f"blocks.9.{HOSTILE[name]}"}, "mine") for name in HOSTILE),
    *((f"hook out {name}", {"hook": HOOK, "hook_out": f"blocks.9.{HOSTILE[name]}"}, "mine") for name in HOSTILE),
])  # fmt: skip
def test_sae_that_does_not_fit_the_model(tmp_path: Path, told: Told, case: tuple[dict[str, Any], str]) -> None:
    facts, part = case
    told(lambda: model(written(tmp_path / "model", tiny()), SAESpec("mine", "python", "x:y", **facts)), part)


@pytest.mark.parametrize("name", [
    *HOSTILE.values(), "../..", "../../x/y", "/nope", "./nope", "a/b@../../c", "a/b@c\nd", "a/b@\x1b[31m", "", "@", "~nosuchuser/x", "a/b/c", "/etc/passwd",
    "http://a.b/c",
])  # fmt: skip
def test_name_of_a_model(told: Told, name: str) -> None:
    told(lambda: ensure(of_model(name), print))


# The terminal

SUITE = """
import pytest
from saebench.metrics import reconstruction

@pytest.mark.score("reconstruction.fvu", 1, "lower", "fraction")
def test_fvu(trace, record):
    record(reconstruction.fvu(trace))

@pytest.mark.score("distinguishability.auc", 1, "higher", "AUC")
def test_auc(lineup, record):
    record(lineup.auc)
"""


@pytest.fixture
def project(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> pytest.Pytester:
    (pytester.path / "suites").mkdir()
    (pytester.path / "suites" / "test_small.py").write_text(SUITE)
    monkeypatch.chdir(pytester.path)
    monkeypatch.setenv("SAEBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "hostile-cache"))
    monkeypatch.syspath_prepend(pytester.path)
    return pytester


def seen(project: pytest.Pytester, *arguments: str, code: int = 4) -> str:
    """What a user sees of a run that ends with this exit code."""
    options = ["suites", "--sae-scores", "s.jsonl", "--sae-budget", "smoke", "-p", "saebench.plugin", "-k", "fvu"]
    done = project.runpytest_inprocess(*options, *arguments)
    text = done.stdout.str() + done.stderr.str()
    assert done.ret == code, text[-2000:]
    assert "Traceback" not in text
    assert "INTERNALERROR" not in text
    assert all(line.isprintable() for line in text.replace("\r", "").replace("\t", " ").split("\n"))
    return text


def test_terminal_family(project: pytest.Pytester) -> None:
    Path("evil.toml").write_text('"a\\n\\u001b[31mb" = 5')
    assert "evil.toml: unknown key" in seen(project, "--sae", "./evil.toml")
    Path("evil.toml").write_text(suite("values = { a = 5 }"))
    assert "evil.toml" in seen(project, "--sae", "./evil.toml")


def test_terminal_names(project: pytest.Pytester) -> None:
    assert "no such SAE" in seen(project, "--sae", "a\n\x1b[31mb")
    assert "nosuchuser" in seen(project, "--sae", "~nosuchuser/x")
    assert "nosuchuser" in seen(project, "--sae-list=~nosuchuser/x")


def test_terminal_weights(project: pytest.Pytester) -> None:
    Path("x.safetensors").write_bytes(hostile.saved(arrays())[:-5])
    assert "x.safetensors is damaged" in seen(project, "--sae", "./x.safetensors")
    Path("y.pt").write_bytes(hostile.checkpoint({**arrays(), "more": Code(Path("ran").absolute())}))
    assert "holds code or objects" in seen(project, "--sae", "./y.pt")
    assert not Path("ran").exists()


def test_terminal_texts(project: pytest.Pytester) -> None:
    Path("x.txt").write_bytes(bytes(range(256)))
    text = seen(project, "--sae", "organism/topk-16", "--sae-corpus", "x.txt")
    assert "--sae-corpus x.txt: not UTF-8" in text
    assert "test_fvu[" not in text, "the run had begun"


def test_terminal_model(project: pytest.Pytester) -> None:
    written(Path("model"), {"config.json": tiny()["config.json"]})
    text = seen(project, "--sae", "organism/topk-16", "--sae-model", "model")
    assert "the model model is no folder of a language model" in text


@pytest.mark.parametrize(("name", "value"), [("context_size", "'64'"), ("hook", "'a\\n\\x1b[31mb'"), ("hook", "5")])
def test_terminal_object(project: pytest.Pytester, name: str, value: str) -> None:
    assert name in seen(project, "--sae", with_attribute(name, value))


def test_terminal_reason(project: pytest.Pytester) -> None:
    code = "class make(SAE):\n    hook = 'blocks.1.hook_resid_post'\n    def encode(self, x): raise RuntimeError('a\\x1b[31m b\\nc')"
    assert "raised RuntimeError: a" in seen(project, "--sae", module(code), code=1)


def test_terminal_scores_on_a_full_disk(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("saebench.record.store.write_through", full)
    assert "No space left on device" in seen(project, "--sae", "organism/topk-16")


def test_terminal_activations_on_a_full_disk(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SAEBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("saebench.subject.cache.Cache._write", full)
    assert "No space left on device" in seen(project, "--sae", "organism/topk-16")
