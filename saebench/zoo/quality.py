"""How good the SAEs of a zoo are, on documents that none was trained on: stated in its report and in each cfg.json."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saebench.catalogue.registry import resolve
from saebench.making.training import Data, Member
from saebench.saes.loaders import load_sae
from saebench.subject.activations import keep_bos
from saebench.subject.passes import passes_of
from saebench.subject.random_weights import shuffled_rows, training_seed
from saebench.subject.subject import Subject
from saebench.zoo.harvest import model_for
from saebench.zoo.zoo import Zoo

ROWS, CONTEXTS = 50_000, 64
"""Activations that are reconstructed, and contexts in which the reconstruction is spliced in."""
AT_A_TIME = 4096


class Exam:
    """What SAEs of one data set are measured on: activations, and a few contexts with their losses."""

    def __init__(self, zoo: Zoo, data: Data, subject: Subject, windows: Tensor) -> None:
        """`windows` (window, position) are token ids of contexts that nothing was trained on."""
        self.zoo, self.reader = zoo, model_for(data, subject)
        reader = self.reader
        rows = reader.batch.over(len(windows), lambda at: reader.residual(windows[at], zoo.hook)[:, 1:].cpu())
        x = torch.cat(rows).flatten(0, 1)[:ROWS]
        self.x = shuffled_rows(x, training_seed("shuffled rows")) if data == "shuffled_rows" else x
        self.tokens = windows[:CONTEXTS]
        self.residual = reader.residual(self.tokens, zoo.hook)
        self.passes = passes_of(reader, zoo.hook, self.tokens)
        self.said = self.passes.said(self.passes.last(self.tokens))
        self.clean, self.zero = self._loss(None), self._loss(torch.zeros_like(self.residual))

    def _loss(self, replacement: Tensor | None) -> float:
        spliced = self.said.hidden
        if replacement is not None:
            spliced = self.passes.spliced(self.tokens, keep_bos(replacement.to(self.residual), self.residual), None)
        ce, _ = self.passes.losses(self.said, spliced, self.tokens)
        return float(ce[:, 1:-1].mean())

    def measured(self, member: Member) -> dict[str, float]:
        """Mean L0, FVU, share of latents alive, and share of the loss recovered that zeros lose."""
        sae = load_sae(resolve(f"{self.zoo.family}/{member.name}")[0])
        unexplained, active, alive = 0.0, 0.0, torch.zeros(member.d_sae, dtype=torch.bool)
        for part in torch.split(self.x, AT_A_TIME):
            latents = sae.encode(part)
            unexplained += float((part - sae.decode(latents)).square().sum())
            active += float((latents != 0).sum())
            alive |= (latents != 0).any(0)
        found = {
            "l0": active / len(self.x), "fvu": unexplained / float((self.x - self.x.mean(0)).square().sum()),
            "alive": float(alive.float().mean()),
        }  # fmt: skip
        if member.data != self.zoo.own:  # a model that predicts nothing has no loss to recover
            return found
        flat = self.residual.flatten(0, 1).cpu()
        spliced = self._loss(sae.decode(sae.encode(flat)).view(self.residual.shape))
        return {**found, "loss_recovered": (self.zero - spliced) / (self.zero - self.clean)}


def quality_report(zoo: Zoo, subject: Subject, windows: Tensor) -> dict[str, Any]:
    """The report of a zoo; what was measured is put into each SAE's own configuration too."""
    losses, saes = dict[str, float](), dict[str, Any]()
    for data in dict.fromkeys(member.data for member in zoo.members):
        members = [member for member in zoo.members if member.data == data and zoo.folder(member).is_dir()]
        exam = Exam(zoo, data, subject, windows)
        if data == zoo.own:
            losses = {"loss": round(exam.clean, 4), "loss_with_zeros": round(exam.zero, 4)}
        for member in members:
            measured = {name: round(value, 4) for name, value in exam.measured(member).items()}
            record_in_metadata(zoo.folder(member) / "cfg.json", measured)
            saes[member.name] = {**asdict(member), **measured}
            print(f"{zoo.family}: {member.name}: {measured}", flush=True)
    return {**losses, "tokens": zoo.samples, "saes": saes}


def record_in_metadata(path: Path, measured: dict[str, float]) -> None:
    config = json.loads(path.read_text())
    config["metadata"] |= measured
    path.write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
