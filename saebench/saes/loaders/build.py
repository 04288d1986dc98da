"""An SAE of sae-lens from a configuration and weights whose shapes are checked first."""

from pathlib import Path
from typing import Any

from saebench.catalogue.weights import FLOATS, Array
from saebench.record.naming import shown

Config = dict[str, Any]
Weights = dict[str, Any]


def built(config: Config, weights: Weights, device: str) -> Any:
    """Raises ValueError with one sentence where a weight is missing or of another shape than the encoder asks for."""
    from sae_lens import SAE

    # Made without memory: the weights are put in as they are.
    config = {"dtype": "float32", "normalize_activations": "none", **config, "device": "meta"}
    config["metadata"] = {key: value for key, value in config["metadata"].items() if value is not None}
    sae = SAE.from_dict(config)
    state = sae.state_dict()
    if lacking := [name for name in state if weights.get(name) is None]:
        raise ValueError(f"it has no {', '.join(lacking)}, which a {config['architecture']} SAE has")
    if not 1 <= config.get("k", 1) <= config["d_sae"]:
        raise ValueError(f"k is {config['k']}, and the SAE has {config['d_sae']} latents")
    for name, value in state.items():
        if str(weights[name].dtype).removeprefix("torch.") not in FLOATS:
            raise ValueError(f"{name} holds {weights[name].dtype}, where weights are {', '.join(FLOATS)}")
        if weights[name].shape != value.shape:
            has, wanted = tuple(weights[name].shape), tuple(value.shape)
            raise ValueError(f"{name} has shape {has}, where the encoder's shape asks for {wanted}")
    sae.load_state_dict({name: weights[name].float().to(device) for name in state}, assign=True)
    sae.cfg.device = device
    return sae.to(device)


def matrix(weights: Weights, name: str, *, transposed: bool = False) -> Any:
    """A weight with two dimensions."""
    if name not in weights:
        raise ValueError(f"it has no {name}; it has {', '.join(sorted(map(str, weights)))[:200]}")
    return weights[name].T.contiguous() if transposed else weights[name]


def tensors(path: Path) -> Weights:
    """Tensors of a `.safetensors`, `.npz` or `.pt` file; nothing else is unpickled."""
    import numpy as np
    import torch
    from safetensors.torch import load_file

    if path.suffix == ".safetensors":
        return dict(load_file(path))
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as data:
            return {name: torch.from_numpy(data[name]) for name in data.files}
    return checkpoint(path)


def checkpoint(path: Any, *, mmap: bool = False, **_: Any) -> Weights:
    """A torch checkpoint of whole tensors and numbers; nothing else is unpickled, and no tensor is larger than stored."""
    import torch

    found = torch.serialization.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds a {type(found).__name__}, where a dictionary of tensors is expected")
    found = {name: torch.tensor(value) if type(value) in (int, float) else value for name, value in found.items()}
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            kind = f"a {type(value).__name__} called {shown(repr(name), 60)}"
            raise ValueError(f"{path} holds {kind}, where a dictionary of tensors is expected")
        if value.layout is not torch.strided or value.nbytes > value.untyped_storage().nbytes():
            raise ValueError(f"{shown(name, 60)} is no whole tensor: it says that it is larger than what is stored")
    return found


def pickled_header(path: Path) -> dict[str, Array]:
    """What a torch checkpoint says that it holds; its numbers stay on the disk."""
    found = checkpoint(path, mmap=True)
    return {name: Array(tuple(value.shape), str(value.dtype).removeprefix("torch.")) for name, value in found.items()}


def whole(name: str, value: Any, most: int | None = None) -> int:
    """A number from a configuration, or from a checkpoint as a tensor of one; at least 1 where there is a most."""
    found = value.item() if hasattr(value, "item") and value.numel() == 1 else value
    found = int(found) if isinstance(found, float) and hasattr(value, "item") and found.is_integer() else found
    if type(found) is not int or found < 0:
        raise ValueError(f"{name} is {found!r:.80}, and should be a whole number")
    if most is not None and not 0 < found <= most:
        raise ValueError(f"{name} is {found}, and the SAE has {most} latents")
    return found
