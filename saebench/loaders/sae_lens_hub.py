"""sae-lens's registry of pretrained SAEs: `saelens:RELEASE/SAE_ID`."""

from dataclasses import replace

from saebench.loaders.sae_lens import wrap
from saebench.sae import LoadedSAE
from saebench.spec import SAESpec


def load(spec: SAESpec, device: str) -> LoadedSAE:
    from sae_lens import SAE

    release, sae_id = spec.location.split("/", 1)
    sae = SAE.from_pretrained(release, sae_id, device=device)
    known = sae.cfg.metadata
    facts = replace(
        spec,
        hook=known.hook_name,
        context_size=known.context_size,
        prepend_bos=known.prepend_bos is not False,
        normalisation=sae.cfg.normalize_activations,
        architecture=sae.cfg.architecture(),
        d_in=sae.cfg.d_in,
        d_sae=sae.cfg.d_sae,
    )
    return wrap(sae, facts, device)
