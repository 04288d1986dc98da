"""`make organism`: rebuild the tokenizer, the language model, the zoo and the report from nothing, resumably."""

import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from saebench.hub.models import default_hook
from saebench.making.training import SAMPLES, Member
from saebench.organism.world import World
from saebench.record.places import ORGANISM, organism_folder
from saebench.record.provenance import provenance
from saebench.zoo.zoo import ZOO

WORK = Path(".saebench/organism")
"""Checkpoints and activations; 4 GB that can be deleted once the recipe is through."""


def build(work: Path = WORK) -> None:
    """Make whatever is missing, in order: tokenizer, language model, activations, SAEs, report."""
    from saebench.zoo.lm import train_lm
    from saebench.zoo.tokenizer import train_tokenizer

    folder, begun = organism_folder(), time.time()
    world = World.load(folder)
    if not (folder / "tokenizer.json").exists():
        train_tokenizer(world, folder)
    if not (folder / "model.safetensors").exists():
        train_lm(world, folder, work)
    _harvest_all(world, work)
    _train_all(work)
    _report(world, work)
    print(f"organism: built in {(time.time() - begun) / 60:.0f} minutes, {_megabytes(folder):.1f} MB", flush=True)


def hook() -> str:
    found = default_hook(ORGANISM)
    if found is None:
        raise ValueError("fixtures/organism.toml names no hook")
    return found


def _harvest_all(world: World, work: Path) -> None:
    from saebench.subject.subject import load_subject
    from saebench.zoo.harvest import harvest

    subject = load_subject()
    for data in dict.fromkeys(member.data for member in ZOO):
        print(f"organism: activations of {data}", flush=True)
        harvest(data, subject, world, hook(), work)


def _train_all(work: Path) -> None:
    """One process with one thread per member, so that weights do not depend on how many run at a time."""
    missing = [member for member in ZOO if not (sae_folder(member) / "cfg.json").exists()]

    def train(member: Member) -> None:
        command = [sys.executable, "-m", "saebench.organism", "sae", member.name, "--work", str(work)]
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})

    with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        list(pool.map(train, missing))


def sae_folder(member: Member) -> Path:
    return organism_folder() / "saes" / member.name


def train_one(name: str, work: Path) -> None:
    """Train one member and save it in sae-lens's disk format, in half precision."""
    import torch

    from saebench.making.training import train_member
    from saebench.subject.subject import load_subject
    from saebench.zoo.harvest import CONTEXT, harvest

    torch.set_num_threads(1)
    member = next(m for m in ZOO if m.name == name)
    subject = load_subject()
    activations = harvest(member.data, subject, World.load(organism_folder()), hook(), work)
    begun = time.time()
    sae = train_member(member, activations)
    facts = {
        "model_name": ORGANISM, "hook_name": hook(), "context_size": CONTEXT, "prepend_bos": True,
        "trained_on": member.data, "tokens_seen": SAMPLES, "seed": member.seed, "aimed_l0": member.l0,
        "decoder": member.decoder, "commit": provenance()[0],
    }  # fmt: skip
    for key, value in facts.items():
        setattr(sae.cfg.metadata, key, value)
    _save(sae, sae_folder(member))
    print(f"organism: {name} trained in {time.time() - begun:.0f} s", flush=True)


def _save(sae: Any, folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    sae.save_inference_model(str(unfinished))
    weights = unfinished / "sae_weights.safetensors"
    save_file({name: tensor.half() for name, tensor in load_file(weights).items()}, weights)
    for extra in set(unfinished.iterdir()) - {weights, unfinished / "cfg.json"}:
        extra.unlink()
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(unfinished, folder)


def _report(world: World, work: Path) -> None:
    from saebench.subject.subject import load_subject
    from saebench.zoo import report
    from saebench.zoo.harvest import rows_path

    subject = load_subject()
    acts = report.word_activations(subject, world, hook())
    readable = report.readable_words(acts)
    saes = {member.name: _measure(member, acts, readable, rows_path(work, member.data, subject)) for member in ZOO}
    best = max(saes, key=lambda name: saes[name]["best_latent_f1_mean"])
    found = {
        **report.losses(subject),
        "first_letter_accuracy": float(acts.spelled.mean()),
        "probe_first_letter_accuracy": report.probe_accuracy(acts, [word.letter for word in acts.words]),
        "probe_category_accuracy": report.probe_accuracy(acts, [word.category for word in acts.words]),
        "best_latent_f1_mean": saes[best]["best_latent_f1_mean"],
        "best_latent_f1_sae": best,
        "saes": saes,
    }
    text = json.dumps(_rounded(found), indent=1)
    (organism_folder() / "report.json").write_text(text + "\n")
    print(text)


def _measure(member: Member, acts: Any, readable: set[str], rows: Path) -> dict[str, Any]:
    """L0, FVU and share of latents alive on 100,000 rows of what the SAE was trained on, and its letters."""
    import numpy as np
    import torch

    from saebench.catalogue.registry import resolve
    from saebench.saes.loaders import load_sae
    from saebench.zoo import report

    sae = load_sae(resolve(f"{ORGANISM}/{member.name}")[0])
    x = torch.from_numpy(np.load(rows, mmap_mode="r")[-100_000:].astype(np.float32))
    latents = sae.encode(x)
    fvu = (x - sae.decode(latents)).square().sum() / (x - x.mean(0)).square().sum()
    active = latents != 0
    measured = {
        "l0": active.sum(1).float().mean().item(), "fvu": fvu.item(), "alive": active.any(0).float().mean().item(),
    }  # fmt: skip
    _record_in_metadata(sae_folder(member) / "cfg.json", measured)
    best = report.best_latents(sae, acts)
    absorbed = report.absorbed_letters(best, readable)
    letters = {
        "best_latent_f1_mean": report.probed_latent_f1(sae, acts),
        "best_active_latent_f1_mean": float(np.mean([row["f1"] for row in best])),
        "absorbed_letters": absorbed,
    }
    return {**asdict(member), **measured, **letters}


def _record_in_metadata(path: Path, measured: dict[str, float]) -> None:
    config = json.loads(path.read_text())
    config["metadata"] |= _rounded(measured)
    path.write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return [_rounded(entry) for entry in value] if isinstance(value, list) else value


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
