"""A zoo: which SAEs a family has, and the activations that they are trained on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from saebench.hub.models import model_facts
from saebench.making.training import Data, Member
from saebench.record.places import fixtures_dir
from saebench.subject.subject import Subject


@dataclass(frozen=True)
class Zoo:
    """What `python -m saebench.zoo FAMILY` makes."""

    family: str
    """Whose file in fixtures/ names the model and the hook."""
    model: str
    members: tuple[Member, ...]
    context: int
    """Tokens of a context, BOS among them."""
    rows: int
    """Activations that are read of each data set, once."""
    samples: int
    """Activations that each SAE is trained on: more than `rows` is more than one epoch."""
    windows: Callable[[Subject, Data], Iterator[Tensor]]
    """Token ids (window, `context`) without end: the same windows in the same order every time."""

    @property
    def hook(self) -> str:
        return str(model_facts(self.model)["hook"])

    @property
    def own(self) -> Data:
        """The data set of the model itself, whose rows are shuffled for a control."""
        return self.members[0].data

    @property
    def work(self) -> Path:
        """Checkpoints and activations: gigabytes that can be deleted once the recipe is through."""
        return Path(".saebench") / self.family

    def folder(self, member: Member) -> Path:
        return fixtures_dir() / self.family / "saes" / member.name

    def member(self, name: str) -> Member:
        return next(member for member in self.members if member.name == name)
