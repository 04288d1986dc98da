"""From the name of evidence to the evidence: it is made of what its arguments name, once per SAE and parameters."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from saebench.catalogue.spec import SAESpec
from saebench.evidence.provider import Declared, call, closure, declared
from saebench.run.shelf import Shelf

if TYPE_CHECKING:
    from saebench.saes.sae import LoadedSAE


@dataclass
class Provision:
    """Knows the services by the names that evidence asks for them by."""

    services: Mapping[str, Any]
    shelf: Shelf

    def get(self, name: str, sae: "LoadedSAE", params: Mapping[str, Any]) -> Any:
        """The evidence `name` of an SAE. Raises KeyError for what is neither evidence, nor a service, nor a parameter."""
        if name == "sae":
            return sae
        if name in params:
            return params[name]
        if name in self.services:
            return self.services[name]
        one = declared()[name]
        given = {key: value for key, value in params.items() if key in _names(one)}
        key = ("evidence", name, sae.digest, *sorted(given.items()))
        return self.shelf.sae.get(key, lambda: call(one.provider().make, lambda part: self.get(part, sae, given)))

    def reads(self, evidence: Iterable[str], spec: SAESpec, params: Mapping[str, Any]) -> str:
        """What evidence of these names, and all that it is made of, is read from; empty where nothing is."""
        known = {**self.services, **params, "spec": spec}
        readers = [one.reads for name in closure(evidence) if (one := declared()[name].provider()).reads is not None]
        return " + ".join(sorted({call(reader, known.__getitem__) for reader in readers}))

    def of_model(self, evidence: Iterable[str]) -> bool:
        """Whether a language model has a part in evidence of these names; it has where none is named."""
        providers = [declared()[name].provider() for name in closure(evidence)]
        return not providers or any(provider.of_model for provider in providers)


def _names(one: Declared) -> set[str]:
    """All that evidence may be parametrized with: its own arguments, and those of what it is made of."""
    return {name for part in closure([one.name]) for name in declared()[part].arguments}
