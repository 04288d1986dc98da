"""Files for clusters, as far as a machine without one can tell: what their tasks ask for together is every SAE once."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml
from paths import ROOT

from saebench.catalogue.registry import resolve_all
from saebench.cli import main

EXAMPLES, SAES = ROOT / "examples", "toy/flat/*"
STAND_IN = f"""#!{sys.executable}
import subprocess, sys
given = sys.argv[1:]
place = given.index("--pyargs")
given[place : place + 2] = [{str(ROOT / "suites/test_throughput.py")!r}]
done = subprocess.run([sys.executable, "-m", "pytest", *given, "--collect-only", "-q", "-p", "no:cacheprovider"])
sys.exit(done.returncode)
"""
"""Of pytest: it collects what it is asked for, from the suites of the sources."""


@pytest.fixture
def collected(tmp_path: Path) -> Callable[..., list[str]]:
    """SAEs that a script's run would measure."""
    program = tmp_path / "bin" / "pytest"
    program.parent.mkdir()
    program.write_text(STAND_IN)
    program.chmod(0o755)

    def run(*command: str, **variables: str) -> list[str]:
        path = f"{program.parent}:{os.environ['PATH']}"
        own = {**os.environ, "PYTHONPATH": str(ROOT), "SAES": SAES, "RESULTS": str(tmp_path / "results"), "PATH": path}
        done = subprocess.run(
            command, env={**own, **variables}, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        lines = [line for line in done.stdout.splitlines() if "::test_memory[" in line]
        return [line.partition("[")[2].removesuffix("]") for line in lines]

    return run


def check_each_once(parts: list[list[str]]) -> None:
    assert sorted(chain(*parts)) == sorted(spec.name for spec in resolve_all([SAES]))
    assert all(parts)


def test_tasks_of_a_slurm_array(collected: Callable[..., list[str]]) -> None:
    script = str(EXAMPLES / "slurm_array.sh")
    subprocess.run(["bash", "-n", script], check=True)
    tasks = [{"SLURM_ARRAY_TASK_ID": str(task), "SLURM_ARRAY_TASK_COUNT": "3"} for task in (1, 2, 3)]
    check_each_once([collected("bash", script, **task) for task in tasks])


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((EXAMPLES / name).read_text("utf-8"))
    return found


def test_pods_of_a_kubernetes_job(collected: Callable[..., list[str]]) -> None:
    job = read("kubernetes_indexed_job.yaml")["spec"]
    (container,) = job["template"]["spec"]["containers"]
    variables = {one["name"]: one["value"] for one in container["env"]}
    assert variables["SHARDS"] == str(job["completions"])
    command = [*container["command"], *container["args"]]
    pods = [{"JOB_COMPLETION_INDEX": str(pod), "SHARDS": "2"} for pod in (0, 1)]
    check_each_once([collected(*command, **pod) for pod in pods])


def test_a_ray_cluster_is_what_rays_schema_takes() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    spec = find_spec("ray")
    if spec is None or spec.origin is None:
        pytest.skip("Ray is not installed")
    schema = json.loads((Path(spec.origin).parent / "autoscaler" / "ray-schema.json").read_text("utf-8"))
    jsonschema.validate(read("ray_cluster.yaml"), schema)


def test_the_command_for_a_ray_cluster_plans(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = [line for line in (EXAMPLES / "ray_cluster.yaml").read_text("utf-8").splitlines() if "ray exec" in line]
    command = shlex.split(shlex.split(line.removeprefix("#"))[-1])
    assert command[:2] == ["saebench", "sweep"]
    command[command.index("--to") + 1] = str(tmp_path / "to")
    assert main([*command[1:], "--plan"]) == 0
    assert capsys.readouterr().out.startswith("SAEs: ")
