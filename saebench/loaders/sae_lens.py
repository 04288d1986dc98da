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
    _remember_norms(sae)
    return LoadedSAE(spec, sae, spec.digest or digest_of(sae, str(sae.cfg.to_dict())), device)


def _remember_norms(sae: Any) -> None:
    """Let decode be called more than once per encode: sae-lens deletes the input's norm at the first call."""
    forget = sae.run_time_activation_norm_fn_out

    def out(x: Any) -> Any:
        kept = {name: getattr(sae, name) for name in ("x_norm_coeff", "ln_mu", "ln_std") if hasattr(sae, name)}
        result = forget(x)
        vars(sae).update(kept)
        return result

    sae.run_time_activation_norm_fn_out = out
