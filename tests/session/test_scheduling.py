"""Workers get whole SAEs, or whole suites where SAEs are fewer, and share the cores."""

import os
from itertools import chain
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("xdist")

from saebench.session.scheduling import BySAE, share_cores

SUITES = ("suites/test_first_letter.py::test_f1", "suites/test_reconstruction.py::test_fvu")


class Node:
    """A worker that takes what it is given."""

    def __init__(self, number: int) -> None:
        self.gateway = SimpleNamespace(id=f"gw{number}")
        self.shutting_down = False
        self.given: list[int] = []

    def send_runtest_some(self, indices: list[int]) -> None:
        self.given += indices

    def shutdown(self) -> None:
        self.shutting_down = True


def scheduled(saes: list[str], ids: list[str], workers: int = 2) -> list[list[str]]:
    """What each worker was given at the end."""
    option = SimpleNamespace(tx=[f"{workers}*popen"], loadscopereorder=True, maxschedchunk=None)
    config: Any = SimpleNamespace(option=option, getvalue=lambda name: getattr(option, name))
    scheduler = BySAE(config, None, saes)
    nodes: list[Any] = [Node(number) for number in range(workers)]
    for node in nodes:
        scheduler.add_node(node)
        scheduler.add_node_collection(node, ids)
    scheduler.schedule()
    for turn in range(len(ids)):
        for node in nodes:
            if turn < len(node.given):
                scheduler.mark_test_complete(node, node.given[turn])
    return [[ids[index] for index in node.given] for node in nodes]


def ids_of(*saes: str) -> list[str]:
    return [f"{test}[{sae}{end}]" for sae in saes for test in SUITES for end in ("", "-letters", "-seed1")]


def test_worker_gets_all_tests_of_an_sae() -> None:
    saes = ["a/topk-16", "a/topk-16-wide", "m:Own/l0-8/seed-0", "m:Own/l0-8/seed-1"]
    given = scheduled(saes, ids_of(*saes))
    assert sorted(chain(*given)) == sorted(ids_of(*saes))
    for sae in saes:
        assert sum(set(ids_of(sae)) <= set(each) for each in given) == 1
    assert [len(each) for each in given] == [12, 12]


def test_workers_share_the_suites_of_an_sae_where_there_are_fewer() -> None:
    given = scheduled(["mine"], ids_of("mine"))
    assert [{name.partition("::")[0] for name in each} for each in given] == [
        {"suites/test_first_letter.py"}, {"suites/test_reconstruction.py"}
    ]  # fmt: skip


def test_tests_of_no_sae_are_given_one_by_one() -> None:
    given = scheduled(["mine"], ["test_a.py::test_x", "test_a.py::test_y[3]", *ids_of("mine")])
    assert sorted(chain(*given)) == sorted(["test_a.py::test_x", "test_a.py::test_y[3]", *ids_of("mine")])


@pytest.mark.parametrize("workers", [1, 2, 10_000])
def test_workers_share_the_cores_unless_somebody_said_how(monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    share_cores(workers)
    cores = len(os.sched_getaffinity(0))
    assert int(os.environ["OMP_NUM_THREADS"]) == max(1, cores // workers)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    share_cores(workers)
    assert os.environ["OMP_NUM_THREADS"] == "7"
