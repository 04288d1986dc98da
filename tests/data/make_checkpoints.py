"""Writes `checkpoints/`: small SAEs saved by the libraries that define their formats, with those libraries' outputs.

Made with Python 3.11, dictionary-learning 0.1.0, eai-sparsify 1.3.3, torch 2.13.0+cpu, numpy 2.4.6, safetensors 0.8.0,
transformers 5.23.0, accelerate 1.15.0, einops 0.8.2, simple-parsing 0.1.9, schedulefree 1.4.1 and natsort 8.4.0. To run:

    python3.11 -m venv /tmp/g
    /tmp/g/bin/pip install torch==2.13.0 numpy==2.4.6 safetensors==0.8.0 transformers==5.23.0 accelerate==1.15.0 \
        einops==0.8.2 simple-parsing==0.1.9 schedulefree==1.4.1 natsort==8.4.0 tqdm
    /tmp/g/bin/pip install --no-deps dictionary-learning==0.1.0 eai-sparsify==1.3.3
    /tmp/g/bin/python tests/data/make_checkpoints.py

The libraries' own code builds the SAEs, writes the files (`trainSAE` for zero steps; `Trainer.save`) and computes the
outputs; only the parameters are drawn here. What they import for other purposes (nnsight, wandb, ...) is stubbed.
Trainer states that sparsify saves beside the SAE (optimizer_0.pt, state.pt, rank_0_state.pt) are left out.

Every folder has `expected.npz` with float32 `x` (32, 16), `latents` (32, 48) and `reconstruction` (32, 16), as the
library's encode and decode (or forward, where it adds a skip connection) give them in inference. Some have more:
`*_from_pretrained` where the library's own loader rescales the latents, `*_forward` where forward() differs from
encode() and decode(), and `decoded` where forward() adds to decode().
"""

import contextlib
import importlib.machinery
import json
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import accelerate
import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parent / "checkpoints"
D_IN, D_SAE, ROWS, K, LAYER = 16, 48, 32, 8, 3
MODEL = "EleutherAI/pythia-70m-deduped"
Floats = NDArray[np.float32]


def stub(*names: str) -> None:
    for name in names:
        sys.modules[name] = MagicMock(__spec__=importlib.machinery.ModuleSpec(name, None))


def rng_of(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode()))


def draw_x(name: str) -> Tensor:
    return torch.tensor(0.4 + rng_of(f"{name} x").normal(size=(ROWS, D_IN)), dtype=torch.float32)


def save_expected(name: str, **arrays: Tensor | Floats) -> None:
    """Writes the outputs, after a look at how many latents are on in each row."""
    numbers = {key: np.asarray(value, dtype=np.float32) for key, value in arrays.items()}
    on = (numbers["latents"] != 0).sum(1)
    assert 3 <= on.min() <= on.max() <= 30, f"{name}: between {on.min()} and {on.max()} latents are on"
    np.savez_compressed(ROOT / name / "expected.npz", **numbers)


# Parameters


def draw(key: str, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """Values for the parameter or buffer `key`, of any of the libraries."""
    if key in ("encoder.bias", "b_enc", "gate_bias", "mag_bias"):
        return rng.normal(-0.5, 0.3, shape)
    if key in ("bias", "decoder_bias", "decoder.bias", "b_dec"):
        return rng.normal(0.0, 0.4, shape)
    if key == "threshold":  # trained thresholds can turn negative, where only the ReLU decides
        return rng.uniform(0.2, 0.8, shape) - np.where(np.arange(D_SAE) < 2, 1.0, 0.0)
    return rng.normal(0.0, 0.25, shape)


def decoder_of(module: nn.Module) -> tuple[nn.Parameter, int]:
    """The decoder's weight and the axis along which a latent's vector runs."""
    return (module.W_dec, 1) if hasattr(module, "W_dec") else (module.decoder.weight, 0)


@torch.no_grad()
def fill(module: nn.Module, rng: np.random.Generator, unit: bool) -> None:
    """Draws all parameters in place, so that they keep the memory layout that the library gave them."""
    for key, parameter in module.named_parameters():
        parameter.copy_(torch.tensor(draw(key, tuple(parameter.shape), rng)))
    decoder, axis = decoder_of(module)
    decoder.div_(decoder.norm(dim=axis, keepdim=True))
    if not unit:
        decoder.mul_(torch.tensor(rng.uniform(0.5, 2.0, D_SAE), dtype=torch.float32).unsqueeze(axis))


# dictionary_learning


def learned(
    name: str,
    trainer: type,
    dict_class: type[nn.Module],
    *,
    unit: bool = False,
    threshold: float | None = None,
    submodule: bool = True,
    **options: Any,
) -> Path:
    """Lets `trainSAE` save what a trainer holds before its first step; the trainer's SAE has drawn parameters."""
    from dictionary_learning.training import trainSAE

    def drawn(*arguments: Any, **named: Any) -> nn.Module:
        autoencoder = dict_class(*arguments, **named)
        fill(autoencoder, rng_of(name), unit)
        if threshold is not None:
            autoencoder.threshold.fill_(threshold)
        return autoencoder

    config = {"trainer": trainer, "dict_class": drawn, "activation_dim": D_IN, "dict_size": D_SAE, "device": "cpu"}
    config |= {"steps": 20_000, "seed": 0, "layer": LAYER, "lm_name": MODEL, **options}
    config |= {"submodule_name": f"resid_post_layer_{LAYER}"} if submodule else {}
    trainSAE(empty_buffer(), [config], steps=0, save_dir=str(ROOT / name), device="cpu")
    return ROOT / name / "trainer_0"


def empty_buffer() -> Any:
    """The library's buffer, with its config, which yields nothing."""
    from dictionary_learning.buffer import ActivationBuffer

    class EmptyBuffer(ActivationBuffer):
        def __next__(self) -> Tensor:
            raise StopIteration

    sizes = {"d_submodule": D_IN, "n_ctxs": 244, "ctx_len": 128, "refresh_batch_size": 16, "out_batch_size": 2048}
    return EmptyBuffer(iter(()), MagicMock(dtype=torch.float32), None, io="out", device="cpu", **sizes)


@torch.no_grad()
def expect_learned(name: str, dict_class: type[nn.Module], *sizes: Any) -> None:
    """The outputs of the class as it reads the saved weights, and of the library's loader where they differ."""
    from dictionary_learning.utils import load_dictionary

    folder, x = ROOT / name / "trainer_0", draw_x(name)
    autoencoder = dict_class(D_IN, D_SAE, *sizes)
    autoencoder.load_state_dict(torch.load(folder / "ae.pt"))
    latents = autoencoder.eval().encode(x)
    arrays = {"x": x, "latents": latents, "reconstruction": autoencoder.decode(latents)}
    assert torch.equal(autoencoder(x), arrays["reconstruction"])
    if name != "dictionary_learning_standard_aprilupdate_new":  # its config names the wrong class
        loaded, _ = load_dictionary(str(folder), "cpu")
        encoded = loaded.encode(x)
        if not torch.equal(encoded, latents):
            arrays |= {"latents_from_pretrained": encoded, "reconstruction_from_pretrained": loaded.decode(encoded)}
    save_expected(name, **arrays)


def make_learned() -> None:
    from dictionary_learning import dictionary
    from dictionary_learning.trainers import gated_anneal, gdm, jumprelu, p_anneal, standard

    prefix = "dictionary_learning_"
    plain, new, gated = dictionary.AutoEncoder, dictionary.AutoEncoderNew, dictionary.GatedAutoEncoder
    jump = dictionary.JumpReluAutoEncoder
    april = standard.StandardTrainerAprilUpdate
    learned(prefix + "standard", standard.StandardTrainer, plain, unit=True)
    learned(prefix + "p_anneal", p_anneal.PAnnealTrainer, plain, unit=True)
    learned(prefix + "standard_aprilupdate", april, plain)
    learned(prefix + "standard_aprilupdate_new", april, new)
    rename_class(learned(prefix + "standard_new", april, new), "AutoEncoderNew")
    learned(prefix + "gated", gdm.GatedSAETrainer, gated)
    learned(prefix + "gated_anneal", gated_anneal.GatedAnnealTrainer, gated, unit=True, submodule=False)
    learned(prefix + "jumprelu", jumprelu.JumpReluTrainer, jump)
    for name in ("standard", "p_anneal", "standard_aprilupdate"):
        expect_learned(prefix + name, plain)
    for name, kind in {"standard_aprilupdate_new": new, "standard_new": new, "jumprelu": jump}.items():
        expect_learned(prefix + name, kind)
    for name in ("gated", "gated_anneal"):
        expect_learned(prefix + name, gated)


def make_learned_topk() -> None:
    from dictionary_learning.trainers import batch_top_k, matryoshka_batch_top_k, top_k

    prefix = "dictionary_learning_"
    one, batch = (top_k.TopKTrainer, top_k.AutoEncoderTopK), (batch_top_k.BatchTopKTrainer, batch_top_k.BatchTopKSAE)
    nested = (matryoshka_batch_top_k.MatryoshkaBatchTopKTrainer, matryoshka_batch_top_k.MatryoshkaBatchTopKSAE)
    learned(prefix + "top_k", *one, threshold=0.4, k=K)
    learned(prefix + "batch_top_k", *batch, threshold=0.5, k=K)
    learned(prefix + "batch_top_k_without_threshold", *batch, k=K)  # as before `threshold_start_step`: -1
    learned(prefix + "matryoshka_batch_top_k", *nested, threshold=0.5, k=K, group_fractions=[0.25, 0.25, 0.5])
    expect_learned(prefix + "top_k", one[1], K)
    expect_learned(prefix + "batch_top_k", batch[1], K)
    expect_learned(prefix + "batch_top_k_without_threshold", batch[1], K)
    expect_learned(prefix + "matryoshka_batch_top_k", nested[1], K, [12, 12, 24])


def rename_class(folder: Path, dict_class: str) -> None:
    """Names the class as StandardTrainerNew, of versions before 0.1.0, did; its weights are the same."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["trainer"] |= {"dict_class": dict_class, "trainer_class": "StandardTrainerNew"}
    path.write_text(json.dumps(config, indent=4))


# sparsify


def sparsified(name: str, hookpoint: str = f"layers.{LAYER}", **options: Any) -> None:
    """Lets the library's trainer save what it holds before its first step, for a model of the right width."""
    from sparsify import SparseCoderConfig, Trainer
    from sparsify.__main__ import RunConfig

    where: dict[str, Any] = {"hookpoints": [hookpoint]} if "mlp" in hookpoint else {"layers": [LAYER]}
    where |= {"model": MODEL, "dataset": "EleutherAI/SmolLM2-135M-10B", "ctx_len": 128, "run_name": name}
    where |= {"data_preprocessing_num_proc": 8}  # by default half of this machine's processors
    run = RunConfig(SparseCoderConfig(k=K, **options), **where)
    trainer = Trainer(run, range(1000), tiny_model())
    (coder,) = trainer.saes.values()
    fill(coder, rng_of(name), unit=False)
    if run.sae.normalize_decoder and not run.sae.transcode:
        coder.set_decoder_norm_to_unit_norm()  # as the trainer does in every step
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        trainer.save()
        shutil.copytree(Path(run.save_dir, name), ROOT / name, ignore=shutil.ignore_patterns("*.pt"))
    expect_sparsified(name, hookpoint)


def tiny_model() -> nn.Module:
    sizes = {"hidden_size": D_IN, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": LAYER + 1}
    return transformers.GPTNeoXModel(transformers.GPTNeoXConfig(vocab_size=64, **sizes))


@torch.no_grad()
def expect_sparsified(name: str, hookpoint: str) -> None:
    from sparsify import SparseCoder

    coder, x = SparseCoder.load_from_disk(ROOT / name / hookpoint).eval(), draw_x(name)
    encoded, output = coder.encode(x), coder(x)
    decoded = coder.decode(encoded.top_acts, encoded.top_indices)
    arrays = {"x": x, "latents": dense(encoded.top_acts, encoded.top_indices)}
    if coder.cfg.multi_topk:  # forward() decodes 4 k latents, for its loss
        arrays |= {"reconstruction": decoded, "reconstruction_forward": output.sae_out}
        arrays |= {"latents_forward": dense(output.latent_acts, output.latent_indices)}
    else:
        arrays |= {"reconstruction": output.sae_out}
    if coder.W_skip is not None:
        arrays |= {"decoded": decoded}
    save_expected(name, **arrays)


def dense(acts: Tensor, indices: Tensor) -> Tensor:
    return torch.zeros(ROWS, D_SAE).scatter(1, indices, acts)


def make_sparsified() -> None:
    mlp = f"layers.{LAYER}.mlp"
    sparsified("sparsify_topk", num_latents=D_SAE)
    sparsified("sparsify_topk_expansion", expansion_factor=D_SAE // D_IN)  # as by default: num_latents is 0
    sparsified("sparsify_topk_unnormalized", num_latents=D_SAE, normalize_decoder=False)
    sparsified("sparsify_multi_topk", num_latents=D_SAE, multi_topk=True)
    sparsified("sparsify_groupmax", num_latents=D_SAE, activation="groupmax")
    sparsified("sparsify_transcoder", mlp, num_latents=D_SAE, transcode=True)
    sparsified("sparsify_skip_transcoder", mlp, num_latents=D_SAE, transcode=True, skip_connection=True)


# Plain files


def make_plain() -> None:
    from safetensors.numpy import save_file

    def save_torch(weights: dict[str, Floats], path: Path) -> None:
        torch.save({key: torch.from_numpy(value) for key, value in weights.items()}, path)

    def save_numpy(weights: dict[str, Floats], path: Path) -> None:
        np.savez(path, **weights)

    for suffix, save in {"safetensors": save_file, "npz": save_numpy, "pt": save_torch}.items():
        plain(f"plain_{suffix}", f"sae.{suffix}", save)
        plain(f"plain_{suffix}_relu", f"sae.{suffix}", save, threshold=False)


def plain(name: str, file: str, save: Callable[[Any, Path], None], threshold: bool = True) -> None:
    """A JumpReLU SAE, or without a threshold a ReLU SAE, in a file of arrays; nothing is subtracted from its input."""
    rng, x = rng_of(name), draw_x(name).numpy()
    shapes: dict[str, tuple[int, ...]] = {"W_enc": (D_IN, D_SAE), "W_dec": (D_SAE, D_IN), "b_enc": (D_SAE,)}
    shapes |= {"b_dec": (D_IN,), "threshold": (D_SAE,)} if threshold else {"b_dec": (D_IN,)}
    weights = {key: draw(key, shape, rng).astype(np.float32) for key, shape in shapes.items()}
    (ROOT / name).mkdir(parents=True)
    save(weights, ROOT / name / file)
    latents = jump(x @ weights["W_enc"] + weights["b_enc"], weights.get("threshold"))
    save_expected(name, x=x, latents=latents, reconstruction=latents @ weights["W_dec"] + weights["b_dec"])


def jump(before: Floats, threshold: Floats | None) -> Floats:
    passed = before if threshold is None else before * (before > threshold)
    return np.maximum(passed, 0)


def main() -> None:
    assert accelerate.__version__, "imported, like transformers, before the stubs, which it would look for"
    stub("nnsight", "wandb", "zstandard", "datasets")
    torch.manual_seed(0)
    shutil.rmtree(ROOT, ignore_errors=True)
    make_learned()
    make_learned_topk()
    make_sparsified()
    make_plain()


if __name__ == "__main__":
    main()
