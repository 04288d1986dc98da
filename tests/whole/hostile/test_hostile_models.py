"""Folders of models that are damaged, hold code, or do not fit an SAE."""

import builtins
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile
import hub_repos as repos
import pytest
import torch
from hostile import (
    HOSTILE,
    D,
    entry,
    safetensors,
    written,
)
from hostile_cases import BROKEN, FOUR, HOOK, Told, check_sentence, ids, tiny

from saebench.catalogue.spec import SAESpec
from saebench.hub.fit import check_fit
from saebench.hub.needs import ensure, of_model
from saebench.subject.subject import Subject, load_subject

torch.set_num_threads(1)


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
