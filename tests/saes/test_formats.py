"""What is loaded computes what the library that made it computes, for every format, architecture and normalisation."""

import hashlib
import io
import json
import re
import shutil
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NoReturn

import hub_repos as repos
import numpy as np
import planted
import planted_words
import pytest
import torch
import yaml
from hub import Hub, empty_hub
from paths import DATA
from safetensors.torch import save
from torch import Tensor

from saebench.catalogue.layouts import FORMATS
from saebench.catalogue.registry import resolve
from saebench.catalogue.spec import SAESpec
from saebench.hub.needs import ensure, of_sae
from saebench.metrics import context_length, reconstruction
from saebench.record.score import Unscored
from saebench.saes.loaders import load_sae
from saebench.saes.sae import LoadedSAE

torch.set_num_threads(1)
D, LATENTS, OUT, HEADS, TOKENS = 16, 64, 12, 4, 40
AGREES = 1e-5
"""Relative or absolute, whichever is larger."""
CHECKPOINTS = DATA / "checkpoints"
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
Weights = dict[str, Tensor]
Formula = Callable[[Tensor], Tensor]
READS_BY_ITSELF = pytest.mark.filterwarnings(
    "ignore:\\nThis SAE has non-empty model_from_pretrained_kwargs:UserWarning"
)
"""sae-lens advises how to load a language model, which saebench does in its own way."""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """An empty hub to which this process is redirected, with empty caches."""
    with empty_hub(tmp_path, monkeypatch) as served:
        yield served


@cache
def named(pattern: str) -> SAESpec:
    """The only SAE of the catalogue that is called so; reading the catalogue takes longer than loading from it."""
    return one(pattern)


def one(pattern: str) -> SAESpec:
    (spec,) = resolve(pattern)
    return spec


def local(folder: Path) -> LoadedSAE:
    return load_sae(one(str(folder)))


def fetched(spec: SAESpec) -> LoadedSAE:
    """As a run gets an SAE of the hub."""
    ensure(of_sae(spec), print)
    return load_sae(spec)


def inputs(d: int = D, seed: int = 0) -> Tensor:
    """Activations that are not centred, so that a norm or a bias that is left out shows."""
    return torch.randn(TOKENS, d, generator=torch.Generator().manual_seed(seed)) + 1


def through(sae: LoadedSAE, x: Tensor) -> Tensor:
    return sae.decode(sae.encode(x), x)


def check_agrees(sae: LoadedSAE, original: Any, x: Tensor, heads: int = 0) -> None:
    """It computes what sae-lens's own object computes, which takes attention's heads apart, and fires where that does."""
    shaped = x.unflatten(-1, (heads, -1)) if heads else x
    with torch.no_grad():
        expected, latents = original(shaped), original.encode(shaped)
    found = sae.encode(x)
    assert 0.01 < float((latents != 0).float().mean()) < 0.99, "a comparison of nothing with nothing"
    assert torch.equal(found != 0, latents != 0)
    check_close(sae.decode(found, x), expected.flatten(1))


def check_close(found: Tensor, expected: Tensor) -> None:
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected.double(), rtol=AGREES, atol=AGREES)


# sae-lens's own format

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "standard": {"architecture": "standard"},
    "gated": {"architecture": "gated"},
    "topk": {"architecture": "topk", "k": 5},
    "topk rescaled": {"architecture": "topk", "k": 5, "rescale_acts_by_decoder_norm": True},
    "abstopk": {"architecture": "abstopk", "k": 5},
    "abstopk rescaled": {"architecture": "abstopk", "k": 5, "rescale_acts_by_decoder_norm": True},
    "jumprelu": {"architecture": "jumprelu"},
    "matching_pursuit": {"architecture": "matching_pursuit", "max_iterations": 5},
    "transcoder": {"architecture": "transcoder", "d_out": OUT},
    "skip_transcoder": {"architecture": "skip_transcoder", "d_out": OUT},
    "jumprelu_transcoder": {"architecture": "jumprelu_transcoder", "d_out": OUT},
    "jumprelu_skip_transcoder": {"architecture": "jumprelu_skip_transcoder", "d_out": OUT},
}
SAES = [name for name in ARCHITECTURES if "transcoder" not in name]
NORMALISATIONS = ["none", "layer_norm", "constant_norm_rescale"]
# sae-lens refuses a transcoder that subtracts a bias of another dimension.
SUBTRACTING = [pair for pair in product(ARCHITECTURES, (True, False)) if pair[0] in SAES or not pair[1]]


def random_sae(name: str, seed: int = 0, **config: Any) -> Any:
    """An SAE of sae-lens, none of whose parameters is what it starts as."""
    from sae_lens import SAE

    metadata = {"hook_name": "blocks.0.hook_resid_post", "context_size": 64, "model_name": "tiny", "prepend_bos": True}
    known = {"d_in": D, "d_sae": LATENTS, "apply_b_dec_to_input": name in SAES, "metadata": metadata}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        sae = SAE.from_dict({**known, **ARCHITECTURES[name], **config})
        for parameter in sae.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return sae


def saved(folder: Path, sae: Any) -> Path:
    sae.save_model(folder)
    return folder


def as_saved(folder: Path) -> Any:
    """As sae-lens itself reads it."""
    from sae_lens import SAE

    return SAE.load_from_disk(folder)


def test_every_architecture_of_sae_lens_is_tried() -> None:
    import sae_lens  # noqa: F401 -- fills the registry
    from sae_lens.registry import SAE_CLASS_REGISTRY

    tried = {config["architecture"] for config in ARCHITECTURES.values()}
    assert set(SAE_CLASS_REGISTRY) == {*tried, "temporal"}


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize(("architecture", "subtracts"), SUBTRACTING)
def test_folder_of_sae_lens(tmp_path: Path, architecture: str, subtracts: bool, normalisation: str) -> None:
    config = {"apply_b_dec_to_input": subtracts, "normalize_activations": normalisation}
    folder = saved(tmp_path / "mine", random_sae(architecture, **config))
    check_agrees(local(folder), as_saved(folder), inputs())


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("architecture", SAES)
def test_heads_of_hook_z_are_read_side_by_side(tmp_path: Path, architecture: str, normalisation: str) -> None:
    metadata = {"hook_name": "blocks.0.attn.hook_z", "model_name": "tiny", "prepend_bos": True}
    config = {"reshape_activations": "hook_z", "normalize_activations": normalisation, "metadata": metadata}
    folder = saved(tmp_path / "mine", random_sae(architecture, **config))
    check_agrees(local(folder), as_saved(folder), inputs(), heads=HEADS)


@pytest.mark.parametrize("normalisation", ["layer_norm", "constant_norm_rescale"])
@pytest.mark.parametrize("architecture", ["standard", "jumprelu", "skip_transcoder"])
def test_decoding_does_not_depend_on_what_was_encoded_last(
    tmp_path: Path, architecture: str, normalisation: str
) -> None:
    sae = local(saved(tmp_path / "mine", random_sae(architecture, normalize_activations=normalisation)))
    x, other = inputs(), 9 * inputs(seed=1)
    latents = sae.encode(x)
    first = sae.decode(latents, x)
    sae.encode(other)
    assert torch.equal(sae.decode(latents, x), first)
    assert torch.equal(torch.cat([through(sae, row[None]) for row in x]).argmax(1), first.argmax(1))


@pytest.mark.parametrize("normalisation", ["expected_average_only_in", "covariance_whitening"])
@pytest.mark.parametrize("architecture", ["standard", "jumprelu", "transcoder"])
def test_normalisation_whose_statistics_are_lost(tmp_path: Path, architecture: str, normalisation: str) -> None:
    folder = saved(tmp_path / "mine", random_sae(architecture, normalize_activations=normalisation))
    with pytest.raises(ValueError, match=r"^local/\S*mine\b.*" + normalisation) as caught:
        local(folder)
    assert "\n" not in str(caught.value)
    assert "Skipping" not in str(caught.value), "it says that the SAE is loaded, and it is not"


@pytest.mark.parametrize("architecture", [name for name in SAES if name != "matching_pursuit"])
@pytest.mark.parametrize("subtracts", [True, False])
def test_whitening_that_sae_lens_folded(tmp_path: Path, architecture: str, subtracts: bool) -> None:
    config = {"apply_b_dec_to_input": subtracts, "normalize_activations": "covariance_whitening"}
    sae, x = random_sae(architecture, **config), inputs().double()
    mean, covariance = x.mean(0), torch.cov(x.T)
    values, vectors = torch.linalg.eigh(covariance)
    whiten, unwhiten = vectors / values.sqrt(), (vectors * values.sqrt()).T
    with torch.no_grad():
        expected = sae(((x - mean) @ whiten).float()).double() @ unwhiten + mean
    sae.fold_activation_whitening(mean, whiten, unwhiten)
    found = through(local(saved(tmp_path / "mine", sae)), x.float())
    # Folding multiplies in float32 what the formula multiplies in float64.
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", SAES)
def test_factor_of_the_registry_is_folded(hub: Hub, tmp_path: Path, architecture: str) -> None:
    spec = named("gpt2/mcgrath/layer-3/mlp_out")
    config = random_sae(architecture, normalize_activations="expected_average_only_in")
    hub.add(spec.repo, repos.under(spec.location, repos.files_of(config.save_model)))
    sae = fetched(spec)
    factor, x = float(spec.facts["norm_scaling_factor"]), inputs() / float(spec.facts["norm_scaling_factor"])
    assert abs(factor - 1) > 0.05
    with torch.no_grad():
        expected = config(x * factor) / factor
    torch.testing.assert_close(through(sae, x), expected, rtol=AGREES, atol=AGREES)
    assert sae.spec.normalisation == "none"
    check_agrees(sae, from_sae_lens(spec), x)


def test_override_of_the_registry_is_applied(hub: Hub) -> None:
    spec = named("saelens:mistral-7b-res-wg/blocks.8.hook_resid_pre")
    sae = random_sae("standard", normalize_activations="none")
    hub.add(spec.repo, repos.under(spec.location, repos.files_of(sae.save_model)))
    found = fetched(spec)
    assert found.spec.normalisation == "constant_norm_rescale"
    check_agrees(found, from_sae_lens(spec), inputs())


def old_config(**config: Any) -> dict[str, Any]:
    """What cfg.json held before sae-lens 6, as the files of gpt2-small-res-jb still do."""
    return {
        "d_in": D, "d_sae": LATENTS, "dtype": "torch.float32", "device": "mps", "model_name": "gpt2-small",
        "hook_point": "blocks.8.hook_resid_pre", "hook_point_layer": 8, "hook_point_head_index": None,
        "activation_fn_str": "relu", "apply_b_dec_to_input": True, "finetuning_scaling_factor": False,
        "context_size": 128, "prepend_bos": True, "dataset_path": "Skylion007/openwebtext", **config,
    }  # fmt: skip


def old_folder(sae: Any, **config: Any) -> repos.Files:
    return {
        "cfg.json": json.dumps(old_config(**config)).encode(),
        "sae_weights.safetensors": save(sae.state_dict()),
    }


OLD: list[tuple[str, dict[str, Any]]] = [
    ("standard", {}),
    ("standard", {"normalize_activations": "layer_norm"}),
    ("standard", {"normalize_activations": False}),
    ("standard", {"normalize_activations": None}),
    ("topk", {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 5}}),
    ("gated", {"architecture": "gated"}),
    ("jumprelu", {"architecture": "jumprelu", "apply_b_dec_to_input": False}),
]


@pytest.mark.parametrize(("architecture", "config"), OLD)
def test_folder_of_an_old_sae_lens(tmp_path: Path, architecture: str, config: dict[str, Any]) -> None:
    (tmp_path / "mine").mkdir()
    for name, content in old_folder(random_sae(architecture), **config).items():
        (tmp_path / "mine" / name).write_bytes(content)
    original = as_cpu(tmp_path / "mine")
    sae = local(tmp_path / "mine")
    check_agrees(sae, original, inputs())
    found = (sae.spec.model, sae.spec.hook, sae.spec.context_size)
    assert found == ("openai-community/gpt2", "blocks.8.hook_resid_pre", 128)


def as_cpu(folder: Path) -> Any:
    """As sae-lens reads a folder that was saved on another machine."""
    from sae_lens import SAE

    return SAE.load_from_disk(folder, device="cpu", dtype="float32")


@READS_BY_ITSELF
@pytest.mark.parametrize(("architecture", "config"), OLD)
def test_old_sae_lens_on_the_hub(hub: Hub, architecture: str, config: dict[str, Any]) -> None:
    spec = named("gpt2/bloom/layer-8/resid_pre")
    hub.add(spec.repo, repos.under(spec.location, old_folder(random_sae(architecture), **config)))
    sae = fetched(spec)
    check_agrees(sae, from_sae_lens(spec), inputs())
    assert (sae.spec.centred, sae.spec.context_size, sae.spec.d_in) == (True, 128, D)


@pytest.mark.parametrize("name", ["gpt2/bloom/layer-8/resid_pre", "qwen/transcoder/3-4b/layer-7"])
def test_loading_warns_of_nothing(hub: Hub, name: str) -> None:
    """All warnings are errors here, as they may be for users: advice about another way to load the model is none."""
    spec = named(name)
    files = repos.under(spec.location, old_folder(random_sae("standard")))
    hub.add(str(spec.repo), files if spec.format == "sae_lens" else qwen_transcoder(spec).files)
    assert fetched(spec).spec.d_in == D


def test_bfloat16_is_read_as_float32(tmp_path: Path) -> None:
    sae = random_sae("jumprelu").to(dtype=torch.bfloat16)
    folder = saved(tmp_path / "mine", sae)
    check_agrees(local(folder), as_cpu(folder), inputs())


def test_temporal_saes_are_told_apart(hub: Hub) -> None:
    spec = named("saelens:temporal-sae-gemma-2-2b/*")
    with pytest.raises(ValueError, match=r"^saelens:temporal-sae-gemma-2-2b/\S+: it reads whole contexts") as caught:
        load_sae(spec)
    assert "\n" not in str(caught.value)


# SAEs that were trained for a moment


def trained(kind: str, steps: int, **config: Any) -> Any:
    """A training SAE of sae-lens after some batches, whose threshold follows them at its own pace."""
    from sae_lens import (
        BatchTopKTrainingSAE,
        BatchTopKTrainingSAEConfig,
        MatryoshkaBatchTopKTrainingSAE,
        MatryoshkaBatchTopKTrainingSAEConfig,
    )
    from sae_lens.saes.sae import TrainStepInput

    classes = {
        "batchtopk": (BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig, {}),
        "matryoshka": (MatryoshkaBatchTopKTrainingSAE, MatryoshkaBatchTopKTrainingSAEConfig, {"matryoshka_widths": [16, 32, LATENTS]}),
    }  # fmt: skip
    make, make_config, more = classes[kind]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        sae = make(make_config(d_in=D, d_sae=LATENTS, k=5, **more, **config))
        for _ in range(steps):
            x = torch.randn(256, D) + 1
            sae.training_forward_pass(TrainStepInput(x, {}, None, 0, False))
    return sae


@pytest.mark.parametrize("rescales", [True, False])
@pytest.mark.parametrize(("pace", "steps"), [(0.01, 20), (0.1, 100)])
@pytest.mark.parametrize("kind", ["batchtopk", "matryoshka"])
def test_batch_topk_is_a_jumprelu_with_the_threshold_of_its_training(
    tmp_path: Path, kind: str, pace: float, steps: int, rescales: bool
) -> None:
    sae = trained(kind, steps, topk_threshold_lr=pace, rescale_acts_by_decoder_norm=rescales)
    sae.save_inference_model(tmp_path / "mine")
    found, x = local(tmp_path / "mine"), inputs()
    check_agrees(found, as_saved(tmp_path / "mine"), x)
    assert found.spec.architecture == "jumprelu"
    threshold = torch.full((LATENTS,), float(sae.topk_threshold))
    torch.testing.assert_close(found.source.threshold, threshold)
    # T5: what is scored is the saved SAE, whose threshold may not have arrived yet.
    active = float((found.encode(x) != 0).sum(1).float().mean())
    assert active > 10 if pace == 0.01 else 3 < active < 7


# What is published in formats of its own


@dataclass(frozen=True)
class Made:
    """Files of an SAE below its repository, and what it computes by its paper: with arrays, not with its library."""

    files: repos.Files
    formula: Formula


@dataclass(frozen=True)
class Published:
    """An SAE of the catalogue, small."""

    name: str
    make: Callable[[SAESpec], Made]
    by_heart: dict[str, int] = field(default_factory=dict)
    """Sizes that sae-lens knows without a look at the file."""
    told: bool = False
    """Whether saebench has to be told as well, since it leaves the file to sae-lens."""
    heads: int = 0


SIZES = {"d_in": D, "d_sae": LATENTS}


def arrays(seed: int = 0) -> Weights:
    """W_enc (d_in, d_sae), W_dec (d_sae, d_in), biases and thresholds."""
    draw = torch.Generator().manual_seed(seed)
    shapes = {"W_enc": (D, LATENTS), "W_dec": (LATENTS, D), "b_enc": (LATENTS,), "b_dec": (D,), "W_skip": (D, D)}
    found = {name: 0.3 * torch.randn(shape, generator=draw) for name, shape in shapes.items()}
    return {**found, "threshold": 0.2 + torch.rand(LATENTS, generator=draw)}


def jumped(x: Tensor, threshold: Tensor | float = 0.0) -> Tensor:
    return torch.where(x > threshold, x, 0.0).relu()


def jump_relu(w: Weights, x: Tensor) -> Tensor:
    return jumped(x @ w["W_enc"] + w["b_enc"], w["threshold"]) @ w["W_dec"] + w["b_dec"]


def relu(w: Weights, x: Tensor) -> Tensor:
    return jumped(x @ w["W_enc"] + w["b_enc"]) @ w["W_dec"] + w["b_dec"]


def npz(w: Weights) -> bytes:
    file = io.BytesIO()
    np.savez(file, **{name: w[name].numpy() for name in ("W_enc", "W_dec", "b_enc", "b_dec", "threshold")})
    return file.getvalue()


def checkpoint(w: Weights) -> bytes:
    file = io.BytesIO()
    torch.save({name: value.contiguous() for name, value in w.items()}, file)
    return file.getvalue()


def gemma_scope(spec: SAESpec) -> Made:
    w = arrays()
    return Made({f"{spec.location}/params.npz": npz(w)}, lambda x: jump_relu(w, x))


def gemma_scope_embedding(spec: SAESpec) -> Made:
    """It was trained on embeddings before Gemma multiplies them by sqrt(d)."""
    w = arrays()
    formula = lambda x: (jump_relu(w, x / D**0.5) - w["b_dec"]) * D**0.5 + w["b_dec"]  # noqa: E731
    return Made({f"{spec.location}/params.npz": npz(w)}, formula)


def gemma_scope_2(spec: SAESpec, *, configured: bool = True) -> Made:
    affine, w = "affine" in spec.location, arrays()
    site = next(known for known in repos.SITES if known in spec.location)
    layer, model = (
        re.findall(r"layer_(\d+)", spec.location)[0],
        str(spec.repo).replace("google/gemma-scope-2", "gemma-v3"),
    )
    files = repos.gemma_scope_2_folder(D, LATENTS, site=site, layer=int(layer), affine=affine, model=model)
    weights = {name.replace("W_", "w_"): w[name] for name in ("W_enc", "W_dec", "b_enc", "b_dec", "threshold")}
    files["params.safetensors"] = save({**weights, **({"affine_skip_connection": w["W_skip"]} if affine else {})})
    if not configured:
        del files["config.json"]
    skip = w["W_skip"] if affine else torch.zeros(D, D)
    return Made(repos.under(spec.location, files), lambda x: jump_relu(w, x) + x @ skip.to(x))


def gemma_scope_2_bare(spec: SAESpec) -> Made:
    return gemma_scope_2(spec, configured=False)


PLACES = {"R": "hook_resid_post", "A": "hook_attn_out", "M": "hook_mlp_out"}


def hook_by_letter(location: str) -> str:
    """What OpenMOSS's own files say: L15R is the residual stream after layer 15; A is attention's output, M the MLP's."""
    match = re.search(r"L(\d+)([RAM])\b", location)
    assert match, location
    return f"blocks.{match[1]}.{PLACES[match[2]]}"


def llama_scope(spec: SAESpec) -> Made:
    w, factor, norm, threshold = arrays(), float(spec.facts["norm_scaling_factor"]), 5.0, 0.3
    known = {
        "d_model": D, "d_sae": LATENTS, "jump_relu_threshold": threshold,
        "hook_point_in": hook_by_letter(spec.location),
        "dataset_average_activation_norm": {"in": norm, "out": norm},
    }  # fmt: skip
    weights = {
        "encoder.weight": w["W_enc"].T, "decoder.weight": w["W_dec"].T, "encoder.bias": w["b_enc"],
        "decoder.bias": w["b_dec"],
    }  # fmt: skip
    w = {**w, "threshold": torch.tensor(threshold * D**0.5 / norm)}
    files = {"hyperparams.json": json.dumps(known).encode(), "checkpoints/final.safetensors": safe(weights)}
    return Made(repos.under(spec.location, files), lambda x: jump_relu(w, x * factor) / factor)


def llama_scope_r1(spec: SAESpec) -> Made:
    w, factor = arrays(), float(spec.facts["norm_scaling_factor"])
    known = {"d_model": D, "expansion_factor": LATENTS // D, "hook_point_in": hook_by_letter(spec.location)}
    weights = {
        "encoder.weight": w["W_enc"].T, "decoder.weight": w["W_dec"].T, "encoder.bias": w["b_enc"],
        "decoder.bias": w["b_dec"], "log_jumprelu_threshold": w["threshold"].log(),
    }  # fmt: skip
    files = {"config.json": json.dumps(known).encode(), "sae_weights.safetensors": safe(weights)}
    return Made(repos.under(spec.location, files), lambda x: jump_relu(w, x * factor) / factor)


def safe(weights: Weights) -> bytes:
    return save({name: value.contiguous() for name, value in weights.items()})


def attention_of_gpt2(spec: SAESpec) -> Made:
    w = {name: arrays()[name] for name in ("W_enc", "W_dec", "b_enc", "b_dec")}
    (layer,) = re.findall(r"_L(\d+)_", spec.location)
    known = {"act_size": D, "dict_size": LATENTS, "act_name": f"blocks.{layer}.attn.hook_z", "seq_len": 128}
    config = spec.location.removesuffix(".pt") + "_cfg.json"
    files = {spec.location: checkpoint(w), config: json.dumps(known).encode()}
    return Made(files, lambda x: relu(w, x - w["b_dec"]))


def qwen_scope(spec: SAESpec) -> Made:
    w, k = arrays(), 50
    weights = {"W_enc": w["W_enc"].T, "W_dec": w["W_dec"].T, "b_enc": w["b_enc"], "b_dec": w["b_dec"]}

    def formula(x: Tensor) -> Tensor:
        before = x @ w["W_enc"] + w["b_enc"]
        return jumped(before.where(before >= before.topk(k).values[:, -1:], 0.0)) @ w["W_dec"] + w["b_dec"]

    return Made({spec.location: checkpoint(weights)}, formula)


def linear_layers(names: Sequence[str]) -> Callable[[SAESpec], Made]:
    """A ReLU SAE of two linear layers that are called so."""

    def make(spec: SAESpec) -> Made:
        w, (encoder, decoder) = arrays(), names
        weights = {
            f"{encoder}.weight": w["W_enc"].T, f"{encoder}.bias": w["b_enc"], f"{decoder}.weight": w["W_dec"].T,
            f"{decoder}.bias": w["b_dec"],
        }  # fmt: skip
        return Made({spec.location: checkpoint(weights)}, lambda x: relu(w, x))

    return make


def qwen_transcoder(spec: SAESpec, *, config: str = "wandb-config.yaml", named: bool = True) -> Made:
    w = arrays()
    sizes = {"d_model": {"value": D}, "d_feature": {"value": LATENTS}, "batch_size": {"value": 4096}}
    weights = {"W_enc": w["W_enc"].T, **{name: w[name] for name in ("W_dec", "b_enc", "b_dec")}}
    files = {spec.location: safe(weights), config: yaml.safe_dump(sizes).encode()}
    if named:
        files["config.yaml"] = yaml.safe_dump({"model_name": "Qwen/Qwen3-4B"}).encode()
    return Made(files, lambda x: relu(w, x))


def qwen_transcoder_misspelt(spec: SAESpec) -> Made:
    return qwen_transcoder(spec, config="wanb-config.yaml", named=False)


TRANSCODER = {**SIZES, "d_out": D}
GOODFIRE, DEEPSEEK = linear_layers(("encoder_linear", "decoder_linear")), linear_layers(("encoder", "decoder"))
PUBLISHED = [
    Published("gemmascope/2b/layer-12/16k", gemma_scope, SIZES),
    Published("gemmascope/9b-it/layer-9/131k", gemma_scope, SIZES),
    Published("gemmascope/2b/mlp/layer-5/16k", gemma_scope, SIZES),
    Published("gemmascope/9b/att/layer-5/16k", gemma_scope, SIZES, heads=HEADS),
    Published("gemmascope/2b/embedding/4k/l0-111", gemma_scope_embedding, SIZES),
    Published("gemmascope/2b/transcoder/layer-3/16k/l0-54", gemma_scope, TRANSCODER),
    Published("gemmascope/v2-270m-pt/layer-5/16k/l0-small", gemma_scope_2),
    Published("gemmascope/v2-1b-it/layer-13/1m/l0-medium", gemma_scope_2_bare),
    Published("gemmascope/v2-4b-pt/att/layer-9/16k/l0-small", gemma_scope_2),
    Published("gemmascope/v2-12b-it/all/mlp/layer-40/262k/l0-big", gemma_scope_2),
    Published("gemmascope/v2-27b-it/all/transcoder/layer-60/16k/l0-big", gemma_scope_2),
    Published("gemmascope/v2-1b-pt/transcoder/layer-7/262k/l0-medium", gemma_scope_2_bare),
    Published("gemmascope/v2-270m-it/all/transcoder/layer-3/16k/l0-small-affine", gemma_scope_2),
    Published("gemmascope/v2-1b-pt/transcoder/layer-7/16k/l0-big-affine", gemma_scope_2_bare),
    Published("llama/scope/layer-15/res/8x", llama_scope),
    Published("llama/scope/layer-3/att/32x", llama_scope),
    Published("llama/scope/layer-31/mlp/8x", llama_scope),
    Published("llama/scope-r1/layer-15/400m_slimpajama_400m_openr1_math", llama_scope_r1),
    Published("gpt2/kissane/layer-5/z", attention_of_gpt2, heads=HEADS),
    Published("qwen/scope/3-1.7b-base/layer-14/32k/l0-50", qwen_scope, SIZES, told=True),
    Published("llama/goodfire/3.1-8b-instruct/layer-19", GOODFIRE, SIZES, told=True),
    Published("llama/goodfire/3.3-70b-instruct/layer-50", GOODFIRE, SIZES, told=True),
    Published("llama/qresearch-r1/layer-19", DEEPSEEK, SIZES, told=True),
    Published("qwen/transcoder/3-4b/layer-7", qwen_transcoder),
    Published("qwen/transcoder/3-14b/layer-7/low-l0", qwen_transcoder_misspelt),
]
each_published = pytest.mark.parametrize("published", PUBLISHED, ids=lambda published: published.name)


def from_sae_lens(spec: SAESpec) -> Any:
    """sae-lens's own object, which sae-lens fetches itself."""
    from sae_lens import SAE

    release, _, sae_id = str(spec.release).partition("/")
    return SAE.from_pretrained(release, sae_id, device="cpu")


def tell_sizes(monkeypatch: pytest.MonkeyPatch, spec: SAESpec, sizes: dict[str, int]) -> None:
    from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

    lookup = get_pretrained_saes_directory()[str(spec.release).partition("/")[0]]
    monkeypatch.setattr(lookup, "config_overrides", {**(lookup.config_overrides or {}), **sizes})


def served(hub: Hub, published: Published, monkeypatch: pytest.MonkeyPatch) -> tuple[SAESpec, Made]:
    spec = named(published.name)
    made = published.make(spec)
    hub.add(str(spec.repo), made.files)
    if published.told:
        tell_sizes(monkeypatch, spec, published.by_heart)
    return spec, made


@READS_BY_ITSELF
@each_published
def test_published_by_formula(hub: Hub, published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, made = served(hub, published, monkeypatch)
    x = inputs() / float(spec.facts.get("norm_scaling_factor") or 1)
    sae = fetched(spec)
    assert 0.01 < float((sae.encode(x) != 0).float().mean()) < 0.99
    check_close(through(sae, x), made.formula(x))


@READS_BY_ITSELF
@each_published
def test_published_as_sae_lens_has_it(hub: Hub, published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, _ = served(hub, published, monkeypatch)
    sae = fetched(spec)
    tell_sizes(monkeypatch, spec, published.by_heart)
    original = from_sae_lens(spec)
    x = inputs() / float(spec.facts.get("norm_scaling_factor") or 1)
    check_agrees(sae, original, x, published.heads)


@READS_BY_ITSELF
@each_published
def test_file_says_what_the_catalogue_says(hub: Hub, published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, _ = served(hub, published, monkeypatch)
    found = fetched(spec).spec
    # A small SAE has other sizes; what only the file tells is filled in.
    known = {name: value for name, value in vars(spec).items() if value is not None and name not in ("d_in", "d_sae")}
    assert {name: getattr(found, name) for name in known} == known
    assert (found.d_in, found.d_sae) == (D, LATENTS)


@READS_BY_ITSELF
@each_published
def test_source_says_what_the_catalogue_says(hub: Hub, published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    """Facts of fixtures/*.toml win over the file's, and would hide it if they were wrong."""
    from saebench.catalogue.pretrained import model_on_hub
    from saebench.saes.loaders.files import hook_of

    spec, _ = served(hub, published, monkeypatch)
    sae = fetched(spec)
    config = getattr(sae.source, "sae", sae.source).cfg
    known, architecture = config.metadata, config.architecture()
    said = (hook_of(known.hook_name, known.hf_hook_name), known.hook_name_out, architecture)
    assert said == (sae.spec.hook, sae.spec.hook_out, sae.spec.architecture)
    assert sae.spec.context_size == known.context_size
    assert sae.spec.prepend_bos == (known.prepend_bos is not False)
    # sae-lens's converter says Llama 3.1 where its registry says R1's distillation of it, which these SAEs read.
    if known.model_name and spec.format != "llama_scope_r1_distill":
        assert model_on_hub(known.model_name) == sae.spec.model


def with_array(name: str, content: bytes) -> bytes:
    """The same file with an array that nobody knows."""
    extra = torch.ones(3)
    if name.endswith(".npz"):
        file = io.BytesIO()
        np.savez(file, **np.load(io.BytesIO(content)), extra=extra.numpy())
        return file.getvalue()
    if name.endswith(".safetensors"):
        from safetensors.torch import load

        return save({**load(content), "extra": extra})
    return checkpoint({**torch.load(io.BytesIO(content), weights_only=True), "extra": extra})


@each_published
def test_published_with_an_array_that_is_unknown(hub: Hub, published: Published) -> None:
    spec = named(published.name)
    files = {
        n: c if n.endswith((".json", ".yaml")) else with_array(n, c) for n, c in published.make(spec).files.items()
    }
    hub.add(str(spec.repo), files)
    with pytest.raises(ValueError, match=rf"^{re.escape(spec.name)}: .*unknown array 'extra'"):
        fetched(spec)


CONFIGURED = [published for published in PUBLISHED if published.name.startswith(("llama/scope", "gpt2/kissane"))]


@pytest.mark.parametrize("published", [*CONFIGURED, PUBLISHED[6]], ids=lambda published: published.name)
def test_published_with_a_field_that_is_unknown(hub: Hub, published: Published) -> None:
    spec = named(published.name)
    files = published.make(spec).files
    changed = {n: json.dumps({**json.loads(c), "extra": 1}).encode() for n, c in files.items() if n.endswith(".json")}
    assert changed
    hub.add(str(spec.repo), {**files, **changed})
    with pytest.raises(ValueError, match=rf"^{re.escape(spec.name)}: .*\.json: unknown field 'extra'"):
        fetched(spec)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"act_fn": "topk"}, "act_fn is 'topk'"), ({"norm_activation": "token-wise"}, "norm_activation is 'token-wise'"),
        ({"apply_decoder_bias_to_pre_encoder": True}, "apply_decoder_bias_to_pre_encoder is True"),
        ({"use_glu_encoder": True}, "use_glu_encoder is True"), ({"d_sae": 65}, "d_sae is 65"),
        ({"dataset_average_activation_norm": {"in": 5.0, "out": 6.0}}, "different norms"),
        ({"hook_point_out": "blocks.15.hook_mlp_out"}, "differ"),
    ],
)  # fmt: skip
def test_llama_scope_that_computes_something_else(hub: Hub, change: dict[str, Any], told: str) -> None:
    spec = named("llama/scope/layer-15/res/8x")
    files = llama_scope(spec).files
    name = next(name for name in files if name.endswith(".json"))
    hub.add(str(spec.repo), {**files, name: json.dumps({**json.loads(files[name]), **change}).encode()})
    with pytest.raises(ValueError, match=told):
        fetched(spec)


def test_llama_scope_with_all_that_its_files_say(hub: Hub) -> None:
    """As published, to the letter of its fields."""
    spec = named("llama/scope/layer-15/res/8x")
    made = llama_scope(spec)
    name = next(name for name in made.files if name.endswith(".json"))
    published = {
        "device": "cuda:0", "seed": 42, "dtype": "torch.bfloat16", "hook_point_out": "blocks.15.hook_resid_post",
        "use_decoder_bias": True, "apply_decoder_bias_to_pre_encoder": False, "expansion_factor": 4,
        "bias_init_method": "all_zero", "act_fn": "jumprelu", "norm_activation": "dataset-wise",
        "decoder_exactly_fixed_norm": False, "sparsity_include_decoder_norm": True, "use_glu_encoder": False,
        "init_decoder_norm": 0.5, "init_encoder_norm": None, "init_encoder_with_decoder_transpose": True, "lp": 1,
        "l1_coefficient": 8e-05, "l1_coefficient_warmup_steps": 78125, "top_k": 50, "k_warmup_steps": 78125,
        "use_batch_norm_mse": True, "use_ghost_grads": False, "tp_size": 1, "ddp_size": 1,
    }  # fmt: skip
    hub.add(str(spec.repo), {**made.files, name: json.dumps({**json.loads(made.files[name]), **published}).encode()})
    x = inputs() / float(spec.facts["norm_scaling_factor"])
    check_close(through(fetched(spec), x), made.formula(x))


@pytest.mark.parametrize("address", ["hf:google/gemma-scope-2b-pt-res/{}", "saelens:gemma-scope-2b-pt-res/{}"])
def test_other_addresses_of_the_same_sae(hub: Hub, address: str) -> None:
    spec = named("gemmascope/2b/layer-12/16k")
    made = gemma_scope(spec)
    hub.add(str(spec.repo), made.files)
    by_name, other = fetched(spec), fetched(named(address.format(spec.location)))
    assert other.digest == by_name.digest
    assert torch.equal(through(other, inputs()), through(by_name, inputs()))


@pytest.mark.parametrize("kind", ["", "_affine"])
def test_hooks_of_a_transcoder_by_its_address(hub: Hub, kind: str) -> None:
    """T10: what sae-lens calls hook_mlp_in is the residual stream in transformer-lens, before the norm."""
    spec = named(f"saelens:gemma-scope-2-1b-pt-transcoders-all/layer_7_width_16k_l0_small{kind}")
    w = {name.replace("W_", "w_"): value for name, value in arrays().items() if name != "W_skip"}
    skip = {"affine_skip_connection": arrays()["W_skip"]} if kind else {}
    hub.add(str(spec.repo), {f"{spec.location}/params.safetensors": save({**w, **skip})})
    found = fetched(spec).spec
    assert (found.hook, found.hook_out) == ("blocks.7.ln2.hook_out", "blocks.7.hook_mlp_out")
    assert found.architecture == ("jumprelu_skip_transcoder" if kind else "jumprelu_transcoder")
    assert found.model == "google/gemma-3-1b-pt"


@pytest.mark.parametrize("name", sorted(folder.name for folder in CHECKPOINTS.iterdir()))
@pytest.mark.parametrize("place", ["", "runs/final"])
def test_checkpoints_of_other_libraries_on_the_hub(hub: Hub, name: str, place: str) -> None:
    """tests/saes/test_source_libraries.py has them on this machine; the libraries' own code computed what is expected."""
    folder = CHECKPOINTS / name
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    expected = dict(np.load(io.BytesIO(files.pop("expected.npz"))))
    (path,) = {name.split("/")[0] for name in files} - {"config.json"}
    hub.add("org/saes", {f"{place}/{name}".removeprefix("/"): content for name, content in files.items()})
    sae, x = fetched(one("hf:" + "/".join(filter(None, ("org/saes", place, path))))), torch.from_numpy(expected["x"])
    check_close(through(sae, x), torch.from_numpy(expected["reconstruction"]))
    assert name.startswith("plain") or (sae.spec.model, sae.spec.context_size) == ("EleutherAI/pythia-70m-deduped", 128)


# Decoder norms

JUMP = ("standard", "gated", "jumprelu", "topk rescaled")


def as_sae_lens(architecture: str, known: Any, k: int) -> Any:
    """Planted weights as an SAE of sae-lens, whose decoder rows have all lengths."""
    from sae_lens import SAE

    d_sae, d_in = known.W_dec.shape
    norm = torch.linspace(0.2, 5, d_sae)
    threshold = getattr(known, "threshold", torch.zeros(d_sae))
    b_enc = known.b_enc + known.b_dec @ known.W_enc
    own = {
        "standard": {"b_enc": (b_enc - threshold) / norm}, "topk rescaled": {"b_enc": b_enc / norm},
        "jumprelu": {"b_enc": b_enc / norm, "threshold": threshold / norm},
        "gated": {"b_gate": (b_enc - threshold) / norm, "b_mag": b_enc / norm, "r_mag": torch.zeros(d_sae)},
    }[architecture]  # fmt: skip
    metadata = {"hook_name": planted.HOOK, "model_name": "tiny", "context_size": planted.CONTEXT // 2}
    config = {**ARCHITECTURES[architecture], "d_in": d_in, "d_sae": d_sae, "metadata": metadata}
    sae = SAE.from_dict({**config, **({"k": k} if "k" in config else {})})
    weights = {"W_enc": known.W_enc / norm, "W_dec": known.W_dec * norm[:, None], "b_dec": known.b_dec}
    sae.load_state_dict({**weights, **own})
    return sae


def plain_and_folded(folder: Path, sae: Any) -> list[LoadedSAE]:
    saved(folder / "plain", sae)
    sae.fold_W_dec_norm()
    saved(folder / "folded", sae)
    assert torch.allclose(sae.W_dec.norm(dim=1), torch.ones(len(sae.W_dec)))
    return [local(folder / name) for name in ("plain", "folded")]


def of_trace(sae: LoadedSAE) -> dict[str, Any]:
    """Everything that the two suites say of a trace."""
    traced = planted.trace(sae, planted.activations())
    scores: dict[str, Callable[[Any], Any]] = {
        **{name: getattr(reconstruction, name) for name in RECONSTRUCTION},
        **{name: getattr(context_length, name) for name in CONTEXT_LENGTH},
    }
    for ablation in ("zero", "mean"):
        scores[ablation] = lambda trace, ablation=ablation: reconstruction.loss_recovered(trace, ablation)
    return {name: numbers(score, traced) for name, score in scores.items()}


RECONSTRUCTION = ("fvu", "l0", "cosine", "shrinkage", "dead_fraction", "dense_fraction", "kl", "ce_increase")
CONTEXT_LENGTH = ("kl_inside", "kl_beyond", "kl_retention", "fvu_retention", "break_point")


def numbers(score: Callable[[Any], Any], trace: Any) -> Any:
    try:
        found = score(trace)
    except Unscored as unscored:
        return unscored.reason
    return found.value, found.ci_low, found.ci_high


@pytest.mark.parametrize("architecture", JUMP)
def test_traces_do_not_depend_on_decoder_norms(tmp_path: Path, architecture: str) -> None:
    sae = as_sae_lens(architecture, planted.dictionary(), k=12)
    plain, folded = (of_trace(found) for found in plain_and_folded(tmp_path, sae))
    assert plain.keys() == folded.keys()
    assert not [value for value in plain.values() if isinstance(value, str)], "a property has no score"
    for name, value in plain.items():
        # KL and cross-entropy are differences of logits in float32.
        assert folded[name] == pytest.approx(value, rel=1e-5, abs=1e-6), name


@pytest.mark.parametrize("architecture", JUMP)
def test_words_do_not_depend_on_decoder_norms(tmp_path: Path, architecture: str) -> None:
    on = planted_words.world()
    sae = as_sae_lens(architecture, planted_words.absorbing(on, 0.5), k=6)
    plain, folded = (
        planted_words.outcomes(planted_words.make_study(found, on.readings, on.probe))
        for found in plain_and_folded(tmp_path, sae)
    )
    assert sum(not isinstance(value, str) for value in plain.values()) > 8
    for name, value in plain.items():
        assert folded[name] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-5, abs=1e-9)), name


# Digests

FOLDERS = ["sae_lens", "params_npz", "params_safetensors", "dictionary_learning_1"]


def folder_of(form: str) -> repos.Files:
    """Files of one SAE in a format that a folder on this machine may have as well."""
    spec = SAESpec(
        "x", "files", "resid_post/layer_3", repo="google/gemma-scope-2-1b-pt", hook="blocks.3.hook_resid_post"
    )
    files: dict[str, Callable[[], repos.Files]] = {
        "sae_lens": lambda: repos.files_of(random_sae("jumprelu").save_model),
        "params_npz": lambda: {"params.npz": npz(arrays())},
        "params_safetensors": lambda: inside(gemma_scope_2(spec).files, spec.location),
        "dictionary_learning_1": lambda: repos.dictionary_learning_folder("TopKTrainer", "AutoEncoderTopK", D, LATENTS),
    }
    return files[form]()


def inside(files: repos.Files, folder: str) -> repos.Files:
    return {name.removeprefix(f"{folder}/"): content for name, content in files.items()}


def written(folder: Path, files: repos.Files) -> Path:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("form", FOLDERS)
def test_digest_is_that_of_the_files_wherever_they_lie(hub: Hub, tmp_path: Path, form: str) -> None:
    files = folder_of(form)
    hub.add("org/saes", repos.under("runs/final", files))
    on_hub = fetched(one("hf:org/saes/runs/final"))
    here = local(written(tmp_path / "somewhere" / "else", files))
    moved = local(Path(shutil.copytree(tmp_path / "somewhere" / "else", tmp_path / "moved")))
    assert on_hub.digest == here.digest == moved.digest
    assert (on_hub.spec.d_in, here.spec.d_sae, moved.spec.architecture) == (D, LATENTS, on_hub.spec.architecture)
    assert torch.equal(through(on_hub, inputs()), through(here, inputs()))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("form", ["sae_lens", "params_npz", "dictionary_learning_1"])
def test_digest_is_the_same_on_every_device_and_in_every_version(tmp_path: Path, form: str, device: str) -> None:
    """Scores are stored under it, so that it may not change either when saebench does."""
    files = folder_of(form)
    found = load_sae(one(str(written(tmp_path / "mine", files))), device)
    lines = [f"{name} {hashlib.sha256(files[name]).hexdigest()}" for name in sorted(files)]
    assert found.digest == hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert {str(value.device.type) for value in found.source.state_dict().values()} == {device}


def nudged(content: bytes) -> Iterator[tuple[str, bytes]]:
    """The same weights with one number changed by little, for each array."""
    from safetensors.torch import load

    weights = load(content)
    for name, value in weights.items():
        changed = value.clone()
        changed.view(-1)[-1] += 1e-3
        yield name, save({**weights, name: changed})


@pytest.mark.parametrize("architecture", ["standard", "gated", "jumprelu", "jumprelu_skip_transcoder"])
def test_digest_changes_with_every_array(tmp_path: Path, architecture: str) -> None:
    files = repos.files_of(random_sae(architecture).save_model)
    digests = {"as it was": local(written(tmp_path / "mine", files)).digest}
    for name, content in nudged(files["sae_weights.safetensors"]):
        folder = written(tmp_path / name, {**files, "sae_weights.safetensors": content})
        digests[name] = local(folder).digest
    assert len(digests) == len({*digests.values()}) >= 5


def test_digest_changes_with_the_configuration(tmp_path: Path) -> None:
    digests = {
        local(saved(tmp_path / str(k), random_sae("topk", k=k, apply_b_dec_to_input=subtracts))).digest
        for k, subtracts in ((4, True), (5, True), (6, False))
    }
    assert len(digests) == 3


# The network


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Cuts this process off from all networks, this machine's own included."""

    def refuse(*_: Any) -> NoReturn:
        raise AssertionError("a connection was opened")

    def cut() -> None:
        for name in ("connect", "connect_ex"):
            monkeypatch.setattr(socket.socket, name, refuse)
        monkeypatch.setattr(socket, "getaddrinfo", refuse)

    return cut


@READS_BY_ITSELF
@pytest.mark.parametrize("offline", [False, True])
@each_published
def test_loading_opens_no_connection(
    hub: Hub, published: Published, offline: bool, wire: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    spec, _ = served(hub, published, monkeypatch)
    ensure(of_sae(spec), print)
    asked = len(hub.log)
    assert asked
    wire()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    ensure(of_sae(spec), print)
    assert load_sae(spec).spec.d_in == D
    assert len(hub.log) == asked


@pytest.fixture
def begun(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], tuple[LoadedSAE, LoadedSAE]]:
    """An SAE from a cache into which another program, such as circuit-tracer, fetched the weights, and from a whole one."""
    from huggingface_hub import constants, hf_hub_download

    def load(name: str) -> tuple[LoadedSAE, LoadedSAE]:
        (published,) = [published for published in PUBLISHED if published.name == name]
        spec, _ = served(hub, published, monkeypatch)
        whole = fetched(spec)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "other"))
        for file in FORMATS[str(spec.format)].required(spec.location):
            hf_hub_download(str(spec.repo), file)
        return fetched(spec), whole

    return load


BEGUN = ["gemmascope/v2-270m-pt/layer-5/16k/l0-small", "qwen/transcoder/3-4b/layer-7", "qwen/transcoder/3-14b/layer-7/low-l0"]  # fmt: skip


@READS_BY_ITSELF
@pytest.mark.parametrize("name", BEGUN)
def test_weights_that_another_program_fetched(begun: Callable[[str], tuple[LoadedSAE, LoadedSAE]], name: str) -> None:
    found, whole = begun(name)
    assert torch.equal(through(found, inputs()), through(whole, inputs()))
    assert found.spec == whole.spec


@READS_BY_ITSELF
@pytest.mark.parametrize("name", BEGUN)
def test_digest_does_not_depend_on_files_that_may_be_absent(
    begun: Callable[[str], tuple[LoadedSAE, LoadedSAE]], name: str
) -> None:
    found, whole = begun(name)
    assert found.digest == whole.digest


def test_what_is_not_here_is_not_fetched_by_loading(hub: Hub, wire: Callable[[], None]) -> None:
    spec = named("gemmascope/v2-270m-pt/layer-5/16k/l0-small")
    hub.add(str(spec.repo), gemma_scope_2(spec).files)
    wire()
    with pytest.raises(ValueError, match=r"^gemmascope/v2-270m-pt/\S+: not on this machine: \S+params\.safetensors$"):
        load_sae(spec)
    assert not hub.log
