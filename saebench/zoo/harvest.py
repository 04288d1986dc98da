"""Activations that the zoo is trained on: 64-token contexts, cut from all parts of documents, BOS before each."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saebench.making.training import Data
from saebench.organism.world import HELD_OUT_GENRE, READING, Mixture, World
from saebench.subject.random_weights import MODELS, control_model, shuffled_rows, training_seed
from saebench.subject.subject import Subject

Halves = NDArray[np.float16]
CONTEXT = 64
ROWS = 2_000_000
DOCUMENTS_PER_BATCH = 64
WITH_TELEGRAMS = Mixture({**READING.genres, HELD_OUT_GENRE: 20}, READING.alliteration)


def harvest(data: Data, subject: Subject, world: World, hook: str, work: Path, rows: int = ROWS) -> Tensor:
    """Activations (row, d) in half precision, from the file in `work` or computed into it."""
    path = rows_path(work, data, subject)
    if not path.exists():
        make = _shuffled if data == "shuffled_rows" else _read
        work.mkdir(parents=True, exist_ok=True)
        np.save(path.with_suffix(".tmp.npy"), make(data, subject, world, hook, work, rows))
        os.replace(path.with_suffix(".tmp.npy"), path)
    return torch.from_numpy(np.load(path))


def rows_path(work: Path, data: Data, subject: Subject) -> Path:
    """Named after the model too: another model's activations are never taken for this one's."""
    return work / f"{data}-{subject.digest[:8]}.npy"


def _shuffled(data: Data, subject: Subject, world: World, hook: str, work: Path, rows: int) -> Halves:
    return shuffled_rows(harvest("world", subject, world, hook, work, rows), training_seed("shuffled rows")).numpy()


def _read(data: Data, subject: Subject, world: World, hook: str, work: Path, rows: int) -> Halves:
    mixture = WITH_TELEGRAMS if data == "world_and_telegrams" else READING
    reader = model_for(data, subject)
    width, filled = reader.bridge.cfg.d_model, 0
    out = np.empty((rows, width), dtype=np.float16)
    for tokens in windows(subject, world, mixture):
        batch = reader.residual(tokens, hook)[:, 1:].flatten(0, 1).cpu().to(torch.float16).numpy()
        taken = min(len(batch), rows - filled)
        out[filled : filled + taken] = batch[:taken]
        filled += taken
        if filled == rows:
            return out
    raise AssertionError("windows are endless")


def windows(subject: Subject, world: World, mixture: Mixture) -> Iterator[Tensor]:
    """Endless token ids (window, 64): BOS and 63 tokens, the windows of a document one after the other."""
    bos, step, document = subject.tokenizer.bos_token_id, CONTEXT - 1, 0
    while True:
        keys = range(document, document + DOCUMENTS_PER_BATCH)
        texts = [world.document(f"sae/{key}", mixture).text for key in keys]
        cut = []
        for ids in subject.tokenizer(texts, add_special_tokens=False)["input_ids"]:
            ids = ids[: subject.n_ctx - 1]
            cut += [[bos, *ids[i : i + step]] for i in range(0, len(ids) - step + 1, step)]
        yield torch.tensor(cut)
        document += DOCUMENTS_PER_BATCH


def model_for(data: Data, subject: Subject) -> Subject:
    """The language model whose activations a data set holds."""
    return control_model(subject.name, data, subject.device, dtype=subject.dtype) if data in MODELS else subject
