"""Transcoders, SAEs of another width, and the whole chain where activations are unlike the residual stream."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import hub_repos
import models
import numpy as np
import planted
import pytest
import smaller
import torch
from subject_cases import NO_CACHE, SITES, corpus, hook_of, module_of, plain, read, scored, spliced, subject, tokens
from torch import Tensor

from saebench.catalogue.spec import SAESpec, transcodes
from saebench.evidence.words.readings import Readings
from saebench.evidence.words.study import make_study
from saebench.metrics import reconstruction
from saebench.record.budget import BUDGETS
from saebench.record.properties import Property
from saebench.record.score import Estimate, Unscored
from saebench.record.store import Store
from saebench.run.options import Options
from saebench.run.recorder import Asked
from saebench.run.run import Run
from saebench.saes.sae import LoadedSAE
from saebench.stats.statistics import ratio_of_sums
from saebench.subject.activations import Activations, compute_activations
from saebench.subject.batches import MOST

torch.set_num_threads(1)

TRANSCODED = [("gpt2", "ln2.hook_out"), ("gpt2", "mlp.hook_in"), ("gpt2", "ln2.hook_normalized"), ("neox", "mlp.hook_in"),
              ("llama", "ln2.hook_out"), ("gemma2", "ln2.hook_normalized"), ("gemma2", "ln2.hook_out")]  # fmt: skip


@cache
def transcoded(architecture: str, kind: str) -> Activations:
    hook, out = f"blocks.1.{kind}", "blocks.1.hook_mlp_out"
    return compute_activations(subject(architecture), hook, corpus(), NO_CACHE, out)


def true_mlp(architecture: str, kind: str) -> Callable[[Tensor], Tensor]:
    """From what a transcoder reads to what the layer's MLP writes."""
    model, sites = plain(architecture), SITES[architecture]
    norm, mlp = (module_of(model, sites[name], 1) for name in ("ln2.hook_out", "mlp.hook_in"))
    gain = (1 + norm.weight) if architecture == "gemma2" else norm.weight
    bias = norm.bias if hasattr(norm, "bias") else 0.0
    behind = module_of(model, sites["hook_mlp_out"], 1) if architecture == "gemma2" else lambda x: x
    return lambda x: behind(mlp(x * gain + bias if kind == "ln2.hook_normalized" else x))


def facts(architecture: str, kind: str) -> dict[str, Any]:
    return {"hook": f"blocks.1.{kind}", "hook_out": "blocks.1.hook_mlp_out"}


@pytest.mark.parametrize("architecture, kind", TRANSCODED)
def test_a_perfect_transcoder_has_no_error(architecture: str, kind: str) -> None:
    perfect = planted.fake(lambda x: x, torch.no_grad()(true_mlp(architecture, kind)))
    found = planted.traced(perfect, transcoded(architecture, kind), **facts(architecture, kind))
    assert reconstruction.fvu(found).value == pytest.approx(0, abs=1e-6)
    assert reconstruction.kl(found).value == pytest.approx(0, abs=1e-5)
    assert reconstruction.ce_increase(found).value == pytest.approx(0, abs=1e-4)
    assert reconstruction.cosine(found).value == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("architecture, kind", TRANSCODED)
def test_a_transcoder_that_returns_its_input_is_wrong(architecture: str, kind: str) -> None:
    """Or the test above would pass for an SAE that is scored against what it reads."""
    found = planted.traced(planted.identity(), transcoded(architecture, kind), **facts(architecture, kind))
    x, y = (read(architecture, name, 1, tokens(8, 12))[:, 1:-1] for name in (kind, "hook_mlp_out"))
    expected = (x - y).square().sum() / (y - y.mean((0, 1))).square().sum()
    assert reconstruction.fvu(found).value == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("architecture, kind", TRANSCODED)
def test_the_mean_and_the_ablations_are_those_of_the_output(architecture: str, kind: str) -> None:
    made, ids = transcoded(architecture, kind), tokens(8, 12)
    output = read(architecture, "hook_mlp_out", 1, ids)
    torch.testing.assert_close(made.target, output, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(made.residual, read(architecture, kind, 1, ids), rtol=1e-4, atol=1e-4)
    assert (made.target_hook, made.hook) == ("blocks.1.hook_mlp_out", f"blocks.1.{kind}")
    mean = output[:, 1:].mean((0, 1))
    torch.testing.assert_close(made.mean, mean, rtol=1e-4, atol=1e-4)
    for value, found in (
        (torch.zeros_like(output), made.clean.zero_ce),
        (mean.expand_as(output).clone(), made.clean.mean_ce),
    ):
        logits = spliced(architecture, "hook_mlp_out", 1, ids, torch.cat([output[:, :1], value[:, 1:]], dim=1))
        expected = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
        )
        torch.testing.assert_close(found[:, :-1].flatten(), expected, rtol=1e-3, atol=1e-3)


def skipping(architecture: str, d_in: int, d_out: int) -> tuple[Any, Tensor, Tensor]:
    """A transcoder of sae-lens with a skip connection, whose latents are all zero, and its bias and skip weights."""
    from saebench.saes.loaders.build import built
    from saebench.saes.loaders.normalised import normalised

    generator = torch.Generator().manual_seed(0)
    bias, skip = torch.randn(d_out, generator=generator), torch.randn(d_out, d_in, generator=generator)
    weights = {
        "W_enc": torch.zeros(d_in, 8), "W_dec": torch.ones(8, d_out), "b_enc": torch.zeros(8), "b_dec": bias, "W_skip": skip,
    }  # fmt: skip
    config = {"d_in": d_in, "d_sae": 8, "d_out": d_out, "apply_b_dec_to_input": False, "metadata": {},
              "architecture": "skip_transcoder"}  # fmt: skip
    return normalised(built(config, weights, "cpu")), bias, skip


@pytest.mark.parametrize("architecture, kind", [("gpt2", "mlp.hook_in"), ("gemma2", "attn.hook_z")])
def test_a_skip_connection_is_added(architecture: str, kind: str) -> None:
    """Also where what is read is not as wide as what is written."""
    made = transcoded(architecture, kind)
    source, bias, skip = skipping(architecture, made.residual.shape[-1], made.target.shape[-1])
    found = planted.traced(source, made, **facts(architecture, kind))
    expected = (made.residual @ skip.T + bias - made.target).square().sum(-1)
    torch.testing.assert_close(found.error[:, 1:], expected[:, 1:-1].double(), rtol=1e-3, atol=1e-3)
    assert found.l0.sum() == 0


def test_without_a_skip_connection_nothing_is_added() -> None:
    made = transcoded("gpt2", "mlp.hook_in")
    source = planted.always(torch.ones(models.WIDTH))
    found = planted.traced(source, made, **facts("gpt2", "mlp.hook_in"))
    torch.testing.assert_close(
        found.error[:, 1:], (1 - made.target).square().sum(-1)[:, 1:-1].double(), rtol=1e-4, atol=1e-4
    )


@dataclass
class Small:
    """A run on a local model and texts, with SAEs that are not loaded but given."""

    run: Run
    folder: Path
    count: Iterator[int] = field(default_factory=itertools.count)

    def sae(self, source: Any, **facts: Any) -> LoadedSAE:
        digest = f"digest of {next(self.count)}"
        spec = SAESpec("given/sae", "python", "given:sae", model=str(self.folder), digest=digest, **facts)
        made = LoadedSAE(spec, source, digest, "cpu")
        self.run.holder.hold(made)
        return made


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    """A tiny Gemma 2 with a tokenizer like its own, and English-like texts."""
    folder = tmp_path_factory.mktemp("gemma")
    for name, content in hub_repos.gemma2_model(32, 3, heads=2, head_dim=12, positions=160).items():
        (folder / name).write_bytes(content)
    texts = folder / "texts.txt"
    texts.write_text("\n\n".join(hub_repos.documents(60)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAEBENCH_CACHE", str(folder / "cache"))
        patch.setitem(BUDGETS, "smoke", smaller.BUDGET)
        store = Store(folder / "scores.jsonl")
        yield Small(Run([], store, Options("smoke", device="cpu", model=str(folder), texts=str(texts))), folder)


TRANSCODER = {"hook": "blocks.1.ln2.hook_normalized", "hook_out": "blocks.1.hook_mlp_out", "context_size": 64}


def test_what_asks_about_one_place_is_unscored_for_a_transcoder(gemma: Small) -> None:
    sae = gemma.sae(planted.identity(), **TRANSCODER)
    reason = transcodes(sae.spec)
    assert reason.startswith("a transcoder reads blocks.1.ln2.hook_normalized and writes blocks.1.hook_mlp_out")
    for ask in (
        lambda: gemma.run.words.study(sae, "letters"),
        lambda: gemma.run.words.detectors(sae, "letters"),
        lambda: gemma.run.game.lineup(sae),
        lambda: gemma.run.control_saes.of(sae),
    ):
        with pytest.raises(Unscored) as raised:
            ask()
        assert raised.value.reason == reason
        assert not raised.value.broken


@pytest.mark.parametrize("name", ["random_l0", "pca", "identity"])
def test_no_control_is_made_for_a_transcoder(gemma: Small, name: str) -> None:
    """They reconstruct what they read, which is not what a transcoder writes."""
    sae = gemma.sae(planted.identity(), **TRANSCODER)
    with pytest.raises(Unscored) as raised:
        gemma.run.control_saes.made(sae, name)
    assert raised.value.reason == transcodes(sae.spec)


def test_an_sae_that_names_its_own_hook_twice_is_no_transcoder(gemma: Small) -> None:
    hook = "blocks.1.hook_resid_post"
    sae = gemma.sae(planted.identity(), hook=hook, hook_out=hook, context_size=64)
    assert gemma.run.documents.activations(sae).output is None
    assert gemma.run.control_saes.of(sae)


@pytest.mark.parametrize("d_in", [31, 33, 2304])
def test_an_sae_of_another_width_is_broken_in_one_sentence(gemma: Small, d_in: int) -> None:
    sae = gemma.sae(planted.identity(), hook="blocks.1.hook_resid_post", d_in=d_in, context_size=64)
    for ask in (lambda: gemma.run.documents.trace(sae), lambda: make_study(sae, *read_letters(gemma, sae))):
        with pytest.raises(Unscored, match=f"the SAE reads {d_in} dimensions, .* has 32") as raised:
            ask()
        assert raised.value.broken
        assert "\n" not in raised.value.reason


def read_letters(gemma: Small, sae: LoadedSAE) -> tuple[Readings, Any]:
    return gemma.run.words.readings(sae.spec, "letters"), gemma.run.words.probe(sae.spec, "letters")


@pytest.mark.parametrize("source", [planted.relu_sae(torch.ones(40, 8), torch.zeros(8), torch.ones(8, 40))])
def test_an_object_of_another_width_that_does_not_say_so_is_broken_in_one_sentence(gemma: Small, source: Any) -> None:
    sae = gemma.sae(source, hook="blocks.1.hook_resid_post", context_size=64)
    with pytest.raises(Unscored, match=r"^encode of shape .* raised RuntimeError") as raised:
        gemma.run.documents.trace(sae)
    assert raised.value.broken
    assert "\n" not in raised.value.reason


def test_what_writes_another_width_is_broken_in_one_sentence(gemma: Small) -> None:
    source = planted.relu_sae(torch.ones(32, 8), torch.zeros(8), torch.ones(8, 40))
    with pytest.raises(Unscored, match=r"^decode returns 40 dimensions for activations of 32$") as raised:
        gemma.run.documents.trace(gemma.sae(source, hook="blocks.1.hook_resid_post", context_size=64))
    assert raised.value.broken


def relu_of(x: Tensor, latents: int = 96) -> Any:
    """A dictionary of directions that activations have, each on for about a tenth of them."""
    found = hub_repos.dictionary(x.shape[1], latents, 0, latents / 10, x)

    def encode(a: Tensor) -> Tensor:
        scores = (a - found.b_dec) @ found.W_enc
        return torch.where(scores > found.threshold, scores, 0.0)

    return planted.fake(encode, lambda codes: codes @ found.W_dec + found.b_dec)


@pytest.mark.parametrize("kind", ["attn.hook_z", "hook_mlp_out", "hook_embed"])
def test_the_whole_chain_scores_or_says_why_not(gemma: Small, kind: str) -> None:
    run, hook = gemma.run, hook_of(kind, 1)
    spec = gemma.sae(planted.identity(), hook=hook, context_size=64).spec
    x, _ = run.models.activations(run.models.subject(spec), spec).inside(64)
    sae = gemma.sae(relu_of(x), hook=hook, context_size=64, architecture="jumprelu")
    found = run.documents.trace(sae)
    assert 0 < reconstruction.fvu(found).value < 1
    assert reconstruction.kl(found).value > 0
    study = run.words.study(sae, "letters")
    assert study.x.shape[1] == x.shape[1]
    for step in (lambda: run.words.detectors(sae, "letters"), lambda: run.words.speller(sae.spec, "letters")):
        scored(step)
    lineup = scored(lambda: run.game.lineup(sae))
    assert lineup is not None, "the line-up of a working SAE has rungs"
    reasons = [rung for side in (lineup.rungs, lineup.controls) for rung in side.values() if isinstance(rung, Unscored)]
    assert all(reason.reason and not reason.broken for reason in reasons)
    for control in run.control_saes.of(sae).values():
        scored(control.trace)


def test_a_score_tells_dtype_and_batch_size(gemma: Small) -> None:
    sae = gemma.sae(planted.identity(), hook="blocks.1.hook_resid_post", context_size=64)
    prop = Property("x.y", 1, "lower", "nat", tolerance=0.1)
    ones = np.ones(4)
    estimate: Estimate = ratio_of_sums(ones, ones, purpose="x")
    score = gemma.run.recorder.record(Asked(prop, sae.spec, {}), estimate, 1.0)
    assert (score.dtype, score.batch_size, score.revisions) == ("float32", MOST, {})
