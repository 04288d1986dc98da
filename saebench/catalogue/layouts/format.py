"""What is known of a file format of SAEs: its files, the fields of its configurations, the arrays of its weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from saebench.catalogue.layouts.arrays import Arrays
from saebench.catalogue.layouts.fields import Fields

SUFFIXES = (".safetensors", ".npz", ".pt", ".pth")
"""Of a file with an SAE's arrays."""
Config = Mapping[str, Any]
Read = Callable[[str], dict[str, Any]]
"""A configuration of the SAE by its name in `Format.files` or `Format.optional`; empty where it is not here."""


def filled(file: str, path: str) -> str:
    """The name of a file of the SAE that is at a path."""
    parent = "" if PurePosixPath(path).parent == PurePosixPath(".") else f"{PurePosixPath(path).parent}/"
    found = file.replace("{stem}", path.removesuffix(PurePosixPath(path).suffix)).replace("{parent}/", parent)
    return found.replace("{path}", path).removeprefix("/")


@dataclass(frozen=True)
class Format:
    """Files are below a repository or a folder.

    `{path}` is the SAE's own place in it, `{stem}` that without suffix, `{parent}` the folder that it is in. Arrays and
    fields may depend on what the configuration says, such as on its architecture.
    """

    files: tuple[str, ...]
    arrays: Arrays | Callable[[Config], Arrays]
    optional: tuple[str, ...] = ()
    configs: Mapping[str, Fields | Callable[[Config], Fields]] = field(default_factory=dict)
    """By the file's name; the first is the SAE's own."""
    sizes: Mapping[str, str] = field(default_factory=dict)
    """Dimensions of the weights by the fields of its own configuration that say them."""
    check: Callable[[Config, set[str]], None] | None = None
    """What else its configuration and the names of its arrays have to agree in."""
    reader: str = ""
    """Module below `saebench.saes.loaders` whose `read(spec, device)` gives an SAE of sae-lens; its own converters else."""
    tried: int = 0
    """When a folder is tried as it, the lowest first; 0 for never: then a family file has to say so."""
    unsaid: Callable[[str, Read], bool] = lambda place, read: False
    """Whether neither the SAE's place nor its configurations say which hook it reads."""

    @property
    def roles(self) -> list[str]:
        """What each file is to the SAE, whatever the SAE itself is called."""
        return [PurePosixPath(file).name for file in self.files]

    def required(self, path: str) -> list[str]:
        return [filled(file, path) for file in self.files]

    def all(self, path: str) -> list[str]:
        return [filled(file, path) for file in (*self.files, *self.optional)]

    def arrays_of(self, config: Config) -> Arrays:
        return self.arrays if isinstance(self.arrays, Arrays) else self.arrays(config)

    def fields_of(self, file: str, config: Config) -> Fields:
        known = self.configs[file]
        return known if isinstance(known, Fields) else known(config)
