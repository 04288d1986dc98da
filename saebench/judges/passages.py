"""Texts as tokens, some of which are marked: what a judge is shown."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

OPEN, CLOSE = "<<", ">>"
"""Around what is marked, as published (Paulo et al., arXiv 2410.13928)."""
END = -1
"""In the place of an id behind a text's end."""


@dataclass(frozen=True)
class Passages:
    """As many texts for each of several latents."""

    ids: NDArray[np.intp]
    """(latent, text, position) token ids; `END` behind a text's end."""
    marked: NDArray[np.bool_]
    """(latent, text, position) which tokens are marked."""
    pieces: NDArray[np.object_]
    """(vocabulary + 1,) the text of each token; the last one, which `END` stands for, is empty."""

    def plain(self) -> list[list[str]]:
        """The texts of each latent, on one line each."""
        return self._joined(self.pieces[self.ids])

    def with_marks(self) -> list[list[str]]:
        """The same with every run of marked tokens between << and >>."""
        shown = self.pieces[self.ids]
        return self._joined(np.where(self.marked, OPEN + shown + CLOSE, shown))

    def near(self, before: int, after: int) -> "Passages":
        """Of each text only what stands so close to a marked token."""
        width = self.marked.shape[2]
        padded = np.pad(self.marked, ((0, 0), (0, 0), (after, before)))
        close = np.stack([padded[..., at : at + width] for at in range(before + after + 1)]).any(axis=0)
        return Passages(np.where(close, self.ids, END), self.marked, self.pieces)

    def _joined(self, shown: NDArray[np.object_]) -> list[list[str]]:
        return [[_line("".join(text)) for text in texts] for texts in shown.tolist()]


def _line(text: str) -> str:
    return " ".join(text.replace(CLOSE + OPEN, "").replace("\ufffd", "").split())


def pieces_of(tokenizer: Any, ids: NDArray[np.intp], vocabulary: int) -> NDArray[np.object_]:
    """(vocabulary + 1,) the texts of those tokens that occur among `ids`; of all others nothing."""
    found = np.full(vocabulary + 1, "", dtype=object)
    known = np.unique(ids[ids != END])
    found[known] = tokenizer.batch_decode(known[:, None].tolist())
    return found
