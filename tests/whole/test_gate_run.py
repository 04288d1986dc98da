"""The gate as a person meets it: one line on the right test, words apart, exit codes, also on workers and in junit."""

import datetime
import json
import shutil
from typing import Any
from xml.etree import ElementTree

import pytest
from project import SAES, _ran, once, project, run  # noqa: F401

from saebench.record.store import Store

SAME = '''
class Noisy(Shrunk):
    """Shrinks each document a little differently, by a seed."""
    def decode(self, latents):
        jitter = torch.sin(latents.sum(-1, keepdim=True) * 1e3 + self.factor * 1e3)
        return latents * (0.9 + 0.02 * jitter)

def noisy_a(): return Noisy(1.0)
def noisy_b(): return Noisy(2.0)
def broken(): return NaN()
'''
LINE = (
    "reconstruction.fvu[[]my_saes:more_shrunk] = 0.*, baseline 0.*: worse by *, allowed 0.010, paired over 16 documents"
)


@pytest.fixture
def gated(project: Any, once: Any) -> Any:  # noqa: F811
    """A project with a baseline."""
    project.makepyfile(my_saes=SAES + SAME)
    base = once("baseline of the gate", sae="my_saes:shrunk", file="kept.jsonl")
    assert base.result.ret == 0
    shutil.copy(base.path / "kept.jsonl", project.path / "base.jsonl")
    shutil.copytree(base.path / "kept.items", project.path / "base.items")
    return project


def settle(gated: Any, text: str) -> None:
    (gated.path / "pyproject.toml").write_text(text)


def acknowledged(until: datetime.date) -> str:
    entries = [
        f'[[tool.saebench.acknowledged]]\nscore = "{name}[my_saes:*]"\nreason = "half of the tokens"\nuntil = {until}\n'
        for name in ("reconstruction.fvu", "reconstruction.cosine")
    ]
    return "\n".join(entries)


def test_a_gate_that_passes_says_how_each_score_stands(gated: Any) -> None:
    result = run(gated, "--sae-baseline", "base.jsonl", sae="my_saes:identity", file="a.jsonl")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*test_fvu*0.000 ±0.000  l0 *  better*", "saebench: gate: * better*"])


def test_two_saes_that_differ_by_noise_alone_pass(gated: Any) -> None:
    assert run(gated, sae="my_saes:noisy_a", file="n.jsonl").ret == 0
    result = run(gated, "--sae-baseline", "n.jsonl", sae="my_saes:noisy_b", file="b.jsonl")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["saebench: gate: 3 ok"])


def test_a_gate_that_fails_is_one_line_on_the_right_test_also_on_workers_and_in_junit(gated: Any) -> None:
    arguments = ("--sae-baseline", "base.jsonl", "-n", "2", "--junitxml", "junit.xml")
    result = run(gated, *arguments, sae="my_saes:more_shrunk", file="b.jsonl")
    assert result.ret == 1
    result.stdout.fnmatch_lines([LINE, "saebench: gate: 1 ok, 2 worse"])
    assert "Traceback" not in result.stdout.str()
    cases = ElementTree.parse(gated.path / "junit.xml").getroot().iter("testcase")
    failed = {case.get("name"): case.find("failure") for case in cases}
    assert {str(name).partition("[")[0] for name, failure in failed.items() if failure is not None} == {"test_fvu", "test_cosine"}  # fmt: skip
    messages = [str(failure.get("message")) for failure in failed.values() if failure is not None]
    assert any(message.startswith("Failed: reconstruction.fvu[my_saes:more_shrunk] = ") for message in messages)


def test_an_acknowledged_regression_passes_with_its_reason_until_it_expires(gated: Any) -> None:
    today = datetime.datetime.now(datetime.UTC).date()
    settle(gated, acknowledged(today))
    known = run(gated, "--sae-baseline", "base.jsonl", sae="my_saes:more_shrunk", file="b.jsonl")
    assert known.ret == 0
    known.stdout.fnmatch_lines(
        [f"*test_fvu*worse by*acknowledged until {today}: half of the tokens*", "saebench: gate: 1 ok, 2 acknowledged"]
    )
    settle(gated, acknowledged(today - datetime.timedelta(days=2)))
    over = run(gated, "--sae-baseline", "base.jsonl", sae="my_saes:more_shrunk", file="b.jsonl")
    assert over.ret == 1
    over.stdout.fnmatch_lines(["reconstruction.fvu*worse by*half of the tokens, which is over"])


def test_a_project_may_allow_more_than_the_suite(gated: Any) -> None:
    settle(gated, '[tool.saebench.tolerances]\n"reconstruction.*" = 0.5\n')
    assert run(gated, "--sae-baseline", "base.jsonl", sae="my_saes:more_shrunk", file="b.jsonl").ret == 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[tool.saebench]\ntolerance = {}", "Did you mean 'tolerances'?"),
        ('[tool.saebench.tolerances]\n"reconstruction.fuv" = 1', "Did you mean 'reconstruction.fvu'?"),
        ("[tool.saebench", "is not TOML"),
    ],
)
def test_wrong_settings_end_the_run_before_anything_is_loaded(gated: Any, text: str, told: str) -> None:
    if text != "[tool.saebench":  # which pytest itself refuses
        settle(gated, text)
        result = run(gated, sae="my_saes:not_an_sae", file="c.jsonl")
        assert result.ret == 4
        assert told in result.stderr.str() + result.stdout.str()


def edit(gated: Any, **changes: Any) -> None:
    """Write another baseline."""
    lines = (gated.path / "base.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    (gated.path / "other.jsonl").write_text("".join(json.dumps(row | changes) + "\n" for row in rows))


def test_incomparable_scores_do_not_fail_but_nothing_compared_is_not_green(gated: Any) -> None:
    edit(gated, version=7)
    result = run(gated, "--sae-baseline", "other.jsonl", sae="my_saes:more_shrunk", file="b.jsonl")
    assert result.ret == 1
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines([
        "saebench: incomparable reconstruction.fvu[[]my_saes:more_shrunk]: the baseline has another version (7, here 1)",
        "saebench: gate: 3 incomparable: nothing could be compared with the baseline",
    ])  # fmt: skip


def test_without_the_baselines_items_the_comparison_is_unpaired_and_says_so(gated: Any) -> None:
    edit(gated)
    result = run(gated, "--sae-baseline", "other.jsonl", sae="my_saes:more_shrunk", file="b.jsonl")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["reconstruction.fvu*allowed 0.010, unpaired"])


def test_what_the_baseline_has_and_a_broken_sae_has_not_is_told(gated: Any) -> None:
    result = run(gated, "--sae-baseline", "base.jsonl", sae="my_saes:broken", file="b.jsonl")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["saebench: unscored reconstruction.fvu*, for which the baseline has 0.*"])


def test_demands(gated: Any) -> None:
    met = run(gated, "--sae-min", "reconstruction.fvu<=.5", "--sae-min", "reconstruction.cosine>.9", file="m.jsonl")
    assert met.ret == 0
    missed = run(gated, "--sae-min", "reconstruction.fvu<=.001", sae="my_saes:more_shrunk", file="b.jsonl")
    assert missed.ret == 1
    missed.stdout.fnmatch_lines(
        ["reconstruction.fvu[[]my_saes:more_shrunk] = 0.* [[]*], and --sae-min demands *<=0.001"]
    )
    unscored = run(gated, "--sae-min", "reconstruction.fvu<=.5", sae="my_saes:broken", file="b.jsonl")
    assert unscored.ret == 1
    unscored.stdout.fnmatch_lines(["reconstruction.fvu[[]my_saes:broken] unscored, and --sae-min demands *"])


@pytest.mark.parametrize(
    ("demand", "told"),
    [("reconstruction.fuv<=.5", "Did you mean 'reconstruction.fvu'?"), ("reconstruction.fvu", "expected a property")],
)
def test_a_senseless_demand_is_exit_code_4(gated: Any, demand: str, told: str) -> None:
    result = run(gated, "--sae-min", demand, file="b.jsonl")
    assert result.ret == 4
    assert told in result.stderr.str() + result.stdout.str()


def test_repetitions_of_random_stages_are_scored_apart_and_not_gated(gated: Any) -> None:
    result = run(gated, "--sae-seeds", "2", "--sae-baseline", "base.jsonl", sae="my_saes:shrunk", file="r.jsonl")
    assert result.ret == 0
    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines(["*value*sampling sd*reseed sd*repetitions*", "saebench: gate: 3 ok"])
    scores = Store(gated.path / "r.jsonl").newest().values()
    assert sorted((score.property, score.seed) for score in scores) == sorted(
        (f"reconstruction.{name}", seed) for name in ("fvu", "cosine", "l0") for seed in (0, 1)
    )
    again = run(gated, "--sae-seeds", "2", sae="my_saes:shrunk", file="r.jsonl")
    again.stdout.fnmatch_lines(["saebench: 6 scores expected, 6 recorded (6 from earlier runs)*"])


def test_no_repetitions_is_exit_code_4(gated: Any) -> None:
    result = run(gated, "--sae-seeds", "0", file="b.jsonl")
    assert result.ret == 4
    assert "expected 1 or more repetitions" in result.stderr.str() + result.stdout.str()


@pytest.mark.parametrize(
    ("context", "told"),
    [
        ("3", "--sae-context 3: expected 16 or more tokens"),
        ("257", "--sae-context 257: organism has 256 positions"),
    ],
)
def test_more_positions_than_the_model_has_are_exit_code_4(gated: Any, context: str, told: str) -> None:
    result = run(gated, "--sae-context", context, file="b.jsonl")
    assert result.ret == 4
    assert told in result.stderr.str() + result.stdout.str()


def test_documents_are_read_as_far_as_is_asked_for(gated: Any) -> None:
    assert run(gated, "--sae-context", "40", file="short.jsonl").ret == 0
    assert {score.corpus.endswith("x40") for score in Store(gated.path / "short.jsonl").read()} == {True}
