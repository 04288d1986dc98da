"""What the directions of an SAE are made of, and which of them another SAE lacks."""

from typing import TYPE_CHECKING

from saebench.catalogue.spec import SAESpec
from saebench.evidence.provider import provides
from saebench.run.evidence.documents import documents_read
from saebench.run.meta_saes import MetaSAEs
from saebench.run.partners import Partners

if TYPE_CHECKING:
    from saebench.evidence.meta_sae import MetaStructure
    from saebench.evidence.stitching import Stitched
    from saebench.evidence.trace import Rebuilt
    from saebench.evidence.unit_rows import UnitRows
    from saebench.metrics.kin import Kin
    from saebench.saes.sae import LoadedSAE


def meta_read(spec: SAESpec, meta_saes: MetaSAEs) -> str:
    """Name of the documents, and of how meta-SAEs are trained."""
    return meta_saes.name(spec)


def kin_read(spec: SAESpec, meta_saes: MetaSAEs) -> str:
    """Name of what tells parents from children."""
    return meta_saes.kin_name(spec)


def partner_read(spec: SAESpec, partners: Partners) -> str:
    """Name of the SAE that latents are held against."""
    return partners.name(spec)


@provides("unit_rows", reads=documents_read)
def unit_rows(sae: "LoadedSAE", rebuilt: "Rebuilt") -> "UnitRows":
    """Decoder directions of the latents that are alive, and random ones that are spread as they are."""
    from saebench.evidence.unit_rows import unit_rows

    return unit_rows(sae, rebuilt)


@provides("meta", reads=meta_read)
def meta(unit_rows: "UnitRows", meta_saes: MetaSAEs) -> "MetaStructure":
    """Meta-SAEs of the SAE's decoder directions, and of random ones."""
    return meta_saes.structure(unit_rows)


@provides("kin", reads=kin_read)
def kin(sae: "LoadedSAE", meta_saes: MetaSAEs) -> "Kin":
    """Latents of parents and of their children, and how much of each parent is absorbed."""
    return meta_saes.kin(sae)


@provides("stitched", reads=partner_read)
def stitched(sae: "LoadedSAE", unit_rows: "UnitRows", partners: Partners) -> "Stitched":
    """The SAE's latents beside another SAE of its family."""
    return partners.stitched(sae, unit_rows)
