"""Whether a model fits into memory, and in which numbers: told from the headers of its files."""

import torch

from saebench.catalogue.weights import header
from saebench.hub.hub import gigabytes
from saebench.hub.models import layers_of, model_folder
from saebench.record.naming import shown_model
from saebench.subject.batches import all_memory, free_memory

SPARE = 1.3
"""How much more than its weights a model needs."""
SHARE = 0.9
"""Of a device's memory that a model can have: the rest is the system's."""


def dtype_that_fits(name: str, device: str) -> str:
    """float32 where the weights fit into the memory of the device, else bfloat16.

    Not into what is free at the moment: the numbers are part of every score's identity, and every worker and every
    later run on this machine must choose the same.
    """
    return "float32" if SPARE * _size(name) <= SHARE * all_memory(device) else "bfloat16"


def check_room(name: str, device: str, dtype: str) -> None:
    """Raise ValueError with one sentence where the weights do not fit into the memory that is free."""
    needed, free = SPARE * _size(name) * getattr(torch, dtype).itemsize / 4, free_memory(device)
    if needed > free:
        advice = ": close what fills it, or choose --sae-dtype bfloat16" if dtype == "float32" else ""
        raise ValueError(
            f"the model {shown_model(name)} takes {gigabytes(needed)} in {dtype}, and {gigabytes(free)} are free on {device}{advice}"
        )


def _size(name: str) -> int:
    """Bytes of a model's weights in float32. Raises ValueError where it promises more layers than its files can hold."""
    sizes = [array.size for path in model_folder(name).glob("*.safetensors") for array in header(path).values()]
    if (layers := layers_of(name) or 0) > len(sizes):
        raise ValueError(
            f"the model {shown_model(name)} says that it has {layers} layers, and its files hold {len(sizes)} arrays"
        )
    return sum(sizes)
