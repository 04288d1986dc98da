"""Activations that a zoo is trained on, read once; what is interrupted goes on where it stopped."""

import os
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor

from saebench.making.training import Data
from saebench.subject.random_weights import MODELS, control_model, shuffled_rows, training_seed
from saebench.subject.subject import Subject
from saebench.zoo.zoo import Zoo

SAID_EVERY = 50
"""Batches of documents between two lines about how far it is."""


def harvest(zoo: Zoo, data: Data, subject: Subject, work: Path) -> Tensor:
    """Activations (row, d) in half precision, from the file in `work` or computed into it."""
    path = rows_path(work, data, subject)
    if not path.exists():
        work.mkdir(parents=True, exist_ok=True)
        if data == "shuffled_rows":
            _shuffle(zoo, subject, work, path)
        else:
            _read(zoo, data, subject, path)
    return torch.from_numpy(np.load(path, mmap_mode="c"))


def rows_path(work: Path, data: Data, subject: Subject) -> Path:
    """Named after the model too: another model's activations are never taken for this one's."""
    return work / f"{data}-{subject.digest[:8]}.npy"


def _shuffle(zoo: Zoo, subject: Subject, work: Path, path: Path) -> None:
    unfinished = path.with_suffix(".tmp.npy")
    np.save(unfinished, shuffled_rows(harvest(zoo, zoo.own, subject, work), training_seed("shuffled rows")).numpy())
    os.replace(unfinished, path)


def _read(zoo: Zoo, data: Data, subject: Subject, path: Path) -> None:
    """Read window after window; beside the unfinished file stands how many batches and rows of it are done."""
    reader = model_for(data, subject)
    unfinished, progress = path.with_suffix(".unfinished"), path.with_suffix(".progress")
    batches, filled = map(int, progress.read_text().split()) if progress.exists() else (0, 0)
    shape = (zoo.rows, reader.bridge.cfg.d_model)
    out = open_memmap(unfinished, mode="r+" if filled else "w+", dtype=np.float16, shape=None if filled else shape)
    for tokens in islice(zoo.windows(subject, data), batches, None):
        batches += 1
        if len(tokens):
            rows = reader.residual(tokens, zoo.hook)[:, 1:].flatten(0, 1).to(torch.float16).cpu().numpy()
            taken = min(len(rows), zoo.rows - filled)
            out[filled : filled + taken] = rows[:taken]
            filled += taken
        if filled == zoo.rows:
            break
        if batches % SAID_EVERY == 0:
            out.flush()
            progress.write_text(f"{batches} {filled}")
            print(f"{zoo.family}: {data}, {filled:,} of {zoo.rows:,} activations", flush=True)
    out.flush()
    os.replace(unfinished, path)
    progress.unlink(missing_ok=True)


def model_for(data: Data, subject: Subject) -> Subject:
    """The language model whose activations a data set holds."""
    return control_model(subject.name, data, subject.device, dtype=subject.dtype) if data in MODELS else subject
