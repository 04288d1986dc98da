"""A planted topic is unlearned: by an SAE that has it as a latent, not by one that has not, and more with a larger dose."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import Tensor

from saebench.catalogue.registry import resolve
from saebench.catalogue.spec import SAESpec
from saebench.evidence.unlearning import edits, sweep
from saebench.evidence.unlearning.latents import RARE, firing, of_topic, random_like
from saebench.evidence.unlearning.material import LENGTH, Material
from saebench.evidence.unlearning.material import _texts as texts_of
from saebench.evidence.unlearning.questions import single_tokens
from saebench.evidence.unlearning.sweep import Outcome
from saebench.evidence.unlearning.unlearned import dense_of, latents_of, unlearned
from saebench.metrics import unlearning
from saebench.organism.facts import known_of
from saebench.organism.world import World
from saebench.record.places import organism_folder
from saebench.record.score import Unscored
from saebench.record.store import Store
from saebench.run.options import Options
from saebench.run.run import Run
from saebench.saes.sae import LoadedSAE
from saebench.subject.corpora import token_ids

torch.set_num_threads(1)
REAL = "organism/topk-16"
DOSES = (0.1, 0.5, 1.0)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAEBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        run = Run(resolve(REAL), Store(Path("unused.jsonl")), Options("smoke", device="cpu"))
        run.topics.material(run.specs[0])
    return run


@pytest.fixture(scope="module")
def material(found: Run) -> Material:
    return found.topics.material(found.specs[0])


@dataclass(frozen=True)
class Told:
    """Latents that are on at activations that it was told, and write along one direction each."""

    keys: tuple[Tensor, ...]
    """Of each latent, what stands for its activations."""
    rows: Tensor
    """(latent, d)"""

    def encode(self, x: Tensor) -> Tensor:
        return torch.stack([torch.isin(key(x), known) for known in self.keys], dim=1).float()

    def decode(self, latents: Tensor) -> Tensor:
        return latents @ self.rows


def key(x: Tensor) -> Tensor:
    """(token,) of activations (token, d): no two have the same."""
    return x[:, 0].double() * 1e4 + x[:, 1].double()


def planted(found: Run, share: float = 1.0, gain: float = 1.0, *, shuffled: bool = False) -> LoadedSAE:
    """A latent that is on wherever a fact of the topic is about to be said, at a share of these places; or scrambled ones.

    Where a city is named it is too late: the model has read there what it needs before the hook.
    """
    material, x, on = places(found)
    on = on & (torch.rand(len(on), generator=torch.Generator().manual_seed(0)) < share)
    rows = gain * (x[on].mean(0) - material.texts["retain"].mean(0))[None]
    if shuffled:
        on = on[torch.randperm(len(on), generator=torch.Generator().manual_seed(1))]
    told = SAESpec(name="planted/topic", loader="python", location="planted:make", d_sae=1)
    return LoadedSAE(told, Told((key(x[on]),), rows), f"planted {share} {shuffled}", "cpu")


def places(found: Run) -> tuple[Material, Tensor, Tensor]:
    """Activations (token, d) at questions and texts of the topic, and whether a fact of it comes next (token,)."""
    spec = found.specs[0]
    material = found.topics.material(spec)
    q, tokenizer = material.asked.questions, material.asked.passes.subject.tokenizer
    facts = [one.values() for one in known_of(World.load(organism_folder()), "city").values()]
    answers = torch.tensor(sorted(single_tokens(tokenizer, {word for each in facts for word in each}).values()))
    asked = torch.zeros(q.tokens.shape, dtype=torch.bool)
    of_topic = np.flatnonzero(~q.retain)
    asked[q.row[of_topic], q.position[of_topic]] = True
    texts = token_ids(tokenizer, texts_of(found.topics.plan(spec), "forget"))
    following = torch.isin(torch.tensor([row[2 : LENGTH + 1] for row in texts]), answers)
    on = torch.cat([asked[:, 1:].flatten(), following.flatten()])
    return material, torch.cat([material.asked.x[:, 1:].flatten(0, 1), material.texts["forget"]]), on


@pytest.fixture(scope="module")
def dense(material: Material) -> Outcome:
    return dense_of(material)


def test_an_sae_that_has_the_topic_as_a_latent_forgets_it_and_harms_nothing(found: Run, dense: Outcome) -> None:
    told = unlearned(planted(found, gain=4.0), found.topics.material(found.specs[0]), dense)
    estimate, harm = unlearning.forgotten(told), unlearning.side_effect(told)
    assert estimate.ci_low > 0.7
    assert estimate.floor == 0
    assert estimate.controls["strength"] >= 1
    assert (harm.value, harm.ci_low) == (0, 0)
    assert 0 < harm.ci_high < 0.02
    assert estimate.items["item"].shape == estimate.items["contribution"].shape == (estimate.n,)


def test_the_more_of_the_topic_a_latent_is_of_the_more_is_forgotten(found: Run, dense: Outcome) -> None:
    material = found.topics.material(found.specs[0])
    shares = [unlearning.forgotten(unlearned(planted(found, share, 4.0), material, dense)).value for share in DOSES]
    assert shares == sorted(shares)
    assert shares[0] < 0.2 < 0.6 < shares[-1]


def test_the_stronger_a_latent_is_clamped_the_more_is_forgotten(found: Run, material: Material) -> None:
    asked, sae = material.asked, planted(found)
    read = firing(*(latents_of(sae, material.texts[name]) for name in ("forget", "retain")))
    (own,) = edits.clamped(sae, asked, read, {rare: of_topic(read, rare) for rare in RARE})
    which = asked.part(retain=False, test=True)
    kept = [asked.still_right(which, lambda rows, s=s: own.delta(rows, s)).mean() for s in own.settings]
    assert [setting.strength for setting in own.settings] == list(edits.STRENGTHS)
    assert kept == sorted(kept, reverse=True)
    assert kept[-1] < kept[0]


def test_a_latent_that_is_on_anywhere_forgets_nothing(found: Run, dense: Outcome) -> None:
    anywhere = unlearned(planted(found, shuffled=True), found.topics.material(found.specs[0]), dense)
    assert unlearning.forgotten(anywhere).value < 0.1


def test_what_is_added_is_what_plain_decoding_makes_of_clamped_latents(found: Run, material: Material) -> None:
    sae = found.holder.sae(found.specs[0])
    read = firing(*(latents_of(sae, material.texts[name]) for name in ("forget", "retain")))
    lists = {rare: of_topic(read, rare) for rare in RARE}
    (own,) = edits.clamped(sae, material.asked, read, lists)
    setting, rows = edits.Setting(2.0, 20, 0.01), np.arange(40)
    x = material.asked.x[:40].flatten(0, 1)
    latents = sae.encode(x)
    edited = latents.clone()
    for latent in lists[0.01].tolist():
        edited[:, latent] = torch.where(latents[:, latent] > 0, -2 * float(read.unit[latent]), latents[:, latent])
    expected = sae.decode(edited, x) - sae.decode(latents, x)
    assert expected.abs().max() > 1
    assert torch.allclose(own.delta(rows, setting).flatten(0, 1), expected, atol=1e-3)


def test_answers_are_those_of_plain_transformers(found: Run, material: Material) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(organism_folder(), dtype=torch.float32).eval()
    q, which = material.asked.questions, np.arange(0, len(material.asked.right), 9)
    delta = torch.zeros(material.asked.x.shape)
    delta[:, 1:] = 3 * torch.randn(delta[:, 1:].shape, generator=torch.Generator().manual_seed(3))
    changed: list[Tensor] = []

    def change(block: Any, given: Any, out: Any) -> Any:
        whole = out[0] if isinstance(out, tuple) else out
        new = whole + changed[0]
        return (new, *out[1:]) if isinstance(out, tuple) else new

    handle = model.transformer.h[1].register_forward_hook(change)
    for added in (torch.zeros_like(delta), delta):
        changed[:] = [added[torch.from_numpy(q.row[which])]]
        with torch.no_grad():
            logits = model(q.tokens[torch.from_numpy(q.row[which])]).logits[torch.arange(len(which)), q.position[which]]
        plain = logits.gather(1, q.options[torch.from_numpy(which)]).argmax(1).numpy() == 0
        known = which[material.asked.right[which]]
        still = material.asked.still_right(known, lambda rows, added=added: added[torch.from_numpy(rows)])
        assert still.tolist() == plain[material.asked.right[which]].tolist()
    assert not still.all()
    handle.remove()


def test_nothing_is_asked_of_both_validation_and_test(material: Material) -> None:
    q = material.asked.questions
    sides = [{q.unit[i] for i in np.flatnonzero(q.test == test)} for test in (False, True)]
    assert sides[0]
    assert not sides[0] & sides[1]


def test_what_is_tolerated_is_the_exact_bound() -> None:
    from scipy import stats

    assert [sweep.tolerated(n) for n in (100, 298, 299, 472, 473)] == [-1, -1, 0, 0, 1]
    assert stats.binom.cdf(1, 473, 0.01) <= 0.05 < stats.binom.cdf(1, 472, 0.01)


def test_random_latents_fire_as_often_and_are_others() -> None:
    rng = np.random.default_rng(0)
    latents = sparse.csr_array(np.where(rng.random((500, 300)) < rng.random(300) ** 2, 1.0, 0.0).astype(np.float32))
    read = firing(latents[:250], latents[250:])
    chosen = np.arange(0, 300, 15)
    others = random_like(read, chosen, "a test")
    assert not set(others.tolist()) & set(chosen.tolist())
    assert len(set(others.tolist())) == len(chosen)
    assert read.rate[others] == pytest.approx(read.rate[chosen], abs=0.08)


class Silent:
    def encode(self, x: Tensor) -> Tensor:
        return x.new_zeros(len(x), 8)

    def decode(self, latents: Tensor) -> Tensor:
        return latents.new_zeros(len(latents), 192)


class Dense(Silent):
    def encode(self, x: Tensor) -> Tensor:
        return x.new_ones(len(x), 8)


class Identity:
    def encode(self, x: Tensor) -> Tensor:
        return x

    def decode(self, latents: Tensor) -> Tensor:
        return latents


class Broken(Silent):
    def encode(self, x: Tensor) -> Tensor:
        return x.new_full((len(x), 8), float("nan"))


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (Silent, "nothing to clamp"),
        (Dense, "no latent of the topic"),
        (Identity, "no latent of the topic"),
        (Broken, "NaN"),
    ],
)
def test_saes_without_a_latent_of_the_topic_are_not_evaluable(
    bad: type[Any], reason: str, material: Material, dense: Outcome
) -> None:
    spec = SAESpec(name="bad/sae", loader="python", location="bad:make")
    with pytest.raises(Unscored, match=reason):
        unlearned(LoadedSAE(spec, bad(), "bad", "cpu"), material, dense)


def test_a_toy_has_no_topic(tmp_path: Path) -> None:
    toy = Run(
        resolve("toy/absorption/tied-batchtopk-12-120"), Store(tmp_path / "s.jsonl"), Options("smoke", device="cpu")
    )
    with pytest.raises(Unscored, match="is no language model"):
        toy.topics.unlearned(toy.holder.sae(toy.specs[0]))
