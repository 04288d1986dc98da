"""SAEs of sae-lens's own, saved by sae-lens."""

from pathlib import Path
from typing import Any

import torch


def sae_lens_folder(folder: Path, architecture: str, **config: Any) -> Any:
    """A tiny random SAE of sae-lens's own, saved by sae-lens."""
    from sae_lens import SAE

    torch.manual_seed(0)
    metadata = {"hook_name": "blocks.0.hook_resid_post", "context_size": 64, "model_name": "tiny", "prepend_bos": True}
    known = {"architecture": architecture, "d_in": 8, "d_sae": 32, "dtype": "float32", "device": "cpu"}
    sae = SAE.from_dict(known | {"apply_b_dec_to_input": True, "metadata": metadata} | config)
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    sae.save_model(folder)
    return sae


CASES = [
    ("standard", {}),
    ("standard", {"normalize_activations": "layer_norm"}),
    ("standard", {"normalize_activations": "constant_norm_rescale"}),
    ("standard", {"apply_b_dec_to_input": False}),
    ("jumprelu", {}),
    ("topk", {"k": 4}),
    ("gated", {}),
]
