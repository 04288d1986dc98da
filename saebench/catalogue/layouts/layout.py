"""What is known of a format: the fields of its configurations and the arrays of its weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from saebench.catalogue.layouts.arrays import Arrays
from saebench.catalogue.layouts.fields import Fields

Config = Mapping[str, Any]


@dataclass(frozen=True)
class Layout:
    """Either may depend on what the configuration says, such as on its architecture."""

    arrays: Arrays | Callable[[Config], Arrays]
    configs: Mapping[str, Fields | Callable[[Config], Fields]] = field(default_factory=dict)
    """By the file's name in `saebench.catalogue.formats`; the first is the SAE's own."""
    sizes: Mapping[str, str] = field(default_factory=dict)
    """Dimensions of the weights by the fields of its own configuration that say them."""
    check: Callable[[Config, set[str]], None] | None = None
    """What else its configuration and the names of its arrays have to agree in."""

    def arrays_of(self, config: Config) -> Arrays:
        return self.arrays if isinstance(self.arrays, Arrays) else self.arrays(config)

    def fields_of(self, file: str, config: Config) -> Fields:
        known = self.configs[file]
        return known if isinstance(known, Fields) else known(config)
