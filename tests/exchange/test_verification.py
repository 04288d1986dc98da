"""A leaderboard that holds is said to hold, and one that was changed by hand is not; what runs is a stub here."""

import json
from pathlib import Path

import pytest
from factories import make_sae_folder, make_score

from saebench.catalogue.registry import resolve
from saebench.cli import main
from saebench.exchange.recomputing import Recomputing
from saebench.exchange.sampling import sample
from saebench.exchange.verification import published_scores, sort_out
from saebench.record.score import Score
from saebench.record.store import Store

FAMILIES = {
    "reconstruction.fvu": "test_fvu", "reconstruction.kl": "test_kl", "absorption.full_rate_0_6_0": "test_full_rate",
    "first_letter.f1": "test_f1", "context_length.kl_beyond": "test_kl_beyond",
}  # fmt: skip
SAES = ["topk-16", "topk-32", "gated-16", "gated-32", "standard-16", "batchtopk-16-frozen"]


def board_scores() -> list[Score]:
    saes = {f"organism/{name}": name.endswith("frozen") for name in SAES}
    return [
        make_score(sae=sae, property=name, budget="quick", value=0.4, half=0.01)
        if not control
        else make_score(sae=sae, property=name, budget="quick", control=True, unscored="only 3 of 26 letters")
        for sae, control in saes.items()
        for name in FAMILIES
    ]


@pytest.fixture
def board(tmp_path: Path) -> Store:
    store = Store(tmp_path / "board.jsonl")
    for i, score in enumerate(board_scores()):
        store.append(score, {"x": [float(i)]})
    return store


class Machine:
    """Stands where pytest would be run: gives each score of the SAE again, with what it was told to change."""

    def __init__(self, changes: dict, returncode: int = 0, said: str = "") -> None:
        self.changes, self.returncode, self.stdout, self.stderr = changes, returncode, said, ""
        self.commands: list[list[str]] = []

    def __call__(self, command: list[str], **options) -> "Machine":
        self.commands.append(command)
        value = {key: text for key, _, text in (part.partition("=") for part in command if part.startswith("--"))}
        if self.returncode == 0:
            for score in board_scores():
                if score.sae == value["--sae"]:
                    Store(value["--sae-scores"]).append(score.model_copy(update=self.changes))
        return self


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    def install(*args, **changes) -> Machine:
        stub = Machine(changes, *args)
        monkeypatch.setattr("saebench.exchange.recomputing.subprocess.run", stub)
        return stub

    return install


def edit(store: Store, **changes) -> None:
    """Change every line that has a value, as someone with an editor would."""
    lines = [json.loads(line) for line in store.path.read_text().splitlines()]
    lines = [line | changes for line in lines if line["value"] is not None]
    store.path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_board_that_holds(board: Store, machine, capsys):
    ran = machine()
    assert main(["verify", str(board.path)]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == f"24 of 24 sampled scores hold (of 30 in {board.path})"
    assert "items of 30 scores are whole" in out
    assert len(ran.commands) == 5


def test_a_few_scores_are_of_few_saes(board: Store, machine, capsys):
    ran = machine()
    assert main(["verify", str(board.path), "--sample", "3"]) == 0
    assert "3 of 3 sampled scores hold" in capsys.readouterr().out
    assert len(ran.commands) == 3
    for command in ran.commands:
        assert "--sae-budget=quick" in command
        assert "--sae-model=organism" in command
        assert "--sae-fresh" in command
        (test,) = [part for part in command if "::" in part]
        assert Path(test.partition("::")[0]).is_file()
        assert test.partition("::")[2] in FAMILIES.values()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"value": 0.401}, "differs: the value is 0.401, here 0.4"),
        ({"ci_low": 0.3}, "differs: the lower end is 0.3, here 0.39"),
        ({"sae_digest": "f" * 64}, "differs: the SAE has digest ffffffffffff, here digest of organism/"),
        ({"model_digest": "centred " + "f" * 64}, "differs: the model has digest centred ffffffffffff, here mmmmmmmmmmmm"),
        ({"version": 7}, "differs: the property has version 7, here 1"),
        ({"corpus": "others"}, "differs: the texts are others, here organism/test"),
    ],
)  # fmt: skip
def test_what_was_changed_by_hand_differs(board: Store, machine, capsys, changes, said):
    machine()
    edit(board, **changes)
    assert main(["verify", str(board.path), "--sample", "4"]) == 1
    out = capsys.readouterr().out
    assert said in out
    assert "0 of 4 sampled scores hold, 4 differ" in out


def test_the_last_bits_may_differ(board: Store, machine):
    machine()
    edit(board, ci_low=0.39 + 1e-4)
    assert main(["verify", str(board.path), "--sample", "4"]) == 0


def test_reasons_may_differ_in_their_numbers_alone(board: Store, machine, capsys):
    board.path.write_text(make_score(sae="organism/topk-16", property="first_letter.f1", budget="quick",
                                     unscored="only 4 of 26 letters").to_line() + "\n")  # fmt: skip
    machine(value=None, ci_low=None, ci_high=None, unscored_reason="only 3 of 26 letters")
    assert main(["verify", str(board.path)]) == 0
    machine(value=None, ci_low=None, ci_high=None, unscored_reason="too few words")
    assert main(["verify", str(board.path)]) == 1
    assert "unscored here: too few words" in capsys.readouterr().out
    machine()
    assert main(["verify", str(board.path)]) == 1
    assert "here it is 0.4" in capsys.readouterr().out


def test_a_run_that_fails_verifies_nothing(board: Store, machine, capsys):
    machine(4, "some lines\nERROR: the model is not on this machine\n")
    assert main(["verify", str(board.path)]) == 4
    error = capsys.readouterr().err
    assert "nothing could be recomputed here: ERROR: the model is not on this machine" in error
    assert error.count("\n") == 1


def test_one_sae_that_does_not_run_leaves_the_others(board: Store, monkeypatch, capsys):
    here, gone = Machine({}), Machine({}, 4, "ERROR: not here")
    monkeypatch.setattr(
        "saebench.exchange.recomputing.subprocess.run",
        lambda command, **options: (gone if "--sae=organism/gated-16" in command else here)(command, **options),
    )
    assert main(["verify", str(board.path), "--sample", "8"]) == 0
    out = capsys.readouterr().out
    assert "cannot be recomputed: ERROR: not here" in out
    assert "6 of 8 sampled scores hold, 2 cannot be recomputed here (of 30" in out


def test_a_test_that_gives_no_score_is_no_verdict(board: Store, machine, capsys):
    machine(params={"rung": "another"})
    assert main(["verify", str(board.path), "--sample", "6"]) == 4
    assert "nothing could be recomputed here: no test gave it" in capsys.readouterr().err


def test_what_cannot_be_recomputed_is_told(board: Store, machine, capsys):
    ran = machine()
    known = {"budget": "quick", "property": "reconstruction.fvu"}
    board.append(make_score(sae="organism/topk-16", property="throughput.encode", params={"machine": "x"}))
    board.append(make_score(sae="organism/topk-16", property="reconstruction.l0"))
    board.append(make_score(sae="organism/topk-16", property="x.y", budget="quick"))
    board.append(make_score(sae="os:system", **known))
    board.append(make_score(sae="os:system~random", **known))
    board.append(make_score(sae="local/theirs", **known))
    board.append(make_score(sae="organism/topk-*", **known))
    board.append(make_score(sae="organism/topk-64", **known, seed=3))
    assert main(["verify", str(board.path), "--sample", "2"]) == 0
    out = capsys.readouterr().out
    for said in (
        "1 scores are of the machine that they were measured on", "1 scores do not say how much was read",
        "1 scores are of x.y, which no suite measures here", "1 scores are of os:system, which is Python code",
        "1 scores are of os:system~random, which is Python code", "are of local/theirs, which cannot be named here",
        "are of organism/topk-*, which names no single SAE here", "(of 37 in",
    ):  # fmt: skip
        assert said in out
    assert not any("os:system" in part for command in ran.commands for part in command)


# SAEs of one's own


@pytest.fixture
def own(board: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A working folder with an SAE, a family file and Python code; gives a name to `verify`, and what was run for it."""
    monkeypatch.chdir(tmp_path)
    make_sae_folder(tmp_path / "runs" / "mine")
    (tmp_path / "my.toml").write_text('[sae.one]\nlocation = "runs/mine"\nhook = "blocks.1.hook_resid_post"\n')
    (tmp_path / "my_code.py").write_text("raise SystemExit('run')")

    def verify(sae: str, *arguments: str, here: dict | None = None, **known) -> tuple[int, list[str]]:
        published = make_score(**{"property": "reconstruction.fvu", "budget": "quick", "sae": sae, **known})
        board.path.write_text(published.to_line() + "\n")
        commands: list[list[str]] = []

        def run(command: list[str], **options) -> Machine:
            commands.append(command)
            (path,) = (part.partition("=")[2] for part in command if part.startswith("--sae-scores="))
            Store(path).append(published.model_copy(update=here or {}))
            return Machine({})

        monkeypatch.setattr("saebench.exchange.recomputing.subprocess.run", run)
        code = main(["verify", str(board.path), *arguments])
        return code, [part for command in commands for part in command if part.startswith("--sae=")]

    return verify


@pytest.mark.parametrize(
    "sae", ["local/runs/mine", "local/runs/mine~pca", "local/my.toml/one", "local/runs/mine@blocks.2.hook_resid_post"]
)
def test_what_lies_here_is_recomputed(own, sae: str, capsys):
    assert own(sae) == (0, [f"--sae={sae}"])
    assert "1 of 1 sampled scores hold" in capsys.readouterr().out
    assert own(sae, here={"value": 0.4})[0] == 1
    assert "differs: the value is 0.412, here 0.4" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("here", "said"),
    [
        ({"sae_digest": "f" * 64}, "another SAE has this name here: the SAE has digest "),
        ({"hook": "blocks.1"}, "another SAE has this name here: the hook is blocks.2, here blocks.1"),
    ],
)
def test_another_sae_of_that_name_says_nothing_of_a_score(own, here: dict, said: str, capsys):
    assert own("local/runs/mine", here=here)[0] == 4
    assert f"nothing could be recomputed here: {said}" in capsys.readouterr().err


def test_a_published_sae_of_another_hook_differs(own, capsys):
    assert own("organism/topk-16", here={"hook": "blocks.1"})[0] == 1
    assert "differs: the hook is blocks.2, here blocks.1" in capsys.readouterr().out


def test_an_sae_that_lies_elsewhere_now_is_named_by_the_user(own, tmp_path: Path, capsys):
    (spec,) = resolve("./runs/mine")
    (tmp_path / "runs").rename(tmp_path / "moved")
    assert own("local/runs/mine", sae_digest=spec.digest) == (4, [])
    assert "cannot be named here" in capsys.readouterr().out
    assert own("local/runs/mine", "--sae", "./moved/mine", sae_digest=spec.digest) == (0, ["--sae=local/moved/mine"])
    assert own("local/runs/mine", "--sae", "./moved/mine", sae_digest="another") == (4, [])


@pytest.mark.parametrize("sae", ["my_code:Mine", "my_code:Mine~random", "my_code:Mine@blocks.2.hook_resid_post"])
def test_code_runs_where_the_user_names_it(own, sae: str, capsys):
    assert own(sae) == (4, [])
    assert (
        "which is Python code, and a scores file may not choose what code runs: --sae names it"
        in capsys.readouterr().out
    )
    assert own(sae, "--sae", "my_code:Other") == (4, [])
    assert own(sae, "--sae", "my_code:Mine") == (0, [f"--sae={sae}"])


def test_damaged_items_fail(board: Store, machine, capsys):
    machine()
    next(board.items_dir.iterdir()).write_bytes(b"PK")
    assert main(["verify", str(board.path), "--sample", "1"]) == 1
    assert "is damaged" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("items", "told"),
    [
        ([0.1, 0.2], "x.y[organism/topk-16] is 0.4, and the mean of its items"),
        (["a"], "its array 'contribution' holds text, and not numbers"),
        ([], "x.y[organism/topk-16] is 0.4, and the mean of its items"),
    ],
)
def test_items_of_another_score_fail(board: Store, machine, capsys, items, told):
    machine()
    board.append(make_score(sae="organism/topk-16", property="x.y", value=0.4), {"contribution": [0.41, 0.4]})
    assert main(["verify", str(board.path), "--sample", "1"]) == 0
    board.append(make_score(sae="organism/topk-16", property="x.y", value=0.4), {"contribution": items})
    assert main(["verify", str(board.path), "--sample", "1"]) == 1
    assert told in capsys.readouterr().out


def test_bad_input_is_one_sentence(board: Store, capsys, tmp_path: Path):
    assert main(["verify", "nowhere.jsonl"]) == 4
    assert main(["verify", str(board.path), "--sample", "0"]) == 4
    (tmp_path / "empty.jsonl").touch()
    assert main(["verify", str(tmp_path / "empty.jsonl")]) == 4
    edit(board, budget="")
    assert main(["verify", str(board.path)]) == 4
    assert (
        capsys.readouterr().err.splitlines()[-1].endswith("nothing could be recomputed here: all scores are left out")
    )


def test_samples_are_spread_and_repeatable(board: Store):
    scores = published_scores(board)
    possible, left_out = sort_out(scores, FAMILIES)
    assert (len(possible), left_out) == (30, {})
    chosen = sample(possible, 12)
    assert sample(list(reversed(possible)), 12) == chosen
    assert sample(possible, 12, seed=1) != chosen
    saes = {score.sae for score in chosen}
    assert len(saes) == 4
    assert sum(score.control for score in chosen) == 3
    assert {score.property for score in chosen} == set(FAMILIES)
    assert len({score.identity() for score in chosen}) == 12
    assert len(sample(possible, 1000)) == 30


def test_a_name_cannot_pass_for_an_option():
    score = make_score(sae="--sae-scores=/etc/passwd", property="reconstruction.fvu", budget="quick")
    command = Recomputing({"reconstruction.fvu": ["suites/x.py::test_fvu"]}).command([score], Path("s.jsonl"))
    assert "--sae=--sae-scores=/etc/passwd" in command
    assert "--sae-scores=/etc/passwd" not in command


def test_documents_are_as_long_again_as_they_were():
    score = make_score(property="reconstruction.fvu", budget="quick", corpus="org/texts@1234567/96x1024/without-bos")
    command = Recomputing({"reconstruction.fvu": ["suites/x.py::test_fvu"]}).command([score], Path("s.jsonl"))
    assert "--sae-context=1024" in command
