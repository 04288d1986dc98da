"""The report of the organism: its model, its SAEs, and what they find of letters."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from saebench.catalogue.registry import resolve
from saebench.making.training import Member
from saebench.organism.world import World
from saebench.record.places import organism_folder
from saebench.saes.loaders import load_sae
from saebench.subject.subject import Subject
from saebench.zoo.harvest import rows_path
from saebench.zoo.quality import record_in_metadata
from saebench.zoo.report import (
    WordActivations,
    absorbed_letters,
    best_latents,
    losses,
    probe_accuracy,
    probed_latent_f1,
    readable_words,
    word_activations,
)
from saebench.zoo.zoo import Zoo

ROWS = 100_000
"""Activations that an SAE is measured on."""


def organism_report(subject: Subject, zoo: Zoo, work: Path) -> dict[str, Any]:
    """What the organism and its zoo are measured to be."""
    acts = word_activations(subject, World.load(organism_folder()), zoo.hook)
    readable = readable_words(acts)
    saes = {
        member.name: _measured(zoo, member, acts, readable, rows_path(work, member.data, subject))
        for member in zoo.members
    }
    best = max(saes, key=lambda name: saes[name]["best_latent_f1_mean"])
    found = {
        **losses(subject),
        "first_letter_accuracy": float(acts.spelled.mean()),
        "probe_first_letter_accuracy": probe_accuracy(acts, [word.letter for word in acts.words]),
        "probe_category_accuracy": probe_accuracy(acts, [word.category for word in acts.words]),
        "best_latent_f1_mean": saes[best]["best_latent_f1_mean"],
        "best_latent_f1_sae": best,
        "saes": saes,
    }
    rounded: dict[str, Any] = _rounded(found)
    return rounded


def _measured(zoo: Zoo, member: Member, acts: WordActivations, readable: set[str], rows: Path) -> dict[str, Any]:
    """L0, FVU and share of latents alive on the last rows of what the SAE was trained on, and its letters."""
    sae = load_sae(resolve(f"{zoo.family}/{member.name}")[0])
    x = torch.from_numpy(np.load(rows, mmap_mode="r")[-ROWS:].astype(np.float32))
    latents = sae.encode(x)
    fvu = (x - sae.decode(latents)).square().sum() / (x - x.mean(0)).square().sum()
    active = latents != 0
    measured = {
        "l0": active.sum(1).float().mean().item(), "fvu": fvu.item(), "alive": active.any(0).float().mean().item(),
    }  # fmt: skip
    record_in_metadata(zoo.folder(member) / "cfg.json", _rounded(measured))
    best = best_latents(sae, acts)
    return {
        **{name: value for name, value in asdict(member).items() if name != "settings"},
        **measured,
        "best_latent_f1_mean": probed_latent_f1(sae, acts),
        "best_active_latent_f1_mean": float(np.mean([row["f1"] for row in best])),
        "absorbed_letters": absorbed_letters(best, readable),
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return [_rounded(entry) for entry in value] if isinstance(value, list) else value
