"""The embedded model and its zoo are what their report says, and good enough to be benchmarked on."""

import json

import pytest
import torch
import transformers

from saebench.catalogue.registry import resolve
from saebench.making.training import SteeredBatches
from saebench.organism.world import TRAINING, World
from saebench.record.places import organism_folder
from saebench.subject.subject import load_subject
from saebench.zoo import report
from saebench.zoo.lm import Stage
from saebench.zoo.organism import MEMBERS as ZOO


@pytest.fixture(scope="module")
def found():
    return json.loads((organism_folder() / "report.json").read_text())


@pytest.fixture(scope="module")
def subject():
    return load_subject()


@pytest.fixture(scope="module")
def acts(subject):
    """Every word of the lexicon, read again: it takes as long as all the rest."""
    return report.word_activations(subject, World.load(organism_folder()), "blocks.1.hook_resid_post")


def test_the_model_uses_context_near_and_far(found):
    assert found["loss_heldout"] < 0.5 * found["loss_shuffled_context"]
    assert found["loss_pos_192_255"] <= found["loss_pos_16_63"] - 0.1


def test_the_model_spells(found):
    assert found["first_letter_accuracy"] >= 0.95
    assert found["probe_first_letter_accuracy"] >= 0.9
    assert found["probe_category_accuracy"] >= 0.9


def test_the_zoo_finds_letters_and_absorbs_some(found):
    assert found["best_latent_f1_mean"] >= 0.6
    assert found["best_latent_f1_mean"] == max(sae["best_latent_f1_mean"] for sae in found["saes"].values())
    others = [sae for name, sae in found["saes"].items() if name != found["best_latent_f1_sae"]]
    absorbed = [row for sae in others for row in sae["absorbed_letters"]]
    assert absorbed
    assert all(row["precision"] >= 0.9 and len(row["silent"]) >= 3 for row in absorbed)


@pytest.mark.parametrize("member", ZOO, ids=lambda member: member.name)
def test_every_sae_is_alive_reconstructs_and_is_as_sparse_as_its_name_says(found, member):
    measured = found["saes"][member.name]
    assert measured["alive"] >= 0.5
    assert measured["fvu"] <= (0.4 if member.decoder != "frozen" else 0.65)
    assert measured["l0"] == pytest.approx(member.l0, rel=0.2)
    spec = resolve(f"organism/{member.name}")[0]
    assert spec.d_sae == member.d_sae
    assert spec.context_size == 64
    for fact in ("l0", "fvu", "tokens_seen", "seed", "commit"):
        assert fact in spec.facts


def test_the_zoo_has_every_architecture_at_two_sparsities_two_widths_and_three_seeds():
    plain = [member for member in ZOO if member.data == "world" and member.decoder == "free"]
    for architecture in ("standard", "gated", "jumprelu", "topk", "batchtopk", "matryoshka"):
        assert len({member.l0 for member in plain if member.architecture == architecture}) >= 2
    for architecture in ("topk", "matryoshka"):
        assert len({member.d_sae for member in plain if member.architecture == architecture}) >= 2
    assert {m.seed for m in plain if (m.architecture, m.l0) == ("batchtopk", 16)} == {0, 1, 2}
    assert len({member.data for member in ZOO}) == 7
    assert {member.decoder for member in ZOO} == {"free", "soft_frozen", "frozen"}


def test_it_is_an_ordinary_checkpoint_that_the_bridge_runs_alike(subject):
    model = transformers.AutoModelForCausalLM.from_pretrained(organism_folder()).eval()
    tokens = torch.arange(100, 140).view(2, 20)
    with torch.no_grad():
        out = model(tokens, output_hidden_states=True)
    assert torch.allclose(out.logits, subject.logits(tokens), atol=1e-4)
    hook = "blocks.1.hook_resid_post"
    assert torch.allclose(out.hidden_states[2], subject.residual(tokens, hook), atol=1e-4)


def test_everything_fits_into_40_megabytes():
    assert sum(path.stat().st_size for path in organism_folder().rglob("*")) <= 40e6


def test_the_report_is_not_made_up(acts, found):
    assert acts.spelled.mean() == pytest.approx(found["first_letter_accuracy"], abs=2e-3)
    letters = [word.letter for word in acts.words]
    assert report.probe_accuracy(acts, letters) == pytest.approx(found["probe_first_letter_accuracy"], abs=0.01)


def test_a_probe_of_shuffled_letters_reads_nothing(acts):
    letters = [word.letter for word in acts.words]
    shuffled = [letters[i] for i in torch.randperm(len(letters), generator=torch.Generator().manual_seed(0))]
    assert report.probe_accuracy(acts, shuffled) < 0.15


class _LetterSAE:
    """Latents that are the letters, some leak added; `shuffled` gives every word another word's."""

    device = "cpu"

    def __init__(self, acts: report.WordActivations, *, shuffled: bool = False) -> None:
        _, member = report.letters_of(acts)
        order = torch.randperm(len(member), generator=torch.Generator().manual_seed(1))
        truth = torch.from_numpy(member).float()
        self.latents = (truth[order] if shuffled else truth) + 0.1

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return self.latents


def test_a_letter_latent_that_leaks_is_found_by_its_threshold_and_not_by_being_active(acts):
    assert report.probed_latent_f1(_LetterSAE(acts), acts) == pytest.approx(1.0)
    assert max(row["f1"] for row in report.best_latents(_LetterSAE(acts), acts)) < 0.3
    assert report.probed_latent_f1(_LetterSAE(acts, shuffled=True), acts) < 0.2


def test_the_learning_rate_warms_up_and_falls():
    assert Stage(TRAINING, 1000, 1.0, warmup=100).learning_rate(0) == pytest.approx(0.01)
    assert Stage(TRAINING, 1000, 1.0, lr_end=0.1, warmup=100).learning_rate(100) == pytest.approx(1.0)
    assert Stage(TRAINING, 1000, 1.0, lr_end=0.1, warmup=100).learning_rate(999) == pytest.approx(0.1, abs=1e-3)


class _Trainer:
    """What the steering reads and moves of an SAETrainer."""

    class Scheduler:
        final_value = current_value = 1.0

    def __init__(self, active: float) -> None:
        self.coefficient_schedulers = {"l1": self.Scheduler()}
        self.act_freq_scores, self.n_frac_active_samples, self.n_training_steps = torch.full((10,), active), 1, 90


@pytest.mark.parametrize(("active", "rises"), [(5.0, True), (0.1, False)])
def test_the_sparsity_coefficient_rises_while_too_many_latents_are_active(active, rises):
    provider = SteeredBatches(torch.randn(2048, 4), l0=8, seed=0, steps=100, hold=lambda: None)
    provider.trainer = _Trainer(active)
    next(provider)
    assert (provider.trainer.coefficient_schedulers["l1"].final_value > 1.0) == rises
