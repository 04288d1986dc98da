"""For how long a run keeps what it has found out: with the SAE, the place that it reads, or the model."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from saebench.evidence.memory import Memory

if TYPE_CHECKING:
    from saebench.saes.sae import LoadedSAE


@dataclass
class Shelf:
    """All that a run keeps in memory, in three compartments. Each is emptied when what it is about changes."""

    sae: Memory = field(default_factory=Memory)
    """Of the SAE in memory: dropped with it."""
    place: Memory = field(default_factory=Memory)
    """Of a hook of a model on some texts: kept for all SAEs that read there."""
    model: Memory = field(default_factory=Memory)
    """The language model, and it with random weights: kept for all SAEs of the model."""
    held: str | None = None
    """Digest of the SAE in memory."""
    _about: dict[str, Hashable] = field(default_factory=dict)

    def of(self, sae: "LoadedSAE") -> Memory:
        """Where it is kept what is read off an SAE: one of the zoo serves all, one that was made for an SAE it alone."""
        own = sae.digest == self.held or sae.spec.origin is not None
        return self.sae if own else self.place

    def turn_to(self, *, model: Hashable, place: Hashable) -> bool:
        """Drop what was kept of another model, or of another place; tell whether anything was."""
        before = dict(self._about)
        for name, now in (("model", model), ("place", (model, place))):
            if self._about.setdefault(name, now) != now:
                getattr(self, name).clear()
                self._about[name] = now
        return bool(before) and before != self._about
