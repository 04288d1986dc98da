"""What the documents say is what the program does: the site builds, its links lead somewhere, every command is accounted for."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

from saebench.catalogue.suites import suite_questions
from saebench.cli import main
from saebench.record.properties import from_marker

SUITES = sorted((ROOT / "suites").glob("test_*.py"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LONGEST_README = 200
PRINTED = (
    "saebench ls", "saebench ls 'gemmascope/2b/layer-12/*'", "saebench table leaderboards/organism.jsonl",
    "saebench show organism/topk-16 --scores leaderboards/organism.jsonl",
)  # fmt: skip
"""Commands that are run as they stand."""
COLLECTED = (
    "pytest suites/ --sae smollm2/topk-32 --sae-budget smoke", "pytest suites/ --sae gemmascope",
    "pytest suites/ --sae 'gemmascope/2b/layer-12/*' -n 2", "pytest suites/ --sae smollm2/topk-32 --sae-context 1024",
    "pytest suites/ --sae-arch examples.tied_topk:TiedTopK -n 2",
    "pytest suites/ --sae-arch examples.tied_topk:TiedTopK --sae-budget quick -n 2",
    "pytest suites/ --sae-arch examples.tied_topk:TiedTopK@toy -n 2",
    "pytest suites/ --sae-arch examples.tied_topk:TiedTopK@toy", "pytest suites/test_known_truth.py --sae toy",
    "pytest --pyargs saebench.suites --sae smollm2/topk-32 --sae-budget smoke",
)  # fmt: skip
"""Runs of which the tests are collected: names and options are right, and nothing is computed."""
ELSEWHERE = {
    "make bench": "what .ci/run does, with fewer SAEs", "make test": "what .ci/run does",
    "make real": "downloads; make pinned, which .ci/run does, is its first half",
    "pip install": "tests/whole/test_wheel.py installs the wheel into a clean environment",
    "saebench fetch": "downloads; make pinned does it in .ci/run, and tests/hub against a hub of its own",
    "saebench doctor gemmascope": "tests/commands/test_doctor.py", "my_saes:MySAE": "tests/session/test_plugin.py and tests/whole/test_wheel.py",
    "suites/test_explanations.py": "tests/judges and tests/metrics/test_explanations.py, with judges of their own",
    "saebench compare": "tests/commands/test_cli.py", "saebench publish": "tests/commands; `publish --check` in .ci/run",
    "saebench merge": "tests/exchange", "saebench verify": "tests/exchange", "saebench export": "tests/exchange",
    "saebench sweep": "tests/sweep and tests/whole/test_job_arrays.py", "--sae-shard": "tests/whole/test_job_arrays.py",
    "saebench table --to": "tests/commands/test_frame.py", "./my-sae": "tests/subject/test_texts.py and tests/hub",
}  # fmt: skip
"""Commands, by what is in them, that are run elsewhere, or not, and why."""


def commands() -> list[str]:
    found = []
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
            lines = (re.sub(r"\s+#.*", "", line).strip() for line in block.splitlines())
            found += [line for line in lines if line and not line.startswith("#")]
    return list(dict.fromkeys(found))


def test_every_command_of_readme_and_docs_is_run_or_it_is_said_why_not():
    lost = [
        line for line in commands()
        if line not in (*PRINTED, *COLLECTED) and not any(part in line for part in ELSEWHERE)
    ]  # fmt: skip
    assert lost == []
    assert set(PRINTED) | set(COLLECTED) <= set(commands())


@pytest.mark.parametrize("command", PRINTED)
def test_commands_that_print_something_do(command: str, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert main(shlex.split(command)[1:]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 2


@pytest.mark.parametrize("command", COLLECTED)
def test_runs_are_collected(command: str, tmp_path: Path):
    given = [word for word in shlex.split(command)[1:] if word not in ("-n", "2")]
    # Of the sources, the package's own suites lie beside it.
    given = ["suites/" if word == "saebench.suites" else word for word in given if word != "--pyargs"]
    scores = ["--sae-scores", str(tmp_path / "scores.jsonl")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *given, *scores, "--collect-only", "-q", "-p", "no:cacheprovider"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("test_known_truth.py" if "toy" in command else "test_reconstruction.py::test_fvu") in done.stdout


def test_the_site_builds_without_a_broken_link(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "site" / "reference" / "properties.html").read_text("utf-8")
    for suite in SUITES:
        for name in re.findall(r'mark\.score\("([\w.]+)"', suite.read_text()):
            assert name in text, f"{name} of {suite.name} is not in the reference"
    options = (tmp_path / "site" / "reference" / "options.html").read_text("utf-8")
    assert set(re.findall(r"--sae-[a-z]+", (ROOT / "saebench/session/options.py").read_text())) <= set(
        re.findall(r"--sae-[a-z]+", options)
    )


def test_links_of_the_readme_lead_somewhere_and_it_is_short():
    text = (ROOT / "README.md").read_text("utf-8")
    generated = {f"docs/reference/{name}.md" for name in ("options", "properties", "formats", "families", "commands")}
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (ROOT / target).exists() or target in generated, target
    assert len(text.splitlines()) < LONGEST_README


def test_options_that_documents_name_are_there(pytester):
    help_text = pytester.runpytest_inprocess("--help", "-p", "saebench.plugin").stdout.str()
    known = set(re.findall(r"^\s+(--sae[a-z-]*)", help_text, re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"--sae[a-z-]*", page.read_text("utf-8"))}
    assert named <= known


def test_every_suite_asks_a_question_with_its_paper():
    questions = suite_questions(ROOT / "suites")
    assert set(questions) == {path.stem.removeprefix("test_") for path in SUITES}
    assert all("?" in question for question in questions.values())


def test_suite_tests_are_short():
    for suite in SUITES:
        bodies = re.split(r"^def ", suite.read_text(), flags=re.MULTILINE)[1:]
        assert all(len(body.split("@pytest")[0].strip().splitlines()) <= 8 for body in bodies)


def test_a_property_has_one_name_and_one_version():
    names = [n for s in SUITES for n in re.findall(r'mark\.score\("([\w.]+)"', s.read_text())]
    assert len(names) == len(set(names)) > 50
    assert from_marker(("a.b", 1, "lower", "nat"), {}, "here").version == 1
