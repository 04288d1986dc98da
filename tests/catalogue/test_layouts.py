"""Nothing in a configuration or a checkpoint is ignored: it is obeyed, known to be harmless, or refused by its name."""

import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import hostile
import psutil
import pytest
import torch
from checkpoints import check_sentence, computed, inputs, loaded
from hostile import FORMATS as KINDS
from hostile import LATENTS, D, arrays, limited, place
from paths import DATA, ROOT
from torch import Tensor

from saebench.catalogue.layouts import FORMATS, sae_lens
from saebench.catalogue.layouts.fields import Fields

torch.set_num_threads(1)
SAES = ROOT / "fixtures" / "organism" / "saes"
CHECKPOINTS = DATA / "checkpoints"


def refused(path: Path, *parts: str) -> str:
    """The sentence with which it is refused; it has all of these parts in it."""
    with pytest.raises((ValueError, OSError)) as caught, limited():
        loaded(path)
    sentence = str(caught.value)
    check_sentence(sentence)
    assert not [part for part in parts if part not in sentence], sentence
    return sentence


def lone(folder: Path, weights: Mapping[str, Any], suffix: str = "safetensors") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write = {"safetensors": hostile.saved, "npz": hostile.npz, "pt": hostile.checkpoint}[suffix]
    path = folder / f"x.{suffix}"
    apart = {name: value.clone() if isinstance(value, Tensor) else value for name, value in weights.items()}
    path.write_bytes(write(apart))
    return path


# The lists are complete


def test_every_format_has_one_that_reads_it() -> None:
    """Its own reader, or sae-lens's converter of that name."""
    from sae_lens.loading.pretrained_sae_loaders import NAMED_PRETRAINED_SAE_LOADERS

    assert len(FORMATS) > 10
    for name, known in FORMATS.items():
        reader = known.reader and import_module(f"saebench.saes.loaders.{known.reader}").read
        assert callable(reader or NAMED_PRETRAINED_SAE_LOADERS[name]), name


def test_every_field_of_every_class_of_sae_lens_is_known() -> None:
    """A new version of sae-lens with a new field makes this fail: look at what the field does, and list it."""
    import sae_lens as library
    from sae_lens.registry import SAE_CLASS_REGISTRY, SAE_TRAINING_CLASS_REGISTRY

    assert library.SAE
    base = {*sae_lens.BASE, *sae_lens.PLACE, *sae_lens.SHAPED, "metadata"}
    assert {*SAE_CLASS_REGISTRY} == {*sae_lens.ARCHITECTURES, "temporal"}
    for name, known in sae_lens.ARCHITECTURES.items():
        own = {field.name for field in fields(SAE_CLASS_REGISTRY[name][1])} - base
        assert own == {*known}, name
    assert {*SAE_TRAINING_CLASS_REGISTRY} == {*sae_lens.TRAINING, *sae_lens.UNFINISHED}
    for name, known in sae_lens.TRAINING.items():
        own = {field.name for field in fields(SAE_TRAINING_CLASS_REGISTRY[name][1])} - base
        assert own == {*known, *sae_lens.ARCHITECTURES[name]}, name


def test_every_field_of_a_run_of_sae_lens_is_known() -> None:
    from sae_lens.config import LanguageModelSAERunnerConfig
    from sae_lens.loading.pretrained_sae_loaders import LLM_METADATA_KEYS

    known = {*sae_lens.BEFORE_6.known, *sae_lens.BASE}
    assert {field.name for field in fields(LanguageModelSAERunnerConfig)} <= known
    assert known >= LLM_METADATA_KEYS
    assert set(sae_lens.METADATA.known) >= LLM_METADATA_KEYS


def test_no_field_is_in_two_classes() -> None:
    def check(known: Fields) -> None:
        names = known.known
        assert len(names) == len({*names}), [name for name in names if names.count(name) > 1]
        for table in known.tables.values():
            check(table)

    for layout in FORMATS.values():
        for file in layout.configs:
            check(layout.fields_of(file, {"metadata": {}, "sae": {}, "hf_hook_point_in": ""}))


@pytest.mark.parametrize("architecture", ["standard", "gated", "topk", "abstopk", "jumprelu", "matching_pursuit"])
def test_checkpoint_of_training_is_read_as_sae_lens_reads_it(tmp_path: Path, architecture: str) -> None:
    from sae_lens import SAE

    trained(architecture).save_model(tmp_path / "mine")
    original, x = SAE.load_from_disk(tmp_path / "mine"), inputs()
    latents, reconstruction = computed(loaded(tmp_path / "mine"))
    with torch.no_grad():
        assert torch.equal(latents, original.encode(x))
        torch.testing.assert_close(reconstruction, original(x))


@pytest.mark.parametrize("architecture", sae_lens.UNFINISHED)
def test_checkpoint_of_batch_topk_is_told_how_to_be_saved(tmp_path: Path, architecture: str) -> None:
    trained(architecture).save_model(tmp_path / "mine")
    refused(tmp_path / "mine", "cfg.json", architecture, "save_inference_model")


def trained(architecture: str) -> Any:
    """A training SAE of sae-lens, with random weights, whose configuration has all that there is to configure."""
    from sae_lens.registry import SAE_TRAINING_CLASS_REGISTRY
    from sae_lens.saes.sae import SAEMetadata

    make, configure = SAE_TRAINING_CLASS_REGISTRY[architecture]
    more: dict[str, Any] = {"k": 5} if "topk" in architecture else {}
    more |= {"decoder_init_norm": 1.0} if architecture == "matching_pursuit" else {}
    more |= {"matryoshka_widths": [8, LATENTS]} if architecture.startswith("matryoshka") else {}
    metadata = SAEMetadata(hook_name="blocks.0.hook_resid_post", model_name="tiny", context_size=64, prepend_bos=True)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        sae = make(configure(d_in=D, d_sae=LATENTS, metadata=metadata, **more))
        for parameter in sae.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return sae


# What was ignored once


def weights_of(name: str) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return {key: value.float() for key, value in load_file(SAES / name / "sae_weights.safetensors").items()}


def reading_itself(name: str) -> dict[str, Tensor]:
    """The weights of an SAE that subtracts its bias, as those of one that does not."""
    w = weights_of(name)
    return {**w, "b_enc": w["b_enc"] - w["b_dec"] @ w["W_enc"]}


@cache
def residual(side: str) -> Tensor:
    """(document, position, d) what goes into, or comes out of, block 1: by transformers and a forward hook."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from saebench.subject.corpora import WorldTexts

    model = AutoModelForCausalLM.from_pretrained(SAES.parent, local_files_only=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(SAES.parent, local_files_only=True)
    seen: list[Tensor] = []
    pick = {"in": lambda into, _: into[0], "out": lambda _, out: out if isinstance(out, Tensor) else out[0]}[side]
    model.transformer.h[1].register_forward_hook(lambda _, into, out: seen.append(pick(into, out)))
    with torch.no_grad():
        model(WorldTexts(16, 256).rows(tokenizer).tokens)
    return torch.cat(seen)


def fvu(x: Tensor, reconstruction: Tensor) -> float:
    return float((x - reconstruction).square().sum() / (x - x.mean(0)).square().sum())


def signed(folder: Path) -> Path:
    w, place = weights_of("topk-32"), folder / "run" / "h.1"
    coder = {"encoder.weight": w["W_enc"].T, "encoder.bias": w["b_enc"], "W_dec": w["W_dec"], "b_dec": w["b_dec"]}
    known = {"k": 32, "d_in": 192, "num_latents": 1024, "normalize_decoder": True, "signed": True}
    run = {"model": "organism", "ctx_len": 64, "sae": known}
    hostile.written(
        place.parent, {"config.json": run, "h.1/cfg.json": known, "h.1/sae.safetensors": hostile.saved(coder)}
    )
    return place


def test_signed_latents_of_sparsify(tmp_path: Path) -> None:
    w, sae = weights_of("topk-32"), loaded(signed(tmp_path))
    x = residual("out")[:, 1:64].flatten(0, 1)
    before = (x - w["b_dec"]) @ w["W_enc"] + w["b_enc"]
    best = before.abs().topk(32).indices
    latents = torch.zeros_like(before).scatter(1, best, before.gather(1, best))
    assert torch.allclose(sae.encode(x), latents, atol=1e-4)
    assert (sae.spec.hook, sae.spec.context_size) == ("blocks.1.hook_resid_post", 64)
    assert fvu(x, sae.decode(sae.encode(x))) == pytest.approx(4.66, abs=0.01)


def learned(folder: Path, io: str, **trainer: Any) -> Path:
    w = weights_of("standard-16")
    linear = {
        "encoder.weight": w["W_enc"].T,
        "decoder.weight": w["W_dec"].T,
        "encoder.bias": w["b_enc"],
        "bias": w["b_dec"],
    }
    config = {
        "trainer": {"dict_class": "AutoEncoder", "activation_dim": 192, "layer": 1, "lm_name": "organism", **trainer},
        "buffer": {"io": io, "ctx_len": 64, "d_submodule": 192},
    }  # fmt: skip
    weights = {name: value.contiguous() for name, value in linear.items()}
    return hostile.written(folder / "mine", {"ae.pt": hostile.checkpoint(weights), "config.json": config})


@pytest.mark.parametrize(
    ("io", "submodule", "hooks"),
    [
        ("out", "resid_post_layer_1", ("blocks.1.hook_resid_post", None)),
        ("in", "resid_post_layer_1", ("blocks.1.hook_resid_pre", None)),
        ("in", None, ("blocks.1.hook_resid_pre", None)),
        ("in_and_out", "resid_post_layer_1", ("blocks.1.hook_resid_pre", "blocks.1.hook_resid_post")),
        ("in_and_out", "mlp_layer_1", ("blocks.1.mlp.hook_in", "blocks.1.hook_mlp_out")),
        ("out", "mlp_1", ("blocks.1.hook_mlp_out", None)),
        ("in", "attn_layer_1", ("blocks.1.ln1.hook_out", None)),
    ],
)
def test_side_of_the_submodule_of_dictionary_learning(
    tmp_path: Path, io: str, submodule: str | None, hooks: tuple[str, str | None]
) -> None:
    found = loaded(learned(tmp_path, io, submodule_name=submodule)).spec
    assert (found.hook, found.hook_out) == hooks


def test_input_of_a_block_is_reconstructed(tmp_path: Path) -> None:
    w, sae = weights_of("standard-16"), loaded(learned(tmp_path, "in"))
    x = residual("in")[:, 1:64].flatten(0, 1)
    latents = ((x - w["b_dec"]) @ w["W_enc"] + w["b_enc"]).relu()
    assert torch.allclose(sae.encode(x), latents, atol=1e-4)
    assert fvu(x, latents @ w["W_dec"] + w["b_dec"]) == pytest.approx(0.2218, abs=1e-3)


@pytest.mark.parametrize(("change", "told"), [({"io": "both"}, "io"), ({"layer": 3}, "layer")])
def test_buffers_that_read_elsewhere(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    path = learned(tmp_path, "out")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "buffer": {**config["buffer"], **change}}))
    refused(path, "config.json", told)


@pytest.mark.parametrize("submodule", ["q_proj", "ln_f", "embed_in"])
def test_submodule_that_has_no_hook(tmp_path: Path, submodule: str) -> None:
    refused(learned(tmp_path, "out", submodule_name=submodule), submodule, "family file")
    family = tmp_path / "mine.toml"
    family.write_text('[sae.a]\nlocation = "mine"\nhook = "blocks.1.hook_resid_post"')
    assert loaded(family).spec.hook == "blocks.1.hook_resid_post"


@pytest.mark.parametrize("suffix", ["safetensors", "npz", "pt"])
def test_log_threshold_of_a_lone_file(tmp_path: Path, suffix: str) -> None:
    w = reading_itself("jumprelu-16")
    path = lone(tmp_path, {**without(w, "threshold"), "log_threshold": w["threshold"].log()}, suffix)
    x = residual("out")[:, 1:64].flatten(0, 1)
    before = x @ w["W_enc"] + w["b_enc"]
    latents = before.where(before > w["threshold"], 0.0)
    found = loaded(path).encode(x)
    assert torch.allclose(found, latents, atol=1e-3)
    assert float((found != 0).sum(1).float().mean()) == pytest.approx(17.3, abs=0.1)


def without(weights: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in weights.items() if name not in names}


@pytest.mark.parametrize("suffix", ["safetensors", "npz", "pt", "number"])
def test_k_of_a_lone_file(tmp_path: Path, suffix: str) -> None:
    w, k = reading_itself("topk-16"), 16 if suffix == "number" else torch.tensor(16)
    sae = loaded(lone(tmp_path, {**w, "k": k}, "pt" if suffix == "number" else suffix))
    x = residual("out")[:, 1:].flatten(0, 1)
    before = x @ w["W_enc"] + w["b_enc"]
    least = before.topk(16).values[:, -1:]
    found = sae.encode(x)
    assert torch.allclose(found, before.where(before >= least, 0.0).relu(), atol=1e-3)
    assert (float((found != 0).sum(1).float().mean()), sae.spec.architecture) == (16.0, "topk")


@pytest.mark.parametrize("k", [0, -1, LATENTS + 1, 2.5, float("nan"), float("inf"), [3, 4], True])
def test_k_that_cannot_be(tmp_path: Path, k: Any) -> None:
    refused(
        lone(tmp_path, {**without(arrays(), "threshold"), "k": torch.tensor(k)}, "pt"), "x.pt" if k is True else "k"
    )


def test_scaling_factor_of_a_lone_file(tmp_path: Path) -> None:
    for suffix in ("safetensors", "npz", "pt"):
        path = lone(tmp_path, {**arrays(), "scaling_factor": torch.ones(LATENTS)}, suffix)
        refused(path, path.name, "unknown array 'scaling_factor'", "take it out")


def test_scaling_factor_of_an_old_sae_lens(tmp_path: Path) -> None:
    """Versions before 3 wrote ones; anything else scaled the latents."""
    known = KINDS["sae-lens topk"]
    for factor, fits in ((1.0, True), (2.0, False)):
        folder = tmp_path / str(factor)
        path = place(folder, known.files({**known.weights(), "scaling_factor": torch.full((LATENTS,), factor)}))
        if fits:
            assert torch.equal(
                computed(loaded(path))[0], computed(loaded(place(tmp_path / "known", known.files(known.weights()))))[0]
            )
        else:
            refused(path, "caling")


def test_skip_connection_is_laid_as_its_name_says(tmp_path: Path) -> None:
    """W_skip is (d_out, d_in) in sae-lens and in sparsify, and affine_skip_connection (d_in, d_out) in Gemma Scope 2."""
    skip, x = torch.randn(D, D, generator=torch.Generator().manual_seed(1)), inputs()
    w = arrays()
    plain = computed(loaded(lone(tmp_path / "plain", w)))[1]
    for name, value in (("W_skip", skip), ("affine_skip_connection", skip.T)):
        found = computed(loaded(lone(tmp_path / name, {**w, name: value})))[1]
        torch.testing.assert_close(found, plain + x @ skip.T)


@pytest.mark.parametrize("run", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_transcoders_of_sparsify_subtract_what_the_library_subtracts(tmp_path: Path, own: bool, run: bool) -> None:
    """`SparseCoder.encode` subtracts b_dec unless cfg.json has `transcode`; the first transcoders had it in the run's file."""
    w, skip = arrays(), torch.randn(D, D, generator=torch.Generator().manual_seed(1))
    coder = {**hostile.linear(), "W_skip": skip}
    known = {**hostile.SPARSIFY, "skip_connection": True, **({"transcode": True} if own else {})}
    files = {
        "h.1.mlp/cfg.json": known,
        "h.1.mlp/sae.safetensors": hostile.saved(coder),
        "config.json": {"transcode": run, "sae": {}},
    }
    sae, x = loaded(hostile.written(tmp_path / "run", files) / "h.1.mlp"), inputs()
    before = (x if own else x - w["b_dec"]) @ w["W_enc"] + w["b_enc"]
    latents = before.where(before >= before.topk(5).values[:, -1:], 0.0).relu()
    torch.testing.assert_close(sae.encode(x), latents, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        sae.decode(latents, x), latents @ w["W_dec"] + w["b_dec"] + x @ skip.T, rtol=1e-4, atol=1e-4
    )
    transcodes = ("blocks.1.mlp.hook_in", "blocks.1.hook_mlp_out")
    assert (sae.spec.hook, sae.spec.hook_out) == (transcodes if own or run else ("blocks.1.hook_mlp_out", None))


@pytest.mark.parametrize("module", ["mlp.act", "input_layernorm", "self_attn.q_proj"])
def test_module_of_sparsify_that_has_no_hook(tmp_path: Path, module: str) -> None:
    folder = tmp_path / f"layers.3.{module}"
    refused(place(folder, KINDS["sparsify"].files(hostile.linear())), module, "family file")


def test_metadata_of_version_6_needs_no_number(tmp_path: Path) -> None:
    """sae-lens takes a file without a version for an older one, and forgets its metadata."""
    known = dict(KINDS["sae-lens topk"].files(KINDS["sae-lens topk"].weights()))
    config = json.loads(known["cfg.json"])
    config["metadata"] = {"hook_name": "blocks.2.hook_resid_post", "prepend_bos": False, "context_size": 32}
    config["metadata"]["model_from_pretrained_kwargs"] = {"center_writing_weights": True}
    found = loaded(place(tmp_path / "mine", {**known, "cfg.json": config})).spec
    assert (found.prepend_bos, found.centred, found.context_size) == (False, True, 32)


# Contradictions


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        ({"w_enc": arrays()["W_enc"]}, ("W_enc", "w_enc", "contradict")),
        ({"w_dec": arrays()["W_dec"]}, ("W_dec", "w_dec", "contradict")),
        ({"log_threshold": arrays()["threshold"]}, ("threshold", "log_threshold", "contradict")),
        ({"k": torch.tensor([3.0])}, ("threshold", "k", "contradict")),
        ({"W_skip": torch.eye(D), "affine_skip_connection": torch.eye(D)}, ("W_skip", "affine_skip_connection")),
        ({"W_dec": arrays()["W_dec"].T}, ("W_dec", "(16, 64)", "(64, any)", "transposed")),
        ({"b_enc": torch.ones(LATENTS + 1)}, ("b_enc", "(65,)", "(64)")),
    ],
)
@pytest.mark.parametrize("suffix", ["safetensors", "npz", "pt"])
def test_arrays_that_contradict_each_other(
    tmp_path: Path, suffix: str, more: dict[str, Tensor], parts: tuple[str, ...]
) -> None:
    refused(lone(tmp_path, {**arrays(), **more}, suffix), f"x.{suffix}", *parts)


Change = Callable[[dict[str, Any]], dict[str, Any]]


def changed(form: str, change: Callable[[dict[str, Any]], Any]) -> hostile.Files:
    """The files of an SAE whose configuration is another."""
    known = KINDS[form]
    files = dict(known.files(known.weights()))
    name = next(name for name in files if name.endswith(".json"))
    config = files[name] if isinstance(files[name], dict) else json.loads(files[name])
    files[name] = change(json.loads(json.dumps(config)))
    return files


def within(config: dict[str, Any], table: str, **change: Any) -> dict[str, Any]:
    return {**config, table: {**config[table], **change}}


CONTRADICTIONS: dict[str, tuple[str, Change, tuple[str, ...]]] = {
    "sae-lens d_in": ("sae-lens topk", lambda c: {**c, "d_in": 15}, ("d_in is 15", "16")),
    "sae-lens d_sae": ("sae-lens topk", lambda c: {**c, "d_sae": 10**9}, ("d_sae is 1000000000", "64")),
    "sae-lens k": ("sae-lens topk", lambda c: {**c, "k": 65}, ("k is 65", "64")),
    "sae-lens architecture": ("sae-lens jumprelu", lambda c: {**c, "architecture": "standard"}, ("threshold",)),
    "sae-lens k of a standard": ("sae-lens jumprelu", lambda c: {**c, "k": 5}, ("unknown field 'k'",)),
    "dictionary_learning d_in": (
        "dictionary_learning AutoEncoder", lambda c: within(c, "trainer", activation_dim=17), ("trainer.activation_dim is 17",)
    ),
    "dictionary_learning d_sae": (
        "dictionary_learning AutoEncoder", lambda c: within(c, "trainer", dict_size=65), ("trainer.dict_size is 65",)
    ),
    "dictionary_learning buffer": (
        "dictionary_learning AutoEncoder", lambda c: within(c, "buffer", d_submodule=17), ("buffer.d_submodule is 17",)
    ),
    "dictionary_learning k": ("dictionary_learning AutoEncoderTopK", lambda c: within(c, "trainer", k=6), ("k is 5", "6")),
    "dictionary_learning class": (
        "dictionary_learning AutoEncoder", lambda c: within(c, "trainer", dict_class="AutoEncoderTopK"), ("'bias'",)
    ),
    "sparsify d_in": ("sparsify", lambda c: {**c, "d_in": 15}, ("d_in is 15",)),
    "sparsify d_sae": ("sparsify", lambda c: {**c, "num_latents": 65}, ("num_latents is 65",)),
    "sparsify factor": ("sparsify", lambda c: {**c, "num_latents": 0, "expansion_factor": 5}, ("expansion_factor is 5",)),
    "sparsify skip": ("sparsify", lambda c: {**c, "skip_connection": True}, ("skip_connection is True", "no W_skip")),
    "sparsify signs of groups": ("sparsify", lambda c: {**c, "activation": "groupmax", "k": 4, "signed": True}, ("signed",)),
    "sparsify embedding": ("sparsify", lambda c: {**c, "embed_skip": True}, ("embed_skip is True",)),
    "gemma scope 2 affine": ("gemma scope 2", lambda c: {**c, "affine_connection": False}, ("affine_connection is False",)),
    "gemma scope 2 width": ("gemma scope 2", lambda c: {**c, "width": 65}, ("width is 65",)),
    "gemma scope 2 activation": ("gemma scope 2", lambda c: {**c, "architecture": "topk"}, ("architecture is 'topk'",)),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_configuration_that_contradicts_the_weights(tmp_path: Path, name: str) -> None:
    form, change, parts = CONTRADICTIONS[name]
    refused(place(tmp_path / "mine", changed(form, change)), "mine", *parts)


def test_configuration_of_an_old_run_that_contradicts_itself(tmp_path: Path) -> None:
    known = {
        "d_in": D,
        "d_sae": LATENTS,
        "dtype": "float32",
        "hook_point": "blocks.0.hook_resid_post",
        "model_name": "tiny",
    }
    weights = without(KINDS["sae-lens topk"].weights())
    for change, part in (
        ({"activation_fn_str": "topk"}, "no k"), ({"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 5}, "k": 6}, "k is 6"),
        ({"activation_fn_str": "tanh-relu"}, "tanh-relu"), ({"finetuning_scaling_factor": True}, "finetuning_scaling_factor is True"),
        ({"hook_point_head_index": 3}, "hook_point_head_index is 3"), ({"activation_fn_kwargs": {"signed": True}}, "'signed'"),
    ):  # fmt: skip
        folder = tmp_path / part.replace(" ", "-")
        files = {"cfg.json": {**known, **change}, "sae_weights.safetensors": hostile.saved(weights)}
        refused(hostile.written(folder, files), "cfg.json", part)


@pytest.mark.parametrize(
    ("fact", "value", "found"),
    [
        ("d_in", 15, "16"),
        ("d_sae", 128, "64"),
        ("architecture", "topk", "jumprelu"),
        ("architecture", "standard", "jumprelu"),
    ],
)
@pytest.mark.parametrize("form", ["sae-lens jumprelu", "dictionary_learning BatchTopKSAE", "safetensors", "npz", "pt"])
def test_facts_of_a_family_file_that_contradict_the_weights(
    tmp_path: Path, form: str, fact: str, value: Any, found: str
) -> None:
    path = place(tmp_path / "mine", KINDS[form].files(KINDS[form].weights()))
    family = tmp_path / "mine.toml"
    family.write_text(f'[sae.a]\nlocation = "{path.relative_to(tmp_path)}"\n{fact} = {json.dumps(value)}')
    refused(family, "mine.toml/a", f"{fact} is said to be {value}", found, "family file")


@pytest.mark.parametrize(
    "fact", [f"d_in = {D}", f"d_sae = {LATENTS}", 'architecture = "batchtopk"', 'architecture = "mine"']
)
def test_facts_of_a_family_file_that_agree(tmp_path: Path, fact: str) -> None:
    place(tmp_path / "mine", KINDS["sae-lens jumprelu"].files(KINDS["sae-lens jumprelu"].weights()))
    (tmp_path / "mine.toml").write_text(f'[sae.a]\nlocation = "mine"\n{fact}')
    assert loaded(tmp_path / "mine.toml").spec.d_sae == LATENTS


@pytest.mark.parametrize(
    ("form", "file"), [("sae-lens topk", "sae_weights.safetensors"), ("gemma scope 2", "params.safetensors")]
)
def test_file_whose_configuration_lies_beside_it(tmp_path: Path, form: str, file: str) -> None:
    """By itself it would be read as a ReLU of anybody's."""
    folder = place(tmp_path / "mine", KINDS[form].files(KINDS[form].weights()))
    refused(folder / file, ".json", "name its folder")


@pytest.mark.parametrize("numbers", [torch.int64, torch.complex64, torch.bool, torch.float8_e4m3fn])
def test_log_threshold_of_another_kind_of_numbers(tmp_path: Path, numbers: torch.dtype) -> None:
    w = {**without(arrays(), "threshold"), "log_threshold": torch.zeros(LATENTS).to(numbers)}
    refused(lone(tmp_path, w, "pt"), "x.pt", "'log_threshold' holds", str(numbers).removeprefix("torch."))


# What takes memory, time or a terminal


def zeros(gigabytes: float, name: str = "unused", others: Mapping[str, Any] | None = None) -> bytes:
    """An npz of the arrays of an SAE, and of zeros that take no room until they are unpacked."""
    size = int(gigabytes * 1e9 / 4)
    file = io.BytesIO(hostile.npz(others or arrays()))
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive, archive.open(f"{name}.npy", "w") as member:
        member.write(hostile.npy((size,)))
        for _ in range(100):
            member.write(bytes(4 * size // 100))
    return file.getvalue()


def test_unused_zeros_are_not_unpacked(tmp_path: Path) -> None:
    content = zeros(0.4)
    assert len(content) < 5_000_000
    path = hostile.written(tmp_path, {"x.npz": content}) / "x.npz"
    with limited(seconds=5, gigabytes=0.25):
        refused(path, "x.npz", "unknown array 'unused'")


def test_zeros_where_a_bias_should_be_are_not_unpacked(tmp_path: Path) -> None:
    path = hostile.written(tmp_path, {"x.npz": zeros(0.4, "b_dec", without(arrays(), "b_dec"))}) / "x.npz"
    with limited(seconds=5, gigabytes=0.25):
        refused(path, "x.npz", "b_dec has shape (100000000,)")


def test_header_of_a_checkpoint_leaves_its_numbers_on_the_disk(tmp_path: Path) -> None:
    from saebench.saes.loaders.build import pickled_header

    path = lone(tmp_path, {**arrays(), "unused": torch.zeros(50_000_000)}, "pt")
    before = psutil.Process().memory_info().rss
    assert pickled_header(path)["unused"].shape == (50_000_000,)
    assert psutil.Process().memory_info().rss - before < 50_000_000
    refused(path, "x.pt", "unknown array 'unused'")


def test_header_of_600000_names(tmp_path: Path) -> None:
    entry = '"%07d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    content = hostile.safetensors(("{" + ",".join(entry % i for i in range(600_000)) + "}").encode())
    path = hostile.written(tmp_path, {"x.safetensors": content}) / "x.safetensors"
    with limited(seconds=1):
        refused(path, "x.safetensors has a header of")


@pytest.mark.parametrize("suffix", ["safetensors", "npz", "pt"])
def test_many_arrays(tmp_path: Path, suffix: str) -> None:
    path = lone(tmp_path, {f"a{i}": torch.zeros(1) for i in range(5_000)}, suffix)
    with limited(seconds=2):
        refused(path, f"x.{suffix}")


@pytest.mark.parametrize("name", [*hostile.UNSHOWABLE, "long", "html", "table"])
@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_name_of_an_array_is_shown_harmless(tmp_path: Path, suffix: str, name: str) -> None:
    text = hostile.HOSTILE[name]
    if name == "half" and suffix == "safetensors":
        pytest.skip("half a character cannot be written")
    refused(
        lone(tmp_path, {**arrays(), text: torch.ones(3)}, suffix),
        f"x.{suffix}",
        "unknown array",
        *([] if name != "long" else ["…"]),
    )


@pytest.mark.parametrize("name", hostile.HOSTILE)
@pytest.mark.parametrize("form", ["sae-lens topk", "sparsify", "dictionary_learning AutoEncoder", "gemma scope 2"])
def test_name_of_a_field_is_shown_harmless(tmp_path: Path, form: str, name: str) -> None:
    refused(place(tmp_path / "mine", changed(form, lambda c: {**c, hostile.HOSTILE[name]: 1})), "mine", "unknown field")


@pytest.mark.parametrize("form", ["sae-lens topk", "sparsify", "dictionary_learning AutoEncoder"])
def test_name_that_comes_twice(tmp_path: Path, form: str) -> None:
    def twice(config: dict[str, Any]) -> bytes:
        text = json.dumps(config)
        return f"{text[:-1]}, {text[1:]}".encode()

    refused(place(tmp_path / "mine", changed(form, twice)), "comes twice")


def test_array_whose_name_comes_twice(tmp_path: Path) -> None:
    one = hostile.npy((1,), data=bytes(4))
    path = hostile.written(tmp_path, {"x.npz": hostile.archive([("W_enc.npy", one), ("W_enc", one)])}) / "x.npz"
    refused(path, "x.npz", "two arrays of one name")
    header = b'{"W_enc":%s,"W_enc":%s}' % ((json.dumps(hostile.entry([1], 0, 4)).encode(),) * 2)
    path = hostile.written(tmp_path, {"y.safetensors": hostile.safetensors(header, bytes(4))}) / "y.safetensors"
    refused(path, "y.safetensors")


@pytest.mark.parametrize("form", ["sae-lens topk", "sparsify", "dictionary_learning AutoEncoder"])
def test_configuration_that_is_no_configuration(tmp_path: Path, form: str) -> None:
    known = changed(form, lambda c: c)
    name = next(name for name in known if name.endswith(".json"))
    text = json.dumps(known[name])
    for i, content in enumerate(
        (text[:-1] + " " * 11_000_000 + "}", "[" * 100_000, '{"a":' * 100_000 + "1" + "}" * 100_000)
    ):
        with limited(seconds=2):
            refused(place(tmp_path / str(i), {**known, name: content.encode()}), name)


@pytest.mark.parametrize("form", ["sae-lens topk", "sparsify", "dictionary_learning AutoEncoder"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_configuration_in_another_encoding_is_the_same(tmp_path: Path, form: str, encoding: str) -> None:
    known = computed(loaded(place(tmp_path / "known", changed(form, lambda c: c))))
    other = changed(form, lambda c: json.dumps(c).encode(encoding))
    assert all(map(torch.equal, computed(loaded(place(tmp_path / "mine", other))), known))


@pytest.mark.parametrize("what", ["device", "FIFO", "folder", "nothing", "dangling link"])
@pytest.mark.parametrize("file", ["cfg.json", "sae_weights.safetensors"])
def test_file_that_is_no_file(tmp_path: Path, file: str, what: str) -> None:
    folder = place(tmp_path / "mine", KINDS["sae-lens topk"].files(KINDS["sae-lens topk"].weights()))
    path = folder / file
    path.unlink()
    if what == "FIFO":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what != "nothing":
        path.symlink_to("/dev/zero" if what == "device" else tmp_path / "gone")
    with limited(seconds=2):
        refused(folder, "mine", file)


def test_folder_that_is_called_as_a_file(tmp_path: Path) -> None:
    folder = place(tmp_path / "x.safetensors", KINDS["sae-lens topk"].files(KINDS["sae-lens topk"].weights()))
    with limited(seconds=2):
        refused(folder, "x.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_said_when_they_are_read(tmp_path: Path, value: float) -> None:
    w = arrays()
    refused(
        lone(tmp_path, {**w, "b_dec": torch.full_like(w["b_dec"], value)}), "b_dec holds 16 values", "NaN or infinite"
    )


# Published scores


@pytest.mark.parametrize("name", ["topk-16", "batchtopk-16-frozen"])
def test_digest_is_that_of_the_published_scores(name: str) -> None:
    published = (ROOT / "leaderboards" / "organism.jsonl").read_text().splitlines()
    scores = [json.loads(line) for line in published if f'"organism/{name}"' in line]
    found = loaded(SAES / name).digest
    assert {score["sae_digest"] for score in scores if score["sae"] == f"organism/{name}"} == {found}
