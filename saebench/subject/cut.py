"""Documents cut into contexts that are as long as those that an SAE was trained on, so that all of their tokens count."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn.functional import pad

from saebench.subject.corpora import Corpus, Rows

SHORTEST = 18
"""Positions of the last piece of a document, BOS included, with which it is kept."""


@dataclass(frozen=True)
class Cut:
    """The same documents in contexts of `context` positions, each behind what its document begins with."""

    whole: Corpus
    context: int

    @property
    def documents(self) -> int:
        return self.whole.documents

    @property
    def name(self) -> str:
        return f"{self.whole.name}/cut into {self.context}"

    @property
    def reserved(self) -> int:
        return self.whole.reserved

    def others(self, documents: int, context: int, after: int) -> "Cut":
        return replace(self, whole=self.whole.others(documents, context, after))

    def rows(self, tokenizer: Any) -> Rows:
        """The first token of a document, which is BOS where there is one, then a piece of the rest."""
        rows, size = self.whole.rows(tokenizer), self.context - 1
        width = rows.tokens.shape[1] - 1
        pieces = -(-width // size)
        body = pad(rows.tokens[:, 1:], (0, pieces * size - width)).view(-1, pieces, size)
        own = (rows.length[:, None] - 1 - size * torch.arange(pieces)).clamp(0, size) + 1
        tokens = torch.cat([rows.tokens[:, :1, None].expand(-1, pieces, -1), body], dim=2).flatten(0, 1)
        kept = own.flatten() >= min(SHORTEST, self.context)
        return Rows(tokens[kept], own.flatten()[kept])
