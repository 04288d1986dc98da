"""One module per way of loading; each has `load(spec, device) -> LoadedSAE` and imports what is heavy inside it."""

import importlib
from dataclasses import replace

from saebench.catalogue.spec import SAESpec
from saebench.record.naming import one_sentence
from saebench.saes.sae import LoadedSAE


@one_sentence
def load_sae(spec: SAESpec, device: str = "cpu") -> LoadedSAE:
    """Load an SAE into memory by its spec; nothing is downloaded.

    Raises ValueError or OSError, with one sentence that names the SAE, if it cannot be loaded. What libraries warn of
    meanwhile is shown, and no error.
    """
    from saebench.saes.guard import isolated

    with isolated():
        module = importlib.import_module(f"saebench.saes.loaders.{spec.loader}")
        loaded: LoadedSAE = module.load(spec, device)
    if spec.hook is None or loaded.spec.hook == spec.hook:
        return loaded
    # What was said by name holds, whatever a file says of itself.
    return replace(loaded, spec=replace(loaded.spec, hook=spec.hook))
