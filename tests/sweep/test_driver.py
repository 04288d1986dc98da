"""A sweep with a cluster that measures nothing: whatever is killed, a second sweep ends with every score once."""

from pathlib import Path
from random import Random
from typing import Any

import pytest
from filelock import FileLock
from stand_in_cluster import TESTS, Killed, StandInCluster, value_of

from saebench.catalogue.registry import resolve_all
from saebench.catalogue.spec import SAESpec
from saebench.record.store import Store
from saebench.sweep import joining
from saebench.sweep import sweep as module
from saebench.sweep.asked import Asked
from saebench.sweep.sweep import Request, sweep

SAES = "toy/absorption/batchtopk-*"


@pytest.fixture(autouse=True)
def no_pytest_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    def collected(_: Asked, specs: list[SAESpec]) -> dict[str, list[str]]:
        return {str(spec.model): list(TESTS) for spec in specs}

    monkeypatch.setattr(module, "collected", collected)
    monkeypatch.setattr(module, "check_installed", lambda: None)


def swept(folder: Path, monkeypatch: pytest.MonkeyPatch, **how: Any) -> tuple[int, StandInCluster, list[str]]:
    """The exit code, the cluster, and what was said."""
    cluster, said = StandInCluster(**how), list[str]()
    monkeypatch.setattr(module, "Cluster", lambda *_: cluster)
    code = sweep(Request([SAES], Asked(), folder, workers=3), said.append)
    return code, cluster, said


def check_complete(folder: Path) -> None:
    store = Store(folder / "scores.jsonl")
    scores = store.read()
    expected = {(spec.name, test) for spec in resolve_all([SAES]) for test in TESTS}
    assert sorted((score.sae, score.property) for score in scores) == sorted(expected)
    for score in scores:
        assert score.value == value_of(score.sae, score.property)
        assert store.load_items(score)["x"].tolist() == [score.value]
    assert [path.name for path in (folder / "jobs").iterdir() if path.suffix != ".log"] == ["done.txt"]
    assert {path.stem for path in store.items_dir.iterdir()} == {score.items for score in scores}


@pytest.mark.parametrize("shared", [True, False])
def test_all_is_measured_and_a_second_time_nothing(tmp_path: Path, monkeypatch: Any, shared: bool) -> None:
    code, cluster, said = swept(tmp_path, monkeypatch, shared=shared)
    assert code == 0
    assert cluster.measured == len(TESTS) * len(resolve_all([SAES]))
    check_complete(tmp_path)
    code, cluster, said = swept(tmp_path, monkeypatch)
    assert (code, cluster.measured) == (0, 0)
    assert said[0] == f"nothing to do: {len(resolve_all([SAES]))} SAEs are there already"


@pytest.mark.parametrize("shared", [True, False])
def test_a_job_that_is_killed_goes_on_elsewhere(tmp_path: Path, monkeypatch: Any, shared: bool) -> None:
    code, cluster, said = swept(tmp_path, monkeypatch, kills=0.1, shared=shared, chance=Random(3))
    assert "node-1" in cluster.avoided
    for _ in range(20):
        if code == 0:
            break
        assert any("killed" in line for line in said)
        code, cluster, said = swept(tmp_path, monkeypatch, kills=0.1, shared=shared)
    check_complete(tmp_path)


@pytest.mark.parametrize("seed", range(6))
def test_a_driver_that_is_killed_anywhere_loses_nothing(tmp_path: Path, monkeypatch: Any, seed: int) -> None:
    chance, merge, remove = Random(seed), joining.merge, joining.remove

    def perhaps() -> None:
        if chance.random() < 0.15:
            raise Killed

    def around(what: Any) -> Any:
        def killed(*given: Any) -> Any:
            perhaps()
            found = what(*given)
            perhaps()
            return found

        return killed

    for _ in range(5):
        with monkeypatch.context() as patch:
            patch.setattr(joining, "merge", around(merge))
            patch.setattr(joining, "remove", around(remove))
            how = {"kills": 0.06, "shared": chance.random() < 0.5, "chance": chance, "before": perhaps}
            try:
                swept(tmp_path, patch, **how)
            except Killed:
                continue
    assert swept(tmp_path, monkeypatch)[0] == 0
    check_complete(tmp_path)


def test_one_that_changed_is_asked_again(tmp_path: Path, monkeypatch: Any) -> None:
    swept(tmp_path, monkeypatch)
    monkeypatch.setattr(StandInCluster, "_ran", lambda *_: pytest.fail("a job was run"))
    assert sweep(Request([SAES], Asked(), tmp_path), list[str]().append) == 0
    with pytest.raises(pytest.fail.Exception, match="a job was run"):
        sweep(Request([SAES], Asked(options=(("budget", "smoke"),)), tmp_path), list[str]().append)


def test_a_second_sweep_in_one_folder_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    with FileLock(tmp_path / "sweep.lock"), pytest.raises(ValueError, match="another sweep is writing there"):
        swept(tmp_path, monkeypatch)


def test_a_plan_does_nothing(tmp_path: Path) -> None:
    said = list[str]()
    assert sweep(Request([SAES, "gemmascope/2b/layer-12/16k/*"], Asked(), tmp_path / "to", plan=True), said.append) == 0
    assert said[0].startswith("SAEs: ")
    assert "hooks: 2, jobs: " in said[0]
    assert said[1].startswith("to be downloaded, where a machine lacks it: ")
    assert "the model google/gemma-2-2b" in said[1]
    assert said[2].startswith("about ")
    assert not (tmp_path / "to").exists()
