"""Which SAE another one is held against, and that inserting a latent does to its error what is said."""

from pathlib import Path

import pytest
import torch

from saebench.catalogue.registry import resolve
from saebench.record.score import Unscored
from saebench.record.store import Store
from saebench.run.options import Options
from saebench.run.run import Run

SAE = "toy/absorption/topk-12-120"


def run(tmp_path: Path, name: str) -> Run:
    return Run(resolve(name), Store(tmp_path / "scores.jsonl"), Options("smoke", device="cpu"))


@pytest.mark.parametrize(
    ("name", "partner"),
    [
        ("organism/batchtopk-16", "organism/batchtopk-16-seed1"),
        ("organism/batchtopk-16-seed1", "organism/batchtopk-16-seed2"),
        ("organism/batchtopk-16-frozen", "organism/batchtopk-16-seed1"),
        ("organism/topk-16", "organism/topk-16-wide"),
        ("organism/topk-16~random_l0", "organism/topk-16-wide"),
        ("organism/gated-16", None),
        ("toy/absorption/tied-topk-12-120", "toy/absorption/tied-topk-12-120-seed1"),
        ("toy/tree/topk-12-1024", None),
        ("gpt2/bloom/layer-8/resid_pre", None),
    ],
)
def test_the_partner_is_of_another_seed_or_width_and_no_control(tmp_path: Path, name: str, partner: str | None) -> None:
    found = run(tmp_path, name)
    own = found.partners.of(found.specs[0])
    assert (own.name if own else None) == partner
    assert found.partners.name(found.specs[0]).partition(" ")[0] == (partner or "no")


def test_inserting_a_latent_changes_the_error_by_what_is_said(tmp_path: Path) -> None:
    """By hand: the partner's reconstruction of every sample, with what the latent writes, against the sample."""
    found = run(tmp_path, SAE)
    sae = found.holder.sae(found.specs[0])
    stitched = found.provision.get("stitched", sae, {})
    partner = found.holder._loaded(found.partners.of(sae.spec))  # type: ignore[arg-type]
    x = found.documents.activations(sae).inside(found.documents.rebuilt(sae).inside)[0]
    latents, error = sae.encode(x), (x - partner.decode(partner.encode(x), x)).double()
    one_hot = torch.eye(latents.shape[1])
    for row in (0, 17, 63):
        latent = int(stitched.unit.latents[row])
        direction = sae.decode(one_hot[[latent]]) - sae.decode(0 * one_hot[[latent]])
        written = (latents[:, [latent]] * direction).double()
        change = (error - written).square().sum() - error.square().sum()
        assert stitched.change[row] == pytest.approx(float(change), rel=1e-3, abs=1e-2)
        assert stitched.written[row] == pytest.approx(float(written.square().sum()), rel=1e-3)


def test_an_sae_without_a_partner_says_so(tmp_path: Path) -> None:
    found = run(tmp_path, "toy/tree/topk-12-1024")
    sae = found.holder.sae(found.specs[0])
    with pytest.raises(Unscored, match="no other SAE of its family"):
        found.partners.stitched(sae, None)  # type: ignore[arg-type]
