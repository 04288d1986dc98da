"""An SAE of sae-lens from a configuration and weights whose shapes are checked first."""

from pathlib import Path
from typing import Any

from saebench.weights import FLOATS

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
    found = weights[name]
    if found.ndim != 2 or not found.numel():
        raise ValueError(f"{name} has shape {tuple(found.shape)}, and should have two dimensions")
    return found.T.contiguous() if transposed else found


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


def checkpoint(path: Any, **_: Any) -> Weights:
    """A torch checkpoint of whole tensors; nothing else is unpickled, and no tensor is larger than what is stored."""
    import torch

    found = torch.serialization.load(path, map_location="cpu", weights_only=True)
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise ValueError(f"it holds a {type(found).__name__}, where a dictionary of tensors is expected")
    for name, value in found.items():
        if value.layout is not torch.strided or value.nbytes > value.untyped_storage().nbytes():
            raise ValueError(f"{name!s:.80} is no whole tensor: it says that it is larger than what is stored")
    return found


def whole(name: str, value: Any) -> int:
    """A number from a configuration, or from a checkpoint as a tensor of one."""
    found = value.item() if hasattr(value, "item") and value.numel() == 1 else value
    if type(found) is not int or found < 0:
        raise ValueError(f"{name} is {found!r:.80}, and should be a whole number")
    return found
