"""What a stored score is known by: all that it depends on, and nothing else. New fields must be put into these tables."""

import ast
import shutil
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import hub_repos
import numpy as np
import pytest
import torch
from factories import make_score
from paths import ROOT

import saebench
from saebench.catalogue.folders import spec_from_folder
from saebench.catalogue.spec import READING, TRAINING, SAESpec
from saebench.making.controls import control_sae
from saebench.making.like import Like
from saebench.record.places import organism_folder
from saebench.record.properties import Property
from saebench.record.score import Score, identity
from saebench.record.store import Store
from saebench.run.options import Options
from saebench.run.recorder import Asked
from saebench.run.run import Run
from saebench.saes.loaders import load_sae
from saebench.stats.statistics import repeated

HOOK = "blocks.1.hook_resid_post"
SPEC = SAESpec(
    "mine/one", "files", "runs/one", digest="a" * 64, format="arrays", hook=HOOK, context_size=64, d_in=16, d_sae=32,
    facts={"l0": 3.0},
)  # fmt: skip
CHANGED: dict[str, Any] = {
    "digest": "b" * 64, "format": "qwen_scope", "release": "some/release", "hook": "blocks.0.hook_resid_post",
    "hook_out": "blocks.1.hook_mlp_out", "context_size": 32, "prepend_bos": False, "normalisation": "layer_norm",
    "architecture": "gated", "control": True, "centred": True, "facts": {"l0": 3.0, "trained_on": "shuffled"},
}  # fmt: skip
"""Scores depend on it: another value is another measurement."""
SAME: dict[str, Any] = {
    "name": "yours/two", "loader": "elsewhere", "location": "elsewhere/two", "repo": "me/saes", "revision": "v2",
    "d_in": 17, "d_sae": 33, "origin": SPEC, "facts": {"l0": 4.0, "note": "moved"},
}  # fmt: skip
"""What the SAE is called and where it lies; shapes, which its digest covers; what its maker noted of it."""
NAMED = {"model": "another/folder", "corpus": "other texts"}
"""What a score names itself: the tests below change them."""


@dataclass
class Setting:
    """A run on a small model and texts of its own."""

    folder: Path

    def run(self, **options: Any) -> Run:
        options = {"device": "cpu", "model": str(self.folder / "model"), "texts": str(self.folder / "t.txt"), **options}
        return Run([], Store(self.folder / "s.jsonl"), Options("smoke", **options))

    def identity(self, spec: SAESpec = SPEC, concepts: str | None = None, **options: Any) -> str:
        from saebench.hub import models, texts

        for known in (models._digest, texts.read_kept):
            known.cache_clear()
        run = self.run(**options)
        run.holder.known = lambda spec: spec  # type: ignore[method-assign]
        asked = Asked(PROPERTY, spec, {"concepts": concepts} if concepts else {}, ("study",) if concepts else ())
        return identity(**run.recorder.identifying(asked))


PROPERTY = Property("some.property", 1, "higher", "unit")


@pytest.fixture
def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setting:
    monkeypatch.setenv("SAEBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "model").mkdir()
    for name, content in hub_repos.gpt2_model(16, 2, heads=2).items():
        (tmp_path / "model" / name).write_bytes(content)
    (tmp_path / "t.txt").write_text("one text of some words\n\nanother text of some words\n")
    return Setting(tmp_path)


def test_every_field_of_a_spec_is_classified() -> None:
    assert {field.name for field in fields(SAESpec)} == {*CHANGED, *SAME, *NAMED}
    assert set(READING) <= set(CHANGED)


@pytest.mark.parametrize("field", CHANGED)
def test_what_a_score_depends_on_makes_another_measurement(setting: Setting, field: str) -> None:
    assert setting.identity(replace(SPEC, **{field: CHANGED[field]})) != setting.identity()


@pytest.mark.parametrize("field", SAME)
def test_what_it_does_not_depend_on_leaves_it_the_same(setting: Setting, field: str) -> None:
    assert setting.identity(replace(SPEC, **{field: SAME[field]})) == setting.identity()


@pytest.mark.parametrize("fact", TRAINING)
def test_facts_by_which_controls_are_found_are_part_of_it(setting: Setting, fact: str) -> None:
    assert setting.identity(replace(SPEC, facts={**SPEC.facts, fact: 0})) != setting.identity()


def test_code_looks_at_no_other_facts() -> None:
    """Where a score may depend on a fact, that fact must be part of its identity."""
    shown = ("listing.py", "overview.py", "control_training.py:l0", "families.py")
    for path in sorted(Path(saebench.__file__).parent.rglob("*.py")):
        for fact in _facts_in(path):
            # What cannot be read has a sentence in their place, and no score.
            if fact not in (*TRAINING, "unreadable") and path.name not in shown and f"{path.name}:{fact}" not in shown:
                # What `--sae-arch` is told is part of its recipe, and with it of its digest.
                assert path.match("run/architectures.py"), f"{path} looks at the fact {fact!r}"


def _facts_in(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Attribute(attr="facts"), attr="get"), args=[ast.Constant(v), *_]
            ):
                found.add(str(v))
            case ast.Subscript(value=ast.Attribute(attr="facts"), slice=ast.Constant(v)):
                found.add(str(v))
    return found


def test_the_check_above_can_fail() -> None:
    assert {"training_architecture"} <= _facts_in(Path(saebench.__file__).parent / "making" / "control_training.py")


def one_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


TOUCHED: dict[str, Callable[[Path], object]] = {
    "weights of the model": lambda folder: one_byte(folder / "model" / "model.safetensors"),
    "its tokenizer": lambda folder: (folder / "model" / "tokenizer.json").write_text("{}"),
    "the texts": lambda folder: (folder / "t.txt").write_text("other words\n\nanother text of some words\n"),
}


@pytest.mark.parametrize("what", TOUCHED)
def test_model_and_texts_are_part_of_it_to_the_byte(setting: Setting, what: str) -> None:
    before = setting.identity()
    TOUCHED[what](setting.folder)
    assert setting.identity() != before


def test_so_are_the_numbers_the_budget_and_the_repetition(setting: Setting) -> None:
    before = setting.identity()
    assert setting.identity(dtype="float32") == before
    assert setting.identity(dtype="bfloat16") != before
    assert setting.identity(concepts="letters") != before
    assert setting.identity(concepts="letters") != setting.identity(concepts="taxonomy")
    with repeated(1):
        assert setting.identity() != before


def test_where_model_and_texts_lie_and_which_device_is_not(setting: Setting) -> None:
    before = setting.identity()
    for old in ("model", "t.txt"):
        (setting.folder / old).rename(setting.folder / f"moved-{old}")
    moved = {"model": str(setting.folder / "moved-model"), "texts": str(setting.folder / "moved-t.txt")}
    assert setting.identity(**moved, dtype="float32", device="cuda") == before


IDENTIFYING = {
    "property": "a.b", "version": 9, "params": {"k": 1}, "sae_digest": "c" * 64, "model_digest": "d" * 64,
    "hook": "blocks.3.hook_resid_pre", "reading": {"context_size": 8}, "corpus": "c@1/2x3", "seed": 2,
}  # fmt: skip
EXPLAINING = {
    "record_schema", "sae", "model", "value", "unscored_reason", "broken", "better", "unit", "ci_low", "ci_high", "n",
    "n_unit", "items", "floor", "ceiling", "controls", "control", "l0", "fvu", "d_sae", "architecture", "facts", "budget",
    "seconds", "cached", "device", "dtype", "batch_size", "revisions", "versions", "commit", "dirty", "created",
}  # fmt: skip


def test_every_field_of_a_score_is_classified() -> None:
    assert set(Score.model_fields) == {*IDENTIFYING, *EXPLAINING}


@pytest.mark.parametrize("field", IDENTIFYING)
def test_fields_of_a_score_that_identify_it(field: str) -> None:
    score = make_score()
    assert score.model_copy(update={field: IDENTIFYING[field]}).identity() != score.identity()


def test_a_score_whose_reading_is_not_known_is_not_taken(setting: Setting) -> None:
    """Scores of earlier versions do not say how their SAE was read."""
    run = setting.run()
    run.holder.known = lambda spec: spec  # type: ignore[method-assign]
    facts = run.recorder.identifying(Asked(PROPERTY, SPEC, {}))
    assert identity(**{**facts, "reading": {}}) != identity(**facts)


def test_a_file_that_is_renamed_or_moved_is_the_same_sae(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "W_enc": rng.normal(size=(4, 8)),
        "W_dec": rng.normal(size=(8, 4)),
        "b_enc": np.zeros(8),
        "b_dec": np.zeros(4),
    }
    (tmp_path / "elsewhere").mkdir()
    for name, factor in (("one.npz", 1), ("elsewhere/two.npz", 1), ("three.npz", 2)):
        np.savez(tmp_path / name, **{key: factor * value.astype(np.float32) for key, value in arrays.items()})
    one, two, three = (
        spec_from_folder(tmp_path / name, "a/b").digest for name in ("one.npz", "elsewhere/two.npz", "three.npz")
    )
    assert one == two != three


def test_the_digest_of_a_published_sae_is_what_it_was() -> None:
    spec = spec_from_folder(organism_folder() / "saes" / "topk-16", "organism/topk-16")
    published = Store(ROOT / "leaderboards" / "organism.jsonl").read()
    assert {score.sae_digest for score in published if score.sae == spec.name} == {spec.digest}


@pytest.mark.parametrize("control", ["permuted_decoder", "best_k", "replaced_50", "noise_50", "random_l0"])
def test_a_control_of_a_folder_that_was_moved_is_the_same_control(tmp_path: Path, control: str) -> None:
    x = torch.randn(256, 192, generator=torch.Generator().manual_seed(0))
    shutil.copytree(organism_folder() / "saes" / "topk-16", tmp_path / "moved")
    digests = set()
    for folder in (organism_folder() / "saes" / "topk-16", tmp_path / "moved"):
        sae = load_sae(spec_from_folder(folder, f"local/{folder.name}"))
        digests.add(control_sae(control, Like(sae, x, 1024, 16.0)).digest)
    assert len(digests) == 1
