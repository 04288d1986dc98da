"""What `--sae gemmascope` and other families need, under its real names and small, for the stand-in of the hub."""

import subprocess
import sys
from functools import cache, partial
from pathlib import Path
from typing import Any

import hub_repos
import smaller
from hub import Hub, environment
from paths import DATA, ROOT
from torch import Tensor

LAYERS, WIDTH, LATENTS = 13, 64, 512
SPARSITIES = {"width_16k/average_l0_41": 10, "width_16k/average_l0_82": 20, "width_16k/average_l0_176": 40}
"""Path in the repository to the L0 that its SAE has here."""
MODEL, SAES, TEXTS = "google/gemma-2-2b", "google/gemma-scope-2b-pt-res", "datasets/NeelNanda/pile-10k"
GPT2, BLOOM, OPENWEBTEXT = (
    "openai-community/gpt2",
    "jbloom/GPT2-Small-SAEs-Reformatted",
    "datasets/Elriggs/openwebtext-100k",
)
GEMMA3, SCOPE2 = "google/gemma-3-270m", "google/gemma-scope-2-270m-pt"
LABELS = str(DATA / "labels.csv")
"""Three classes of short texts: a wheel of 113 data sets is not fetched for every test."""
BASELINES = "adamkarvonen/saebench_gemma-2-2b_width-2pow12_date-0108"


@cache
def model() -> hub_repos.Files:
    return hub_repos.gemma2_model(WIDTH, LAYERS, heads=2, positions=160)


def read(files: hub_repos.Files, layer: int) -> Tensor:
    """Activations (token, d) of the residual stream after a layer."""
    return hub_repos.activations_of(files, hub_repos.documents(60, seed=1), layer)


@cache
def saes() -> hub_repos.Files:
    """Gemma Scope SAEs of layer 12, each of real activations."""
    x = read(model(), 12)
    found = {
        f"layer_12/{path}/params.npz": hub_repos.gemma_scope_npz(WIDTH, LATENTS, seed, l0, x)
        for seed, (path, l0) in enumerate(SPARSITIES.items())
    }
    wide = hub_repos.gemma_scope_npz(WIDTH, 2 * LATENTS, 9, 20, x)
    return {**found, "layer_12/width_65k/average_l0_72/params.npz": wide}


@cache
def texts() -> hub_repos.Files:
    """Most are shorter than the models' contexts, some are longer."""
    short = hub_repos.documents(1600)
    long = [" ".join(short[i : i + 8]) for i in range(0, 800, 8)]
    return hub_repos.text_dataset([*short[800:], *long])


def fill(hub: Hub) -> None:
    """Serve what `gemmascope` means."""
    hub.add(MODEL, model())
    hub.add(SAES, saes())
    hub.add(TEXTS, texts())


@cache
def gemma3() -> hub_repos.Files:
    return hub_repos.gemma3_model(WIDTH, 13)


def fill_others(hub: Hub) -> None:
    """Serve one SAE, or a few, of other families."""
    gpt2, folder = hub_repos.gpt2_model(layers=9), partial(hub_repos.under, "resid_post/layer_12_width_16k_l0_medium")
    bloom = hub_repos.sae_lens_folder(
        "standard", 48, 256, hook="blocks.8.hook_resid_pre", model="gpt2-small", context_size=128, l0=15,
        x=read(gpt2, 7) - read(gpt2, 7).mean(dim=-1, keepdim=True),
    )  # fmt: skip
    hub.add(GPT2, gpt2)
    hub.add(BLOOM, hub_repos.under("blocks.8.hook_resid_pre", bloom))
    hub.add(OPENWEBTEXT, texts())
    hub.add(GEMMA3, gemma3())
    scope2 = folder(hub_repos.gemma_scope_2_folder(WIDTH, 256, layer=12, x=read(gemma3(), 12)))
    transcoder = hub_repos.gemma_scope_2_folder(WIDTH, 256, site="transcoder", layer=12, affine=True)
    hub.add(SCOPE2, scope2 | hub_repos.under("transcoder_all/layer_12_width_16k_l0_big_affine", transcoder))
    baseline = hub_repos.dictionary_learning_folder(
        "BatchTopKTrainer", "BatchTopKSAE", WIDTH, 256, layer=12, x=read(model(), 12)
    )
    hub.add(BASELINES, hub_repos.under("BatchTopK_gemma-2-2b__0108/resid_post_layer_12/trainer_2", baseline))


def variables(hub: Hub, folder: Path) -> dict[str, str]:
    """For a process of its own whose caches are in the folder."""
    return {**environment(hub, folder / "hf"), "SAEBENCH_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}


def pytest_suites(hub: Hub, folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """`pytest suites/` with scores in the folder, as a user starts it, but for how much is read at `smoke`."""
    options = ["suites/", "--sae-scores", str(folder / "scores.jsonl"), "--sae-labels", LABELS, *arguments]
    return process(hub, folder, "-m", "pytest", "-p", "smaller", *options, **more)


def process(hub: Hub, folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    env = {**smaller.environment(), **variables(hub, folder), **more}
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, env=env, text=True, capture_output=True, check=False)


def scores(folder: Path) -> list[Any]:
    from saebench.record.store import Store

    return Store(folder / "scores.jsonl").read()
