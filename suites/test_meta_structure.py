"""Are an SAE's directions compositions of fewer directions, and which of them does another SAE lack? Meta-SAEs and stitching after Leask et al., "Sparse Autoencoders Do Not Find Canonical Units of Analysis" (arXiv 2502.04878)."""

import pytest

from saebench.metrics import absorbed_found, meta_structure, stitching


@pytest.mark.score("meta_structure.explained", 1, "neither", "fraction", headline=True, ceiling=1.0)
def test_explained(meta, record):
    record(meta_structure.explained(meta))


@pytest.mark.score("meta_structure.atoms", 1, "neither", "fraction", ceiling=1.0)
def test_atoms(meta, record):
    record(meta_structure.atoms(meta))


@pytest.mark.score("meta_structure.stability", 1, "neither", "cosine", ceiling=1.0)
def test_stability(meta, record):
    record(meta_structure.stability(meta))


@pytest.mark.score("meta_structure.absorbed_found", 1, "neither", "share", ceiling=1.0)
def test_absorbed_found(meta, kin, record):
    record(absorbed_found.absorbed_found(meta, kin))


@pytest.mark.score("meta_structure.novel", 1, "neither", "fraction")
def test_novel(stitched, record):
    record(stitching.novel(stitched))


@pytest.mark.score("meta_structure.stitched", 1, "neither", "ratio")
def test_stitched(stitched, record):
    record(stitching.stitched(stitched))
