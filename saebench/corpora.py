"""Pinned texts as token batches."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saebench.organism.world import HELD_OUT_GENRE, READING, World
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
    skip: int = 0
    """Documents before the first one."""

    @property
    def name(self) -> str:
        after = f"after {self.skip}" if self.skip else ""
        return f"{self.source}@{world_digest()[:12]}/{SPLIT}{after}/{self.documents}x{self.context}"

    def tokens(self, tokenizer: Any) -> Tensor:
        """Token ids (document, context): BOS, then the beginning of one document; packed, never padded."""
        rows = [_row(tokenizer, text, self.context) for text in held_out_texts(self.documents, self.skip)]
        return torch.tensor(rows)

    def genres(self) -> list[str]:
        """(document,) genre of each."""
        world = World.load(organism_folder())
        return [world.document(f"{SPLIT}/{i}", READING).genre for i in range(self.skip, self.skip + self.documents)]

    def held_out_genre(self, context: int, tokenizer: Any) -> Tensor:
        """Token ids (document, context) of as many documents of the genre that the language model never saw."""
        world, mixture = World.load(organism_folder()), replace(READING, genres={HELD_OUT_GENRE: 1})
        texts = [world.document(f"{SPLIT}/{i}", mixture).text for i in range(self.documents)]
        return torch.tensor([_row(tokenizer, text, context) for text in texts])


def held_out_texts(documents: int, skip: int = 0) -> list[str]:
    """The first of the world's documents that no training used, or the ones after `skip`."""
    world = World.load(organism_folder())
    return [world.document(f"{SPLIT}/{i}", READING).text for i in range(skip, skip + documents)]


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
