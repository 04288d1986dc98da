"""Which tests an SAE of each model has, as pytest itself says it; by which options are checked too."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from saebench.catalogue.spec import SAESpec
from saebench.catalogue.suites import tests as tests_of
from saebench.record.naming import shown
from saebench.record.places import suites_dir
from saebench.sweep.asked import Asked
from saebench.sweep.planning import place_of
from saebench.sweep.results import sae_of


def collected(asked: Asked, specs: Sequence[SAESpec]) -> dict[str, list[str]]:
    """Properties of the tests of an SAE, by its model; a test that no suite of ours has is named by itself.

    Raises ValueError with pytest's own sentence where a suite or an option is wrong.
    """
    examples = {place_of(spec)[0]: spec.name for spec in reversed(specs) if spec.loader != "unreadable"}
    names = sorted(examples.values(), key=len, reverse=True)
    model = {name: each for each, name in examples.items()}
    found: dict[str, list[str]] = {each: [] for each in examples}
    known = {test.rpartition("/")[2]: name for name, nodes in tests_of(suites_dir()).items() for test in nodes}
    for line in _said(asked, names):
        test, bracket, parameters = line.partition("[")
        if bracket and "::" in test and (sae := sae_of(parameters.removesuffix("]"), names)):
            test = test.rpartition("/")[2]
            found[model[sae]].append(known.get(test, test))
    return found


def _said(asked: Asked, saes: Sequence[str]) -> list[str]:
    command = asked.command(sys.executable, saes, Path(".saebench") / "none.jsonl")
    done = subprocess.run([*command, "--collect-only", "-q"], capture_output=True, text=True, check=False)
    if done.returncode == 5:
        return []
    if done.returncode:
        lines = [line for line in (done.stderr + "\n" + done.stdout).splitlines() if line.startswith("ERROR")]
        text = lines[0] if lines else (done.stdout + done.stderr).strip().splitlines()[-1]
        raise ValueError(shown(text.removeprefix("ERROR: ")))
    return done.stdout.splitlines()
