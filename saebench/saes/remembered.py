"""What loading an SAE told of it, kept: a stored score is then found again without a look at any weights."""

import importlib.metadata
import json
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

from saebench.catalogue.spec import SAESpec
from saebench.hub.files import repo_of
from saebench.record.version import __version__

if TYPE_CHECKING:
    from saebench.saes.sae import LoadedSAE
    from saebench.subject.cache import Cache, Inputs, Tensors

VERSION = 1
NAMED = ("name", "location", "origin")
"""What users call an SAE, and where it lies: nothing of its content."""


def content_of(spec: SAESpec) -> str | None:
    """What stands for all bytes of an SAE's files: the commit of its repository, or their sha256. None for code."""
    if spec.loader != "files":
        return None
    repo = repo_of(spec)
    return spec.digest if repo is None else f"{spec.location}@{repo.commit()}" if repo.commit() else None


def told(spec: SAESpec, content: str, cache: "Cache", load: "Callable[[], LoadedSAE]") -> SAESpec:
    """The spec as the loaded SAE has it, with its digest; loaded only where that is not known of this content."""
    import torch

    named = {name: getattr(spec, name) for name in NAMED}
    asked = {name: value for name, value in asdict(spec).items() if name not in NAMED}
    versions = f"{VERSION} {__version__} {importlib.metadata.version('sae-lens')}"

    def read() -> "Tensors":
        found = load()
        facts = {**asdict(found.spec), "digest": found.digest, **dict.fromkeys(NAMED)}
        return {"spec": torch.frombuffer(bytearray(json.dumps(facts).encode()), dtype=torch.uint8)}

    key: Inputs = {"what": "told", "version": versions, "content": content, "asked": json.dumps(asked, sort_keys=True)}
    known = json.loads(cache.get(key, read, random=False)["spec"].numpy().tobytes())
    return SAESpec(**{**known, **named})
