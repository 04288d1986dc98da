"""Pinned texts as token batches."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saebench.organism.world import READING, World
from saebench.subject import organism_folder

SPLIT = "heldout"
"""Documents whose keys no training ever used."""
REFERENCE_DOCUMENTS = 1024


@dataclass(frozen=True)
class Corpus:
    """Which texts, how many and how long: part of the identity of every score."""

    documents: int
    context: int
    source: str = "organism-world"

    @property
    def name(self) -> str:
        return f"{self.source}@{world_digest()[:12]}/{SPLIT}/{self.documents}x{self.context}"

    def tokens(self, tokenizer: Any) -> Tensor:
        """Token ids (document, context): BOS, then the beginning of one document; packed, never padded."""
        rows = [_row(tokenizer, text, self.context) for text in held_out_texts(self.documents)]
        return torch.tensor(rows)


def held_out_texts(documents: int) -> list[str]:
    """The first of the world's documents that no training used."""
    world = World.load(organism_folder())
    return [world.document(f"{SPLIT}/{i}", READING).text for i in range(documents)]


def reference_texts() -> list[str]:
    """Texts in which tokens are counted, where only tokens that occur are words."""
    return held_out_texts(REFERENCE_DOCUMENTS)


def reference_name() -> str:
    return f"{REFERENCE_DOCUMENTS}-of-{world_digest()[:12]}"


def _row(tokenizer: Any, text: str, context: int) -> list[int]:
    ids = [tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]
    if len(ids) < context:
        raise ValueError(f"a document has {len(ids)} tokens where the context needs {context}")
    return ids[:context]


def world_digest() -> str:
    """sha256 over the world's data and its generator: a change of either makes other texts."""
    import saebench.organism

    code = Path(saebench.organism.__file__).parent
    files = [organism_folder() / name for name in ("lexicon.toml", "geography.toml", "templates.toml")]
    files += [code / name for name in ("lexicon.py", "world.py", "spelling.py")]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
