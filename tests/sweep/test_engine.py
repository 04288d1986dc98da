"""How many jobs run at once on which cores and GPUs, and how a run ends with the process that asked for it."""

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from saebench.sweep import engine
from saebench.sweep.engine import Room, check_installed, check_reachable, room


@pytest.mark.parametrize(
    ("count", "gpus", "least", "workers", "share", "found"),
    [
        (8, 0, 8, None, None, Room(4, 2, 0)), (8, 0, 8, 2, None, Room(2, 4, 0)), (1, 0, 1, None, None, Room(1, 1, 0)),
        (64, 8, 16, None, None, Room(8, 8, 1)), (64, 8, 16, None, 0.5, Room(16, 4, 0.5)), (64, 8, 4, None, 2, Room(4, 4, 2)),
        (64, 8, 16, 3, 0, Room(3, 16, 0)), (4, 1, 4, None, 0.1, Room(10, 1, 0.1)),
    ],
)  # fmt: skip
def test_jobs_share_cores_and_gpus(
    count: int, gpus: float, least: int, workers: int | None, share: float | None, found: Room
) -> None:
    assert room(count, gpus, least, workers=workers, gpus_per_worker=share) == replace(found, threads=found.cores)


def test_more_gpus_than_there_are_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^--gpus-per-worker 2: there are 1 GPUs$"):
        room(8, 1, 8, workers=None, gpus_per_worker=2)


def test_without_ray_one_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"pip install 'pytest-saebench\[ray\]'"):
        check_installed()


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_an_address_at_which_nobody_listens_is_refused_at_once(form: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = form.format(server.getsockname()[1])
        check_reachable(address)
    with pytest.raises(ValueError, match=rf"^--ray {address}: no cluster answers there: .*refused$"):
        check_reachable(address)


@pytest.mark.parametrize("address", [None, "auto"])
def test_an_address_that_is_a_word_is_left_to_ray(address: str | None) -> None:
    check_reachable(address)


def test_an_address_without_a_port_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^--ray head:gcs: expected auto, HOST:PORT or ray://HOST:PORT$"):
        check_reachable("head:gcs")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends what a killed process has begun")
def test_a_run_ends_with_the_process_that_asked_for_it(tmp_path: Path) -> None:
    code = (
        "import os, subprocess, sys; subprocess.run([sys.executable, '-m', 'saebench.sweep.tied', str(os.getpid()),"
        f" sys.executable, '-c', \"import os, time; open('{tmp_path}/pid', 'w').write(str(os.getpid()) + '.'); time.sleep(60)\"])"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as parent:
        while not (tmp_path / "pid").is_file() or not (tmp_path / "pid").read_text().endswith("."):
            time.sleep(0.02)
        pid = int((tmp_path / "pid").read_text()[:-1])
        assert psutil.pid_exists(pid)
        parent.send_signal(signal.SIGKILL)
    for _ in range(100):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("it went on")
