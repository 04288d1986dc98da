"""The SAE in memory: one at a time, with what its files say, and why it cannot be read where it cannot."""

import ctypes
import gc
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from saebench.catalogue.spec import SAESpec
from saebench.record.score import Unscored
from saebench.run.architectures import Architectures
from saebench.run.control_saes import ControlSAEs
from saebench.run.models import Models
from saebench.run.settling import settle
from saebench.run.shelf import Shelf
from saebench.saes.remembered import content_of, told

if TYPE_CHECKING:
    from saebench.saes.sae import LoadedSAE


@dataclass
class Holder:
    """What was told of every SAE is kept; of the weights, those of one SAE."""

    models: Models
    architectures: Architectures
    control_saes: ControlSAEs
    shelf: Shelf
    unreadable: dict[str, str] = field(default_factory=dict)
    """By the name of an SAE, why it cannot be read: said of each of its tests, and not tried again."""
    notes: dict[str, list[str]] = field(default_factory=dict)
    """What a user should read, by the name of an SAE."""
    _sae: "LoadedSAE | None" = None

    def sae(self, spec: SAESpec) -> "LoadedSAE":
        """The SAE in memory; the one before it is dropped first.

        Raises ValueError or OSError, with one sentence, where it cannot be read; it is not tried again then.
        """
        if spec.name in self.unreadable:
            raise ValueError(self.unreadable[spec.name])
        if self._sae is None or self._sae.spec.name != spec.name:
            self._drop()
            try:
                self.hold(self._read(spec))
            except (ImportError, OSError, ValueError) as error:
                self.unreadable[spec.name] = str(error)
                raise
        assert self._sae is not None
        return self._sae

    def hold(self, sae: "LoadedSAE") -> None:
        """Take it for the SAE in memory."""
        self._sae, self.shelf.held = sae, sae.digest

    def _drop(self) -> None:
        self._sae = self.shelf.held = None
        self.shelf.sae.clear()
        gc.collect()
        gc.freeze()  # what is left stays: thousands of tests and a model need not be looked at again for every SAE
        _hand_back()

    def _read(self, spec: SAESpec) -> "LoadedSAE":
        found = self._loaded(spec)
        settle(self.models, spec, found.spec)
        model = self.models.name(found.spec)
        place = self.models.hook(found.spec), found.spec.hook_out, self.models.corpus(found.spec).name
        if self.shelf.turn_to(model=(model, found.spec.centred), place=place):
            gc.unfreeze()  # what was kept of the place before is dropped, and the next collection has to see it
        self._noted(spec, *found.doubts)
        return found

    def _loaded(self, spec: SAESpec) -> "LoadedSAE":
        from saebench.saes.loaders import load_sae

        if spec.loader == "architecture":
            return self.architectures.sae(spec)
        return self._control(spec) if spec.loader == "control" else load_sae(spec, self.models.device())

    def _control(self, spec: SAESpec) -> "LoadedSAE":
        """The control of an SAE; one that cannot be made is unscored, whatever is asked of it."""
        from saebench.saes.loaders import load_sae
        from saebench.saes.unmade import unmade

        own, name = load_sae(spec.own, self.models.device()), spec.name.rpartition("~")[2]
        try:
            made = self.control_saes.made(own, name)
        except Unscored as reason:
            made = unmade(own, name, reason)
        named = replace(made.spec, name=spec.name, control=True)
        return replace(made, spec=named, unresumable=own.unresumable)

    def known(self, spec: SAESpec) -> SAESpec:
        """The spec with all that its files say, which for some formats only loading tells: once, as it is kept."""
        return self.shelf.sae.get(("known", spec.name), lambda: self._known(spec), random=False)

    def _known(self, spec: SAESpec) -> SAESpec:
        if spec.loader == "architecture":
            return self.architectures.known(spec)
        if (content := content_of(spec)) is not None:
            return told(spec, content, self.models.cache(), lambda: self.sae(spec))
        found = self.sae(spec)
        return replace(found.spec, digest=found.digest)

    def unresumable(self, spec: SAESpec) -> str:
        """Why scores of earlier runs may be of another SAE, though all that can be seen of it is the same."""
        if content_of(spec) is not None or spec.loader == "architecture":
            return ""
        reason = self.sae(spec).unresumable
        self._noted(spec, *([f"its stored scores are not taken: {reason}"] if reason else []))
        return reason

    def _noted(self, spec: SAESpec, *said: str) -> None:
        known = self.notes.setdefault(spec.name, [])
        known += [line for line in said if line not in known]


def _hand_back() -> None:
    """Give freed memory back to the system: glibc keeps it in pieces, by which a run over many SAEs would grow."""
    with suppress(AttributeError, OSError, TypeError):  # another system's library has no such function
        ctypes.CDLL(None).malloc_trim(0)
