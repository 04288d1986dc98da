"""`--sae-arch`: names become SAEs that are trained alike, evaluated as they would be published, and kept by recipe."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from paths import ROOT
from project import project  # noqa: F401
from sae_lens.registry import SAE_TRAINING_CLASS_REGISTRY

from saebench.boards import architectures_table
from saebench.catalogue import architectures
from saebench.catalogue.architectures import ARCHITECTURES, L0S, REFERENCE_L0S, SEEDS, resolve
from saebench.catalogue.spec import SAESpec
from saebench.compare import at_l0 as matched
from saebench.making import architecture_training, control_training, recipe
from saebench.making.architecture_training import Order, check_saved, config_of, imported, train
from saebench.making.like import Like
from saebench.making.recipe import source_digest
from saebench.making.training import classes_of, training_sae
from saebench.record.budget import BUDGETS
from saebench.record.score import Unscored
from saebench.record.store import Store
from saebench.run import architectures as trained
from saebench.run.options import Options
from saebench.run.run import Run
from saebench.session.options import add_options

torch.set_num_threads(1)
HOOK = "blocks.1.hook_resid_post"
ROWS = torch.randn(4096, 8, generator=torch.Generator().manual_seed(0)) @ torch.randn(
    8, 24, generator=torch.Generator().manual_seed(1)
)
ORDER = Order(l0=4, seed=0, samples=4096, d_sae=32, device="cpu")
MINE = '''
import torch
from torch.nn.functional import normalize
from sae_lens import TopKTrainingSAE
from tied_topk import TiedTopK

class Forgetful(TiedTopK):
    """Saves the encoder that it does not use."""
    def process_state_dict_for_saving_inference(self, state_dict):
        TopKTrainingSAE.process_state_dict_for_saving_inference(self, state_dict)

class Lazy(TopKTrainingSAE):
    """Never learns: its loss is always nothing."""
    def __init__(self, cfg, use_error_term=False):
        super().__init__(cfg, use_error_term)
        self.mse_loss_fn = lambda made, wanted: 0 * (made - wanted)

class Diverged(TopKTrainingSAE):
    def process_state_dict_for_saving_inference(self, state_dict):
        super().process_state_dict_for_saving_inference(state_dict)
        state_dict["b_dec"] = state_dict["b_dec"] * float("nan")

class Raises(TopKTrainingSAE):
    def calculate_aux_loss(self, **_):
        raise RuntimeError("no such loss")

class Plain:
    pass

class Untrained:
    def __init__(self, d_in, d_sae, l0):
        self.W_dec, self.l0 = normalize(torch.randn(d_sae, d_in), dim=1), l0
    def encode(self, x):
        kept = (x @ self.W_dec.T).topk(self.l0)
        return torch.zeros(len(x), len(self.W_dec)).scatter(-1, kept.indices, kept.values)

def untrained(activations, d_in, d_sae, l0, seed):
    return Untrained(d_in, d_sae, l0)

def too_few(activations, d_in):
    pass

def returns_nothing(activations, d_in, d_sae, l0, seed):
    pass

number = 3
'''


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a user's architectures, which is the current one."""
    (tmp_path / "mine.py").write_text(MINE)
    shutil.copy(ROOT / "examples" / "tied_topk.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("mine", "tied_topk"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    source_digest.cache_clear()
    return tmp_path


def specs(*names: str, model: str | None = None, hook: str | None = HOOK, budget: str = "smoke") -> list[SAESpec]:
    return resolve(names, model, hook, budget)


# Names


def test_a_new_architecture_is_trained_at_three_sparsities_from_two_seeds(mine: Path) -> None:
    made = specs("mine:Lazy", budget="quick")
    assert [spec.name for spec in made] == [f"mine:Lazy/l0-{l0}/seed-{seed}" for l0 in (8, 16, 32) for seed in (0, 1)]
    assert {spec.architecture for spec in made} == {"Lazy"}
    assert {spec.facts["tokens"] for spec in made} == {BUDGETS["quick"].architecture_samples}
    assert {(spec.loader, spec.hook, spec.context_size, spec.digest) for spec in made} == {("architecture", HOOK, 64, None)}  # fmt: skip


def test_those_of_the_zoo_are_trained_around_them() -> None:
    made = specs(*ARCHITECTURES)
    assert len(made) == len(ARCHITECTURES) * len(REFERENCE_L0S) * len(SEEDS)
    assert min(REFERENCE_L0S) < min(L0S) < max(L0S) < max(REFERENCE_L0S)
    assert all(budget.architecture_samples > 0 for budget in BUDGETS.values())


def test_a_name_given_twice_is_one_architecture() -> None:
    assert len(specs("topk", "topk")) == len(specs("topk"))


def test_another_hook_stands_behind_the_name() -> None:
    made = specs("topk@blocks.2.hook_resid_pre")[0]
    assert (made.name, made.hook) == ("topk@blocks.2.hook_resid_pre/l0-6/seed-0", "blocks.2.hook_resid_pre")
    assert (made.location, made.architecture) == ("topk", "topk")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("topc", "--sae-arch topc: no such architecture. Did you mean 'topk'?"),
        ("", "no such architecture"),
        ("nowhere_at_all:SAE", "no module 'nowhere_at_all' in this folder or among the installed packages"),
        ("a b:c", "no such architecture"),
    ],
)
def test_what_can_be_no_architecture_is_one_sentence_before_anything_is_imported(name: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        specs(name)


def test_a_model_without_a_hook_of_its_own_asks_for_one() -> None:
    with pytest.raises(ValueError, match=r"does not say which hook of gpt2 it reads: --sae-arch topk@blocks\.8"):
        specs("topk", model="gpt2", hook=None)
    made = specs("topk@blocks.8.hook_resid_pre", model="gpt2", hook=None)[0]
    assert made.context_size == architectures.CONTEXT


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("mine:Lazzy", "module mine has no Lazzy. Did you mean 'Lazy'?"),
        ("mine:number", "is of type int, and should be a TrainingSAE of sae-lens or a function"),
        ("mine:Plain", "is the class Plain, and should be"),
        ("mine:too_few", "cannot be called so: too many positional arguments; it should be"),
        ("mine.sub:Lazy", "importing it raised ModuleNotFoundError"),
    ],
)
def test_what_is_no_architecture_once_it_is_imported_is_one_sentence(mine: Path, name: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        imported(name)


def test_a_module_that_cannot_be_imported_is_one_sentence(mine: Path) -> None:
    (mine / "torn.py").write_text("from mine import nothing_like_that\n")
    with pytest.raises(ValueError, match=r"^--sae-arch torn:SAE: importing it raised ImportError at torn\.py:1: "):
        imported("torn:SAE")


# Configurations


@pytest.mark.parametrize("name", [name for name in SAE_TRAINING_CLASS_REGISTRY if "transcoder" not in name])
def test_the_configuration_of_every_training_class_of_sae_lens_is_found(name: str) -> None:
    made, config = SAE_TRAINING_CLASS_REGISTRY[name]
    assert config_of(made, name) is config


def test_a_class_that_extends_another_has_its_configuration(mine: Path) -> None:
    assert config_of(imported("mine:Lazy"), "mine:Lazy") is classes_of("topk")[1]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_of_the_zoo_gets_what_it_has(architecture: str) -> None:
    config = training_sae(*classes_of(architecture), l0=4, d_in=24, d_sae=32).cfg
    assert (config.d_in, config.d_sae, config.normalize_activations) == (24, 32, "expected_average_only_in")
    if architecture in ("topk", "batchtopk", "matryoshka"):
        assert config.k == 4
    if architecture in ("batchtopk", "matryoshka"):
        assert config.topk_threshold_lr == 0.05
    if architecture == "matryoshka":
        assert config.matryoshka_widths == [2, 8, 32]
    if architecture in ("standard", "gated"):
        assert config.l1_coefficient == 2.0
    if architecture == "jumprelu":
        assert (config.jumprelu_sparsity_loss_mode, config.jumprelu_bandwidth) == ("tanh", 0.5)


# Training


def weights(sae: Any) -> torch.Tensor:
    return torch.cat([value.detach().flatten() for value in sae.parameters()])


@pytest.mark.parametrize("name", ["topk", "standard", "mine:Lazy"])
def test_the_same_seed_is_the_same_sae_and_nobody_elses_randomness_is_used(mine: Path, name: str) -> None:
    state = torch.random.get_rng_state()
    one, again, other = (train(name, ROWS, order) for order in (ORDER, ORDER, replace(ORDER, seed=1)))
    assert torch.equal(weights(one), weights(again))
    assert not torch.equal(weights(one), weights(other))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_function_is_an_architecture_too(mine: Path) -> None:
    one, again, other = (train("mine:untrained", ROWS, order) for order in (ORDER, ORDER, replace(ORDER, seed=1)))
    assert torch.equal(one.W_dec, again.W_dec)
    assert not torch.equal(one.W_dec, other.W_dec)
    assert one.W_dec.shape == (32, 24)
    assert one.l0 == 4


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("mine:Raises", r"training raised RuntimeError at mine\.py:\d+: no such loss"),
        ("mine:returns_nothing", "training raised TypeError at .*: it returned a NoneType without encode"),
    ],
)
def test_what_an_architecture_raises_is_one_sentence_with_its_place(mine: Path, name: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^--sae-arch {name}: {sentence}$"):
        train(name, ROWS, ORDER)


def saved(trained: Any) -> Any:
    spec = SAESpec("s", "architecture", "mine:x", hook=HOOK)
    return control_training.loaded_from(spec, control_training.saved_weights(trained), "cpu")


def test_the_tied_example_is_saved_as_what_was_trained(mine: Path) -> None:
    trained = train("tied_topk:TiedTopK", ROWS, ORDER)
    loaded = saved(trained)
    assert torch.allclose(loaded.decode(loaded.encode(ROWS)), trained.decode(trained.encode(ROWS)), atol=1e-4)
    assert torch.allclose(loaded.source.W_enc, loaded.source.W_dec.T, atol=1e-6)
    check_saved("tied_topk:TiedTopK", trained, loaded, ROWS)


def test_an_encoder_that_is_not_saved_is_found_and_the_method_to_override_is_named(mine: Path) -> None:
    trained = train("mine:Forgetful", ROWS, ORDER)
    with pytest.raises(ValueError, match=r"is not the one that was trained: .* override process_state_dict_for_saving"):
        check_saved("mine:Forgetful", trained, saved(trained), ROWS)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_no_architecture_of_the_zoo_is_taken_for_one_that_forgets(architecture: str) -> None:
    trained = train(architecture, ROWS, replace(ORDER, samples=64 * 1024))
    check_saved(architecture, trained, saved(trained), ROWS)


# Recipes


def test_a_digest_changes_with_the_code_and_with_what_the_code_imports(mine: Path) -> None:
    def digest() -> str:
        source_digest.cache_clear()
        return source_digest("mine:Lazy")

    before = digest()
    (mine / "unrelated.py").write_text("x = 1")
    assert digest() == before
    (mine / "tied_topk.py").write_text((mine / "tied_topk.py").read_text() + "\n# another\n")
    changed = digest()
    assert changed != before
    (mine / "mine.py").write_text(MINE + "\n# another\n")
    assert digest() not in (before, changed)


def test_packages_and_folders_without_an_init_are_known_by_their_code_as_well(mine: Path) -> None:
    for folder in ("package", "folder"):
        (mine / folder).mkdir()
        (mine / folder / "sub.py").write_text("import helper\n")
    (mine / "package" / "__init__.py").write_text("")
    (mine / "helper.py").write_text("x = 1\n")
    before = [source_digest(f"{folder}.sub:SAE") for folder in ("package", "folder")]
    (mine / "helper.py").write_text("x = 2\n")
    source_digest.cache_clear()
    after = [source_digest(f"{folder}.sub:SAE") for folder in ("package", "folder")]
    assert all(old != new for old, new in zip(before, after, strict=True))


def test_an_installed_package_is_known_by_its_version() -> None:
    source_digest.cache_clear()
    assert re.fullmatch(r"sae_lens sae-lens \d+\.\d+\.\d+", source_digest("sae_lens:TopKTrainingSAE"))


def test_the_recipe_is_known_without_importing_the_architecture(mine: Path, tmp_path: Path) -> None:
    (mine / "heavy.py").write_text("raise SystemExit('imported')\n")
    run = Run(specs("heavy:SAE", "topk"), Store(tmp_path / "s.jsonl"), Options("smoke", "cpu"))
    digests = [run.holder.known(spec).digest for spec in run.specs]
    assert len(set(digests)) == len(run.specs)
    assert digests == [run.holder.known(spec).digest for spec in run.specs]


def test_no_control_is_trained_for_an_sae_that_was_trained_on_the_spot(tmp_path: Path) -> None:
    import planted
    from models import WIDTH

    like = Like(
        planted.loaded(planted.dictionary(), architecture="topk", loader="architecture"), torch.zeros(4, WIDTH), 24, 3.0
    )
    subject: Any = type("Subject", (), {"name": "other"})()
    cache: Any = None
    with pytest.raises(Unscored, match="no control is trained for an SAE of --sae-arch"):
        control_training.trained_control(
            "frozen", like, subject, HOOK, "quick", cache, control_training.WorldTexts(8, 256)
        )


# From the command line


@pytest.fixture
def small(project: Any, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: F811
    """A project in which SAEs are small, and trained on little."""
    project.makepyfile(mine=MINE)
    shutil.copy(ROOT / "examples" / "tied_topk.py", project.path)
    for name in ("mine", "tied_topk"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    less = replace(BUDGETS["smoke"], documents=6, architecture_samples=12 * 1024)
    monkeypatch.setitem(BUDGETS, "smoke", less)
    monkeypatch.setattr(architectures, "REFERENCE_L0S", (6, 40))
    monkeypatch.setattr(architectures, "L0S", (8,))
    monkeypatch.setattr(architectures_table, "FEWEST_SAES", 2)
    monkeypatch.setattr(trained, "EMBEDDED_WIDTH", 256)
    source_digest.cache_clear()
    return project


def gated(small: Any, architecture: str, *more: str, file: str = "s.jsonl") -> Any:
    options = ["--sae-arch", architecture, "--sae-budget", "smoke", "--sae-scores", file, "-p", "saebench.plugin"]
    return small.runpytest_inprocess("suites", *options, *more)


def test_a_gate_passes_a_good_architecture_and_fails_a_broken_one_for_a_reason_one_can_read(
    small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = gated(small, "topk", file="base.jsonl")
    assert made.ret == 0
    made.stdout.fnmatch_lines(["baseline: none at --sae-budget smoke; --sae-baseline FILE:ARCHITECTURE names one"])
    rows = Store(small.path / "base.jsonl").read()
    assert {(row.architecture, row.d_sae, row.budget) for row in rows} == {("topk", 256, "smoke")}

    good = gated(small, "tied_topk:TiedTopK", "--sae-baseline", "base.jsonl:topk")
    assert good.ret == 0
    good.stdout.fnmatch_lines(
        ["baseline: topk at the L0 of each SAE; a table of topk", "tied_topk:TiedTopK, at the same L0 as *topk"]
    )

    bad = gated(small, "mine:Lazy", "--sae-baseline", "base.jsonl:topk")
    assert bad.ret == 1
    line = "reconstruction.fvu[[]mine:Lazy/l0-8/seed-0] = *, baseline *: worse by 0.* [[]*], allowed 0.010, *; baseline: topk at L0 8.0, interpolated"  # fmt: skip
    bad.stdout.fnmatch_lines([line, "reconstruction.fvu * -0.*"])
    assert "Traceback" not in bad.stdout.str()

    # What was trained is kept, and what was scored is not computed again.
    monkeypatch.setattr(architecture_training, "train", lambda *_: pytest.fail("it was trained again"))
    assert gated(small, "tied_topk:TiedTopK", "-k", "seed-0 and fvu", file="other.jsonl").ret == 0
    resumed = gated(small, "tied_topk:TiedTopK", "--sae-baseline", "base.jsonl:topk")
    assert resumed.ret == 0
    assert "recorded (6 from earlier runs)" in resumed.stdout.str()


def test_an_architecture_that_diverges_fails_its_tests_and_a_function_is_scored(small: Any) -> None:
    diverged = gated(small, "mine:Diverged", "-k", "fvu")
    assert diverged.ret == 1
    diverged.stdout.fnmatch_lines(["*unscored: training diverged: b_dec holds values that are NaN or infinite*"])
    function = gated(small, "mine:untrained", "-k", "fvu", file="function.jsonl")
    assert function.ret == 0
    assert [row.l0 for row in Store(small.path / "function.jsonl").read()] == [8, 8]


@pytest.mark.parametrize(
    ("architecture", "more", "sentence"),
    [
        ("topc", (), "*--sae-arch topc: no such architecture. Did you mean 'topk'?*"),
        ("mine:Plain", (), "*--sae-arch mine:Plain is the class Plain, and should be a TrainingSAE of sae-lens*"),
        ("mine:Forgetful", (), "*is not the one that was trained*override process_state_dict_for_saving_inference*"),
        ("topk", ("--sae-baseline", "none.jsonl"), "*none.jsonl: no such file of scores*"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_exit_code_4(
    small: Any, architecture: str, more: tuple[str, ...], sentence: str
) -> None:
    result = gated(small, architecture, *more)
    assert result.ret == 4
    lines = result.stdout.lines + result.stderr.lines
    assert [line for line in lines if re.match(".*".join(map(re.escape, sentence.split("*"))) + "$", line)], lines
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def test_the_scores_that_come_with_saebench_are_the_baseline_of_new_architectures_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from saebench.session import requested

    monkeypatch.setattr(matched, "architectures_file", lambda: tmp_path / "architectures.jsonl")
    monkeypatch.setattr(requested, "read_own", lambda budget: f"own at {budget}")

    def baseline(**options: Any) -> Any:
        known = {"sae_baseline": None, "sae_arch": None, "sae_budget": "quick", "sae_model": None, "sae_corpus": None}
        return requested._baseline((known | options).__getitem__)

    assert baseline(sae_arch=["mine:Lazy"]) == "own at quick"
    assert baseline(sae_arch=["mine:Lazy", "topk"], sae_model="organism") == "own at quick"
    assert baseline(sae_arch=["topk", "gated@blocks.2.hook_resid_pre"]) is None
    assert baseline(sae_arch=["mine:Lazy"], sae_model="gpt2") is None
    assert baseline(sae_arch=["mine:Lazy"], sae_corpus="mine.txt") is None
    assert baseline() is None


# Files to copy


WORKFLOW = ROOT / "examples" / "saebench-gate.yml"


def workflow() -> dict[Any, Any]:
    imported: dict[Any, Any] = yaml.safe_load(WORKFLOW.read_text())
    return imported


def commands() -> list[str]:
    return [step["run"] for job in workflow()["jobs"].values() for step in job["steps"] if "run" in step]


def test_the_workflow_runs_on_pull_requests_with_the_least_rights_and_pinned_actions() -> None:
    read = workflow()
    assert list(read[True]) == ["pull_request"]  # YAML 1.1 reads `on` as true
    assert read["permissions"] == {"contents": "read"}
    for job in read["jobs"].values():
        assert set(job) <= {"runs-on", "timeout-minutes", "env", "steps"}
        assert all(re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"]) for step in job["steps"] if "uses" in step)
        assert all(("uses" in step) != ("run" in step) for step in job["steps"])
        uploaded = [step for step in job["steps"] if "upload-artifact" in step.get("uses", "")]
        assert [step["if"] for step in uploaded] == ["always()"]
    assert any(str(job["steps"]).count("3.11") for job in read["jobs"].values())


def test_the_commands_of_the_workflow_are_shell_and_name_options_that_there_are() -> None:
    options: set[str] = set()
    add_options(lambda name, **_: options.add(name))
    for command in commands():
        checked = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr
        assert "${{" not in command, "what GitHub fills in could be anything: it goes through the environment"
    asked = set(re.findall(r"--sae[a-z-]*", " ".join(commands())))
    assert {"--sae-arch", "--sae-baseline", "--sae-budget", "--sae-scores"} <= asked <= options


def test_the_workflow_names_an_architecture_and_a_baseline_that_there_are() -> None:
    env = next(iter(workflow()["jobs"].values()))["env"]
    module, _, name = env["ARCHITECTURE"].partition(":")
    assert f"class {name}(" in (ROOT / Path(*module.split("."))).with_suffix(".py").read_text()
    assert env["BASELINE"].removeprefix(":") in ARCHITECTURES


def test_what_is_uploaded_is_what_the_run_wrote() -> None:
    steps = next(iter(workflow()["jobs"].values()))["steps"]
    folder = next(step["with"]["path"] for step in steps if "upload-artifact" in step.get("uses", ""))
    assert f"--sae-scores {folder}/" in commands()[-1]
    assert f"--junitxml {folder}/" in commands()[-1]
    assert not folder.startswith(".")  # hidden folders are not uploaded


def test_modules_of_names_and_recipes_are_light() -> None:
    heavy = "print([m for m in ('torch', 'sae_lens', 'scipy') if m in sys.modules])"
    light = "saebench.catalogue.architectures, saebench.run.architectures, saebench.making.recipe, saebench.compare.at_l0, saebench.boards.architectures_table"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, {light}; {heavy}"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    assert recipe.__doc__
