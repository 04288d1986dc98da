"""sae-lens's disk format: a folder with `cfg.json` and `sae_weights.safetensors`."""

from typing import Any

from saebench.sae import LoadedSAE, digest_of
from saebench.spec import SAESpec


def load(spec: SAESpec, device: str) -> LoadedSAE:
    from sae_lens import SAE

    return wrap(SAE.load_from_disk(spec.location, device=device, dtype="float32"), spec, device)


def wrap(sae: Any, spec: SAESpec, device: str) -> LoadedSAE:
    """Freeze a sae-lens SAE and give it the digest that its spec lacks."""
    sae.eval().requires_grad_(False)
    return LoadedSAE(spec, sae, spec.digest or digest_of(sae, str(sae.cfg.to_dict())), device)
