"""Pinned texts as token batches: the embedded model's world, a data set of the hub, or a file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from saebench.hub.texts import Source
from saebench.organism.world import HELD_OUT_GENRE, READING, VERSION
from saebench.organism.world import World as TextWorld
from saebench.record.places import organism_folder
from saebench.toy.worlds import PREFIX, World

SPLIT = "heldout"
"""Documents whose keys no training ever used."""
REFERENCE_DOCUMENTS = 1024
CHUNK = 256
"""Documents that are split into tokens at a time."""
RESERVED = 5_000
"""Documents of a data set or a file that scores may be measured on."""
LETTERS = 64
"""Characters per token that are more than any text has on average."""
SHORTEST = 2
"""Tokens behind the first, which is BOS where there is one: a document with fewer predicts nothing."""


@dataclass(frozen=True)
class Rows:
    """Token ids (document, position). What follows a document's end is filling, and counts in nothing."""

    tokens: Tensor
    length: Tensor
    """(document,) positions that are its own, the first one included."""


class Corpus(Protocol):
    """Which texts, how many and how long: part of the identity of every score."""

    @property
    def documents(self) -> int: ...
    @property
    def context(self) -> int: ...
    @property
    def name(self) -> str: ...
    def rows(self, tokenizer: Any) -> Rows:
        """BOS, where the model knows one, then the beginning of one document per row."""
        ...

    @property
    def reserved(self) -> int:
        """How many documents of the source scores may be measured on; nothing is trained on them."""
        ...

    def others(self, documents: int, context: int, after: int) -> "Corpus":
        """Other texts of the same kind: documents that come after so many."""
        ...


@dataclass(frozen=True)
class ToySamples:
    """What SAEs of a toy world are read on: no texts."""

    world: World
    documents: int

    @property
    def context(self) -> int:
        return self.world.positions

    @property
    def name(self) -> str:
        return f"{PREFIX}{self.world.name}@{self.world.digest[:12]}/{self.documents}"

    @property
    def reserved(self) -> int:
        return self.documents

    def rows(self, tokenizer: Any) -> Rows:
        raise ValueError(f"{self.name} are samples, and no texts")

    def others(self, documents: int, context: int, after: int) -> "Corpus":
        raise ValueError(f"{self.name} are samples, and no texts")


@dataclass(frozen=True)
class WorldTexts:
    """Texts of the embedded model's world; all are longer than its context."""

    documents: int
    context: int
    source: str = "organism-world"
    skip: int = 0
    """Documents before the first one."""

    @property
    def name(self) -> str:
        after = f"after {self.skip}" if self.skip else ""
        return f"{self.source}@{VERSION}/{SPLIT}{after}/{self.documents}x{self.context}"

    def rows(self, tokenizer: Any) -> Rows:
        return _packed(tokenizer, held_out_texts(self.documents, self.skip), self.context)

    @property
    def reserved(self) -> int:
        return 2 * REFERENCE_DOCUMENTS

    def others(self, documents: int, context: int, after: int) -> "WorldTexts":
        return replace(self, documents=documents, context=context, skip=after)

    def genres(self) -> list[str]:
        """(document,) genre of each."""
        world = TextWorld.load(organism_folder())
        return [world.document(f"{SPLIT}/{i}", READING).genre for i in range(self.skip, self.skip + self.documents)]

    def held_out_genre(self, context: int, tokenizer: Any) -> Tensor:
        """Token ids (document, context) of as many documents of the genre that the language model never saw."""
        world, mixture = TextWorld.load(organism_folder()), replace(READING, genres={HELD_OUT_GENRE: 1})
        texts = [world.document(f"{SPLIT}/{i}", mixture).text for i in range(self.documents)]
        return _packed(tokenizer, texts, context).tokens


def _packed(tokenizer: Any, texts: Sequence[str], context: int) -> Rows:
    """Rows without filling. Raises ValueError if a document is shorter than the context."""
    rows = [ids[:context] for ids in token_ids(tokenizer, texts)]
    if short := [len(row) for row in rows if len(row) < context]:
        raise ValueError(f"a document has {short[0]} tokens where the context needs {context}")
    return Rows(torch.tensor(rows), torch.full((len(rows),), context))


@dataclass(frozen=True)
class Texts:
    """The first documents of a source that fill the context; where they are too few, the longest of the others."""

    source: Source
    documents: int
    context: int
    bos: bool = True
    """Whether contexts begin with BOS, where there is one; position 0 counts in no score either way."""
    skip: int = 0
    """Documents of the source before the first one that is looked at."""
    whatever_length: bool = False
    """Take documents as they come, the short ones too."""

    @property
    def name(self) -> str:
        how = ("/without-bos" if not self.bos else "") + (f"/after {self.skip}" if self.skip else "")
        how += "/as-they-come" if self.whatever_length else ""
        return f"{self.source.name}{how}/{self.documents}x{self.context}"

    @property
    def reserved(self) -> int:
        return RESERVED

    def others(self, documents: int, context: int, after: int) -> "Texts":
        return replace(self, documents=documents, context=context, skip=after, whatever_length=True)

    def rows(self, tokenizer: Any) -> Rows:
        """Raises ValueError if no document has a token to predict."""
        whole, shorter = list[list[int]](), list[list[int]]()
        for ids in self._documents(tokenizer):
            (whole if len(ids) >= self.context else shorter).append(ids[: self.context])
            if len(whole) == self.documents:
                break
        shorter = sorted((ids for ids in shorter if len(ids) > SHORTEST), key=len, reverse=True)
        chosen = [*whole, *shorter][: self.documents]
        if not chosen:
            raise ValueError(f"{self.source} holds no document of more than {SHORTEST - 1} tokens")
        width, fill = max(map(len, chosen)), chosen[0][0]
        tokens = torch.tensor([ids + [fill] * (width - len(ids)) for ids in chosen])
        return Rows(tokens, torch.tensor([len(ids) for ids in chosen]))

    def _documents(self, tokenizer: Any) -> Iterator[list[int]]:
        texts = self.source.texts()
        texts = texts[self.skip :][: self.documents] if self.whatever_length else texts[self.skip : self.reserved]
        # Splitting a whole book into tokens to keep a page of it would take minutes.
        texts = [text[: self.context * LETTERS] for text in texts]
        for start in range(0, len(texts), CHUNK):
            yield from token_ids(tokenizer, texts[start : start + CHUNK], bos=self.bos)


def token_ids(tokenizer: Any, texts: Sequence[str], *, bos: bool = True) -> list[list[int]]:
    """The tokens of each text, behind BOS or the EOS that stands for it where the model knows one of them.

    A model that knows neither was trained on contexts that begin with any token: what comes first counts in no score.
    """
    known = [token for token in (tokenizer.bos_token_id, tokenizer.eos_token_id) if token is not None]
    first = known[:1] if bos else []
    return [[*first, *ids] for ids in tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]]


def held_out_texts(documents: int, skip: int = 0) -> list[str]:
    """The first of the world's documents that no training used, or the ones after `skip`."""
    world = TextWorld.load(organism_folder())
    return [world.document(f"{SPLIT}/{i}", READING).text for i in range(skip, skip + documents)]


def reference_texts() -> list[str]:
    """Texts in which tokens are counted, where only tokens that occur are words."""
    return held_out_texts(REFERENCE_DOCUMENTS)


def reference_name() -> str:
    return f"{REFERENCE_DOCUMENTS}-of-{VERSION}"
