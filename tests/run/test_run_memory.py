"""A run over many SAEs: of the first nothing is left when the second is scored, and what is shared does not grow."""

import json
import subprocess

import forks
import pytest
import smaller
from paths import ROOT

from saebench.evidence.memory import Memory
from saebench.record.score import Unscored
from saebench.run.shelf import Shelf

WATCHED = "LoadedSAE Trace Study Detectors Lineup Dictionary Like Control"
CONFTEST = f"""
import gc, json, weakref
from types import SimpleNamespace
import pytest

WATCHED = {WATCHED.split()!r}
SPEC = SimpleNamespace(name="")

class Watch:
    first, alive, counts, now = [], None, {{}}, None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item):
        name = item.callspec.params["sae"].name
        if self.now not in (None, name):
            self.turned()
        self.now = name

    def turned(self):
        gc.collect()
        gc.disable()  # what is frozen is seen only when it is not, and must not be collected for that
        gc.unfreeze()
        everything = gc.get_objects()
        gc.freeze()
        gc.enable()
        # What is read off the zoo's controls serves all SAEs of the place.
        zoo = {{id(v) for o in everything if type(o).__name__ == "Shelf" for v in o.place._found.values()}}
        found = [o for o in everything if type(o).__name__ in WATCHED and type(o).__module__.startswith("saebench")]
        found = [o for o in found if id(o) not in zoo and not getattr(o, "spec", SPEC).name.startswith("organism/")]
        self.counts[self.now] = sorted(type(o).__name__ for o in found)
        if not self.first:
            self.first.extend(map(weakref.ref, found))

    def pytest_runtest_logreport(self, report):
        scored = any(key == "saebench_score" for key, _ in report.user_properties)
        if self.first and scored and self.alive is None:
            gc.collect()
            self.alive = [type(ref()).__name__ for ref in self.first if ref() is not None]

    def pytest_sessionfinish(self, session):
        self.turned()
        with open("watched.json", "w") as file:
            json.dump({{"alive": self.alive, "counts": self.counts}}, file)

def pytest_configure(config):
    config.pluginmanager.register(Watch())
"""
SAES = """
import torch
from safetensors.torch import load_file
from saebench.record.places import fixtures_dir

W = load_file(fixtures_dir() / "organism" / "saes" / "topk-16" / "sae_weights.safetensors")

class TopK:
    context_size = 64
    def __init__(self, k, scale):
        self.k, self.W_dec = k, W["W_dec"].float() * scale
    def encode(self, x):
        read = ((x - W["b_dec"].float()) @ W["W_enc"].float() + W["b_enc"].float()).relu()
        kept = read.topk(self.k, dim=-1)
        return torch.zeros_like(read).scatter(-1, kept.indices, kept.values)
    def decode(self, latents):
        return latents @ self.W_dec + W["b_dec"].float()

def first(): return TopK(5, 1.0)
def second(): return TopK(6, 1.0)
"""


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """All suites of two SAEs, to which no control of the zoo is alike, so that all that is made is made for them."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "my_saes.py").write_text(SAES)
    suites = ROOT / "suites"
    saes = ["--sae", "my_saes:first", "--sae", "my_saes:second", "--sae-budget", "smoke"]
    plugins = ["-p", "smaller", "-p", "conftest"]
    done = subprocess.run(
        [forks.python(), "-m", "pytest", *plugins, str(suites), *saes, "-q", "--rootdir", str(folder)],
        cwd=folder, env=smaller.environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    found: dict[str, object] = json.loads((folder / "watched.json").read_text())
    return found


def test_nothing_of_an_sae_outlives_it(watched: dict[str, object]) -> None:
    assert watched["alive"] == []


def test_the_test_above_sees_what_is_in_memory(watched: dict[str, object]) -> None:
    counts = watched["counts"]
    assert isinstance(counts, dict)
    assert set(counts) == {"my_saes:first", "my_saes:second"}
    assert {"LoadedSAE", "Trace", "Study", "Lineup"} <= set(counts["my_saes:first"])
    assert counts["my_saes:first"] == counts["my_saes:second"]


def test_a_reason_does_not_keep_what_was_in_memory_when_it_was_found() -> None:
    memory = Memory()

    def fail() -> None:
        raise Unscored("for a reason")

    for _ in range(2):
        with pytest.raises(Unscored, match="for a reason"):
            memory.get("key", fail)
    (kept,) = memory._found.values()
    assert kept.__traceback__ is None


def test_a_compartment_is_emptied_when_what_it_is_about_changes() -> None:
    shelf = Shelf()
    for model, place, kept in (
        ("m", "p", (0, 0)), ("m", "p", (0, 0)), ("m", "q", (0, 1)), ("n", "q", (2, 2)), ("n", "q", (2, 2)),
    ):  # fmt: skip
        shelf.turn_to(model=model, place=place)
        found = shelf.model.get("key", lambda kept=kept: kept[0]), shelf.place.get("key", lambda kept=kept: kept[1])
        assert found == kept
