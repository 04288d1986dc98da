"""A job in a process of its own, in the driver's folder or where it is not seen; measuring is made up."""

import os
from pathlib import Path

import pytest
from factories import make_sae_folder
from paths import ROOT

from saebench.catalogue.registry import resolve
from saebench.catalogue.spec import SAESpec
from saebench.record.store import Store
from saebench.sweep.asked import Asked, fingerprint
from saebench.sweep.packing import pack, unpack
from saebench.sweep.planning import Job
from saebench.sweep.worker import Outcome, Task, work

SAES = ("toy/flat/batchtopk-2-192", "toy/flat/topk-2-192")
SUITE = """
import os, pytest
from made_up_run import made_up, sae

@pytest.mark.score("made_up.value", 1, "neither", "1")
@pytest.mark.parametrize("number", range(3))
def test_value(sae, made_up, record, number):
    if number == 1 and os.path.exists("stop-" + os.path.basename(sae)):
        os.remove("stop-" + os.path.basename(sae))
        os.kill(os.getpid(), 9)
    record(made_up)
"""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    paths = [str(ROOT), str(ROOT / "benchmarks"), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p made_up_run")
    (tmp_path / "test_made_up.py").write_text(SUITE)
    (tmp_path / "jobs").mkdir()
    return Asked((str(tmp_path / "test_made_up.py"),), (("budget", "smoke"), ("device", "cpu")))


def ran(asked: Asked, folder: Path, token: str, begun: bytes = b"", saes: tuple[str, ...] = SAES) -> Outcome:
    job = Job("j-0001", "toy:flat", "h", saes, 1.0)
    return work(Task(job, asked, folder / "jobs", token, 1, begun, str(folder)))


def test_in_a_folder_that_it_sees_a_job_leaves_its_scores_there(asked: Asked, tmp_path: Path) -> None:
    (tmp_path / "jobs" / "token").touch()
    outcome = ran(asked, tmp_path, "token")
    assert (outcome.code, outcome.sentence, outcome.packed, outcome.again) == (0, "", b"", False)
    assert [(one.sae, one.scored, one.failed) for one in outcome.results] == [
        (sae, True, "") for sae in SAES for _ in "123"
    ]
    store = Store(tmp_path / "jobs" / "j-0001.jsonl")
    assert [score.sae for score in store.read()] == [sae for sae in SAES for _ in "123"]
    assert (tmp_path / "jobs" / "j-0001.log").is_file()


def test_elsewhere_it_sends_them_and_goes_on_with_what_it_is_sent(asked: Asked, tmp_path: Path) -> None:
    (tmp_path / "stop-topk-2-192").touch()
    killed = ran(asked, tmp_path, "no token")
    assert (killed.code, killed.sentence, killed.again) == (-9, "its process was killed by signal 9", True)
    unpack(killed.packed, tmp_path / "half" / "j-0001.jsonl")
    half = Store(tmp_path / "half" / "j-0001.jsonl").read()
    assert len(half) == 4
    whole = ran(asked, tmp_path, "no token", killed.packed)
    assert (whole.code, len(whole.results)) == (0, 6)
    unpack(whole.packed, tmp_path / "j-0001.jsonl")
    store = Store(tmp_path / "j-0001.jsonl")
    assert store.read()[:4] == half  # what was measured is not measured again
    assert all(len(store.load_items(score)["x"]) == 200 for score in store.read())
    assert [path.name for path in (tmp_path / "jobs").iterdir()] == []


def test_what_is_wrong_is_said_with_the_code_of_pytest(asked: Asked, tmp_path: Path) -> None:
    outcome = ran(asked, tmp_path, "no token", saes=("toy/flat/none",))
    assert outcome.code == 4
    assert outcome.sentence.startswith("--sae toy/flat/none: no such SAE.")
    assert not outcome.again
    assert outcome.packed == b"" == pack(tmp_path / "none.jsonl")


def test_an_sae_that_changed_is_another_one(tmp_path: Path) -> None:
    (spec,) = resolve("toy/flat/topk-2-192")
    assert fingerprint("k", spec) == fingerprint("k", resolve("toy/flat/topk-2-192")[0])
    assert fingerprint("k", spec) != fingerprint("l", spec)
    folder = make_sae_folder(tmp_path / "mine")
    before = fingerprint("k", resolve(str(folder))[0])
    assert before is not None
    (folder / "sae_weights.safetensors").touch()
    assert fingerprint("k", resolve(str(folder))[0]) != before
    assert fingerprint("k", SAESpec("m:f", "python", "m:f")) is None


def test_another_suite_or_option_is_another_question_and_another_device_is_not(tmp_path: Path) -> None:
    suite = tmp_path / "test_x.py"
    suite.write_text("a = 1")
    asked = Asked((str(suite),), (("budget", "smoke"), ("device", "cpu")))
    key = asked.key()
    assert Asked((str(suite),), (("budget", "smoke"), ("device", "cuda"))).key() == key
    assert Asked((str(suite),), (("budget", "quick"), ("device", "cpu"))).key() != key
    assert Asked((), asked.options).key() != key
    suite.write_text("a = 2")
    assert asked.key() != key
