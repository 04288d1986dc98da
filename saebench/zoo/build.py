"""`make organism`, `make smollm2`: whatever is missing of a zoo, in order, resumably."""

import json
import time
from pathlib import Path
from typing import Any

from saebench.hub.needs import ensure, of_corpus, of_model
from saebench.hub.texts import source_of
from saebench.organism.world import World
from saebench.record.places import ORGANISM, fixtures_dir, organism_folder
from saebench.zoo.zoo import Zoo


def build(zoo: Zoo, work: Path) -> None:
    """Make whatever is missing: the language model, activations, SAEs, report."""
    from saebench.subject.subject import load_subject
    from saebench.zoo.harvest import harvest
    from saebench.zoo.training import missing, train_all

    begun = time.time()
    if zoo.model == ORGANISM:
        _make_organism(work)
    else:
        _fetch(zoo)
    subject = load_subject(zoo.model, _device())
    for data in dict.fromkeys(member.data for member in missing(zoo)):
        print(f"{zoo.family}: activations of {data}", flush=True)
        harvest(zoo, data, subject, work)
    train_all(zoo, work)
    report(zoo, subject, work)
    folder = fixtures_dir() / zoo.family
    print(f"{zoo.family}: built in {(time.time() - begun) / 60:.0f} minutes, {_megabytes(folder):.1f} MB", flush=True)


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _make_organism(work: Path) -> None:
    from saebench.zoo.lm import train_lm
    from saebench.zoo.tokenizer import train_tokenizer

    folder = organism_folder()
    world = World.load(folder)
    if not (folder / "tokenizer.json").exists():
        train_tokenizer(world, folder)
    if not (folder / "model.safetensors").exists():
        train_lm(world, folder, work)


def _fetch(zoo: Zoo) -> None:
    from saebench.zoo.smollm2 import facts

    ensure([*of_model(zoo.model), *of_corpus(source_of(facts()["corpus"]))], lambda text: print(text, flush=True))


def report(zoo: Zoo, subject: Any, work: Path) -> None:
    """Measure every SAE, and write what was found beside them."""
    if zoo.model == ORGANISM:
        from saebench.zoo.organism_report import organism_report

        found = organism_report(subject, zoo, work)
    else:
        from saebench.zoo.quality import quality_report
        from saebench.zoo.smollm2 import held_out

        found = quality_report(zoo, subject, held_out(subject))
    text = json.dumps(found, indent=1)
    (fixtures_dir() / zoo.family / "report.json").write_text(text + "\n")
    print(text)


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
