"""An SAE that is there and cannot be read: whatever asks for it is told why, and those beside it are not held up."""

from typing import NoReturn

from saebench.catalogue.spec import SAESpec


def load(spec: SAESpec, device: str) -> NoReturn:
    raise ValueError(spec.facts["unreadable"])
