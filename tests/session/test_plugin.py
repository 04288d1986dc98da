"""What a person sees who runs the suites: scores, one-sentence errors, exit codes, resumed runs."""
# ruff: noqa: F811 - fixtures are imported, and asked for by name

import json
import subprocess

import forks
import pytest
from paths import ROOT
from project import SAES, SUITE, _ran, once, options, project, run  # noqa: F401

from saebench.record.store import Store


def scores_in(path):
    return {score.property: score.value for score in Store(path).newest().values()}


def values(project, file="s.jsonl"):
    return scores_in(project.path / file)


def test_a_custom_sae_with_encode_and_decode_is_scored(project):
    result = run(project)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*test_fvu*0.000 ±0.000*l0 *", "saebench: 3 scores expected, 3 recorded *"])
    assert values(project)["reconstruction.fvu"] == pytest.approx(0, abs=1e-9)
    assert values(project)["reconstruction.cosine"] == pytest.approx(1)


def test_nan_is_unscored_with_its_reason_and_not_green(project):
    result = run(project, sae="my_saes:nan")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["*unscored*: decode returned * NaN or infinite*", "saebench: * 0 recorded * 3 unscored*"]
    )
    assert "Traceback" not in result.stdout.str()
    again = run(project, sae="my_saes:nan")
    assert again.ret == 1


def test_what_an_object_lacks_leaves_a_property_unscored_and_a_run_of_nothing_is_not_green(project):
    result = run(project, sae="my_saes:encode_only")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*unscored*: the SAE has neither decode nor W_dec*"])


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("organsim", "*--sae organsim: no such SAE. Did you mean 'organism'?*"),
        ("organism/topk-17", "*Did you mean 'organism/topk-1*"),
        ("./nowhere", "*./nowhere*"),
        ("no_such_package:sae", "*no_such_package*"),
    ],
)
def test_an_unknown_name_is_one_sentence_and_exit_code_4(project, name, sentence):
    result = run(project, sae=name)
    assert result.ret == 4
    result.stderr.fnmatch_lines([sentence])
    assert "Traceback" not in result.stderr.str() + result.stdout.str()


@pytest.mark.parametrize("name", ["my_saes:not_an_sae", "my_saes:missing"])
def test_an_object_that_cannot_be_loaded_is_one_sentence_and_exit_code_4(project, name):
    result = run(project, sae=name)
    assert result.ret == 4
    result.stdout.fnmatch_lines([f"saebench: {name}*", "saebench: 3 scores expected, 0 recorded*"])
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def of_sae(file, sae):
    scores = [score for score in Store(file).read() if score.sae == sae]
    return {score.property: (score.value, score.ci_low, score.ci_high) for score in scores}


BAD = ("my_saes:not_an_sae", "my_saes:missing", "my_saes:leaves")


@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
@pytest.mark.parametrize("bad", BAD)
def test_an_sae_that_cannot_be_read_fails_its_own_tests_and_all_others_run(once, bad, workers):
    """All of them between two good ones, whose scores are those of a run without them."""
    alone = once("good ones alone", "--sae", "my_saes:shrunk", file="alone.jsonl")
    more = [argument for sae in (*BAD, "my_saes:shrunk") for argument in ("--sae", sae)]
    ran = once(f"bad ones between good ones {workers}", *more, *workers)
    assert ran.result.ret == 1
    ran.result.assert_outcomes(passed=6, failed=3 * len(BAD))
    assert sum(line.startswith("FAILED ") and f"[{bad}]" in line for line in ran.result.outlines) == 3
    assert ran.said.count(f"saebench: {bad}") == 1
    assert "Traceback" not in ran.said
    assert "INTERNALERROR" not in ran.said
    for sae in ("my_saes:identity", "my_saes:shrunk"):
        assert of_sae(ran.path / "s.jsonl", sae) == of_sae(alone.path / "alone.jsonl", sae) != {}


SKIPPED = """
import pytest

@pytest.mark.score("reconstruction.fvu", 1, "lower", "fraction")
def test_fvu(trace, record):
    pytest.OUTCOME("not today")
"""


@pytest.mark.parametrize("outcome", ["skip", "xfail"])
def test_a_test_that_leaves_without_a_score_fails(project, outcome):
    (project.path / "suites" / "test_small.py").write_text(SKIPPED.replace("OUTCOME", outcome))
    result = run(project)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["*recorded no score (*: not today): a property that cannot be evaluated raises Unscored"]
    )


ENDS = """
import pathlib, pytest
from saebench.metrics import reconstruction

@pytest.mark.parametrize("number", range(3))
@pytest.mark.score("reconstruction.fvu", 1, "lower", "fraction")
def test_fvu(trace, record, number):
    folder = pathlib.Path("scores")
    if not (folder / "s.jsonl").is_dir():
        (folder / "s.jsonl").unlink(missing_ok=True)
        (folder / "s.jsonl").mkdir(parents=True)
    record(reconstruction.fvu(trace))
"""


@pytest.mark.parametrize(("workers", "code"), [([], 4), (["-n", "2"], 2)])
def test_where_scores_cannot_be_kept_the_run_ends_with_a_sentence(project, workers, code):
    (project.path / "suites" / "test_small.py").write_text(ENDS)
    result = run(project, *workers, file="scores/s.jsonl")
    assert result.ret == code
    said = result.stdout.str() + result.stderr.str()
    assert "s.jsonl is a folder, and a scores file is a file" in said
    assert "INTERNALERROR" not in said
    assert "Traceback" not in said


HALF = ("--sae-dtype", "bfloat16")


def half_on_workers(once):
    """Its equal in float32 is a run of bad ones between good ones."""
    return once("half precision on workers", *HALF, "-n", "2", sae="my_saes:shrunk", file="n.jsonl")


def test_numbers_of_the_model_are_said_and_can_be_chosen(project, once):
    result = run(project)
    result.stdout.fnmatch_lines(["model: organism in float32 on cpu"])
    on_workers = half_on_workers(once)
    here = run(project, *HALF, file="half.jsonl")
    for result, file in ((on_workers.result, on_workers.path / "n.jsonl"), (here, project.path / "half.jsonl")):
        assert result.ret == 0
        result.stdout.fnmatch_lines(["model: organism in bfloat16 on cpu"])
        assert {score.dtype for score in Store(file).read()} == {"bfloat16"}


def test_a_second_run_computes_nothing_and_shows_the_same(project):
    run(project)
    before = (project.path / "s.jsonl").read_text()
    result = run(project)
    result.stdout.fnmatch_lines(
        ["*test_fvu*(stored)*", "saebench: 3 scores expected, 3 recorded (3 from earlier runs)*"]
    )
    assert (project.path / "s.jsonl").read_text() == before
    assert (project.path / "computed.txt").read_text().split() == ["fvu", "cosine", "l0"]


def test_fresh_computes_anew_and_gets_the_same_numbers(project):
    run(project)
    first = values(project)
    run(project, "--sae-fresh")
    assert values(project) == first
    assert (project.path / "computed.txt").read_text().split().count("fvu") == 2


def test_killed_in_the_middle_no_score_is_lost_and_none_computed_twice(project, monkeypatch):
    command = [forks.python(), "-m", "pytest", *options()]
    monkeypatch.setenv("KILL", "1")
    monkeypatch.setenv("PYTHONPATH", f"{project.path}:{ROOT}")
    assert subprocess.run(command, capture_output=True, check=False, cwd=project.path).returncode == -9
    assert list(values(project)) == ["reconstruction.fvu"]
    with (project.path / "s.jsonl").open("a") as file:
        file.write('{"schema":1,"prop')
    monkeypatch.delenv("KILL")
    assert run(project).ret == 0
    assert (project.path / "computed.txt").read_text().split() == ["fvu", "cosine", "l0"]
    assert [json.loads(line)["property"] for line in (project.path / "s.jsonl").read_text().splitlines()] == [
        "reconstruction.fvu",
        "reconstruction.cosine",
        "reconstruction.l0",
    ]


def test_two_workers_and_the_other_order_give_the_same_scores(project, once):
    run(project, *HALF, sae="my_saes:shrunk")
    workers = half_on_workers(once)
    assert workers.result.ret == 0
    workers.result.stdout.fnmatch_lines(["saebench: 3 scores expected, 3 recorded *"])
    source = (project.path / "suites" / "test_small.py").read_text()
    head, *tests = source.split("@pytest.mark")
    reverse = head + "".join(f"@pytest.mark{test.rstrip()}\n\n" for test in reversed(tests))
    (project.path / "suites" / "test_small.py").write_text(reverse)
    run(project, *HALF, sae="my_saes:shrunk", file="r.jsonl")
    assert values(project) == scores_in(workers.path / "n.jsonl") == values(project, "r.jsonl") != {}


def test_the_gate_fails_the_test_that_got_worse_in_one_line(project):
    run(project, sae="my_saes:shrunk", file="base.jsonl")
    better = run(project, "--sae-baseline", "base.jsonl", sae="my_saes:identity", file="a.jsonl")
    assert better.ret == 0
    worse = run(project, "--sae-baseline", "base.jsonl", sae="my_saes:more_shrunk", file="b.jsonl")
    assert worse.ret == 1
    worse.stdout.fnmatch_lines(
        [
            "reconstruction.fvu[[]my_saes:more_shrunk] = 0.*, baseline 0.*: worse by *, allowed 0.010, paired over 16 documents"
        ]
    )
    assert "Traceback" not in worse.stdout.str()
    worse.assert_outcomes(failed=2, passed=1)


def test_a_missing_baseline_is_exit_code_4(project):
    result = run(project, "--sae-baseline", "nowhere.jsonl")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*nowhere.jsonl: no such file of scores*"])


def test_a_test_that_records_nothing_fails(project):
    suite = SUITE.replace("    record(reconstruction.l0(trace))\n", "")
    (project.path / "suites" / "test_small.py").write_text(suite)
    result = run(project)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*test_l0* recorded no score*"])


def test_a_marker_with_an_unknown_keyword_is_exit_code_4(project):
    (project.path / "suites" / "test_small.py").write_text(SUITE.replace("tolerance=", "tolerence="))
    result = run(project)
    assert result.ret == 4
    assert "Did you mean 'tolerance'?" in result.stderr.str() + result.stdout.str()


def test_each_sae_is_loaded_once_and_dropped_before_the_next(project):
    (project.path / "counted_saes.py").write_text(
        SAES
        + "alive = []\n"
        + "class Counted(Identity):\n"
        + "    def __init__(self): alive.append(1); print('loaded', len(alive))\n"
        + "    def __del__(self): alive.pop()\n"
        + "def a(): return Counted()\n"
        + "def b(): return Counted()\n"
    )
    result = run(project, "--sae", "counted_saes:b", "-s", sae="counted_saes:a")
    assert result.ret == 0
    text = result.stdout.str()
    assert text.count("loaded 1") == 2
    assert "loaded 2" not in text


def test_the_list_of_saes_needs_no_tests(project):
    result = project.runpytest_inprocess("--sae-list", "-p", "saebench.plugin")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["organism *30 *all *"])
    result = project.runpytest_inprocess("--sae-list=organism/gated-*", "-p", "saebench.plugin")
    result.stdout.fnmatch_lines(["organism/gated-16 *blocks.1.hook_resid_post *1024 *", "organism/gated-32 *"])
    result = project.runpytest_inprocess("--sae-list=organsim", "-p", "saebench.plugin")
    assert result.ret == 4


def test_other_tests_pass_on_several_workers_though_they_record_no_score(pytester):
    pytester.makepyfile("def test_something():\n    assert True\n")
    result = pytester.runpytest_subprocess("-n", "1")
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.OK
