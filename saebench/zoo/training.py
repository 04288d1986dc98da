"""The members of a zoo, trained and saved as sae-lens saves them, in half precision."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from saebench.making.training import Member, train_member
from saebench.record.provenance import provenance
from saebench.subject.subject import load_subject
from saebench.zoo.harvest import harvest
from saebench.zoo.zoo import Zoo


def missing(zoo: Zoo) -> list[Member]:
    return [member for member in zoo.members if not (zoo.folder(member) / "cfg.json").exists()]


def train_all(zoo: Zoo, work: Path) -> None:
    """One process with one thread per member, so that weights do not depend on how many run at a time.

    A GPU has one at a time: several were no faster together.
    """

    def train(member: Member) -> None:
        command = [sys.executable, "-m", "saebench.zoo", zoo.family, "--member", member.name, "--work", str(work)]
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})

    with ThreadPoolExecutor(1 if torch.cuda.is_available() else os.cpu_count() or 2) as pool:
        list(pool.map(train, missing(zoo)))


def train_one(zoo: Zoo, name: str, work: Path) -> None:
    """Train one member and save it."""
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    member, subject = zoo.member(name), load_subject(zoo.model)
    activations = harvest(zoo, member.data, subject, work).to(device)
    begun = time.time()
    sae = train_member(member, activations, zoo.samples)
    facts = {
        "model_name": zoo.model, "hook_name": zoo.hook, "context_size": zoo.context, "prepend_bos": True,
        "trained_on": member.data, "tokens_seen": zoo.samples, "seed": member.seed, "aimed_l0": member.l0,
        "decoder": member.decoder, "commit": provenance()[0],
    }  # fmt: skip
    save(sae.to("cpu"), zoo.folder(member), facts)
    print(f"{zoo.family}: {name} trained in {time.time() - begun:.0f} s", flush=True)


def save(sae: Any, folder: Path, facts: Mapping[str, Any]) -> None:
    """As sae-lens saves it for inference, in half precision, all at once; with what its maker knows of it."""
    from safetensors.torch import load_file, save_file

    for key, value in facts.items():
        setattr(sae.cfg.metadata, key, value)
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    sae.save_inference_model(str(unfinished))
    weights = unfinished / "sae_weights.safetensors"
    save_file({name: tensor.half() for name, tensor in load_file(weights).items()}, weights)
    for extra in set(unfinished.iterdir()) - {weights, unfinished / "cfg.json"}:
        extra.unlink()
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(unfinished, folder)
