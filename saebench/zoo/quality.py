"""How good the SAEs of a zoo are, on documents that none was trained on: stated in its report and in each cfg.json."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saebench.catalogue.registry import resolve
from saebench.making.training import Member
from saebench.saes.loaders import load_sae
from saebench.saes.sae import LoadedSAE
from saebench.subject.activations import keep_bos
from saebench.subject.passes import Passes, passes_of
from saebench.subject.subject import Subject
from saebench.zoo.zoo import Zoo

ROWS, CONTEXTS = 100_000, 64
"""Activations that are reconstructed, and contexts in which the reconstruction is spliced in."""
AT_A_TIME = 4096


class Exam:
    """What every SAE of a zoo is measured on: activations, and a few contexts with their losses."""

    def __init__(self, zoo: Zoo, subject: Subject, windows: Tensor) -> None:
        """`windows` (window, position) are token ids of contexts that nothing was trained on."""
        self.zoo, self.subject = zoo, subject
        rows = subject.batch.over(len(windows), lambda at: subject.residual(windows[at], zoo.hook)[:, 1:].cpu())
        self.x = torch.cat(rows).flatten(0, 1)[:ROWS]
        self.tokens = windows[:CONTEXTS]
        self.residual = subject.residual(self.tokens, zoo.hook)
        self.passes: Passes = passes_of(subject, zoo.hook, self.tokens)
        self.last = self.passes.last(self.tokens)
        self.clean = self._loss(None)
        self.zero = self._loss(torch.zeros_like(self.residual))

    def _loss(self, replacement: Tensor | None) -> float:
        spliced = self.last
        if replacement is not None:
            spliced = self.passes.spliced(self.tokens, keep_bos(replacement.to(self.residual), self.residual), None)
        ce, _ = self.passes.losses(self.last, spliced, self.tokens)
        return float(ce[:, 1:-1].mean())

    def measured(self, member: Member) -> dict[str, float]:
        """FVU, mean L0, share of latents alive, and share of the loss recovered that zeros lose."""
        sae = load_sae(resolve(f"{self.zoo.family}/{member.name}")[0])
        unexplained, active, alive = 0.0, 0.0, torch.zeros(member.d_sae, dtype=torch.bool)
        for part in torch.split(self.x, AT_A_TIME):
            latents = sae.encode(part)
            unexplained += float((part - sae.decode(latents)).square().sum())
            active += float((latents != 0).sum())
            alive |= (latents != 0).any(0)
        return {
            "l0": active / len(self.x), "fvu": unexplained / float((self.x - self.x.mean(0)).square().sum()),
            "alive": float(alive.float().mean()),
            "loss_recovered": (self.zero - self._loss(self._reconstruction(sae))) / (self.zero - self.clean),
        }  # fmt: skip

    def _reconstruction(self, sae: LoadedSAE) -> Tensor:
        flat = self.residual.flatten(0, 1).cpu()
        return sae.decode(sae.encode(flat)).view(self.residual.shape)


def quality_report(zoo: Zoo, subject: Subject, windows: Tensor) -> dict[str, Any]:
    """The report of a zoo; what was measured is put into each SAE's own configuration too."""
    exam, saes = Exam(zoo, subject, windows), dict[str, Any]()
    for member in zoo.members:
        if not (folder := zoo.folder(member)).is_dir():
            continue
        measured = {name: round(value, 4) for name, value in exam.measured(member).items()}
        record_in_metadata(folder / "cfg.json", measured)
        saes[member.name] = {**asdict(member), **measured}
        print(f"{zoo.family}: {member.name}: {measured}", flush=True)
    return {"loss": round(exam.clean, 4), "loss_with_zeros": round(exam.zero, 4), "tokens": zoo.samples, "saes": saes}


def record_in_metadata(path: Path, measured: dict[str, float]) -> None:
    config = json.loads(path.read_text())
    config["metadata"] |= measured
    path.write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
