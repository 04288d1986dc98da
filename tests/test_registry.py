"""Names, folders, sae-lens addresses and callables become specs; anything else is told apart in one sentence."""

import subprocess
import sys
from pathlib import Path

import pytest
from factories import make_sae_folder

from saebench.folders import spec_from_folder
from saebench.places import fixtures_dir
from saebench.registry import (
    CONTROLS,
    UnknownSAE,
    families,
    resolve,
    resolve_all,
    specs_of,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "fixtures"
    for i, name in enumerate(("topk-k16", "topk-k4", "l1-3", "topk-k128")):
        make_sae_folder(root / "organism" / "saes" / name, seed=i)
    (root / "organism.toml").write_text('path = "organism/saes/*"\nmodel = "organism"\nabout = "small ones"\n')
    (root / "scope.toml").write_text(
        'model = "gemma"\n[sae.wide]\nrepo = "org/rel"\nformat = "gemma_2"\nlocation = "layer_1"\nhook = "h"\n'
        'context_size = 1024\n[sae."narrow"]\nrepo = "org/rel"\nformat = "gemma_2"\nlocation = "layer_2"\n'
        'model = "other"\nprepend_bos = false\n'
    )
    return root


def names(pattern: str, root: Path) -> list[str]:
    return [spec.name for spec in resolve(pattern, root)]


def test_family_is_all_its_saes_in_natural_order(root: Path) -> None:
    expected = ["organism/l1-3", "organism/topk-k4", "organism/topk-k16", "organism/topk-k128"]
    assert names("organism", root) == names("organism/", root) == names("organism/*", root) == expected


def test_name_and_glob(root: Path) -> None:
    assert names("organism/topk-k4", root) == ["organism/topk-k4"]
    assert names("*/topk-k1*", root) == ["organism/topk-k16", "organism/topk-k128"]


def test_facts_come_from_the_folder_and_the_family_overrides(root: Path) -> None:
    (spec,) = resolve("organism/topk-k16", root)
    assert (spec.architecture, spec.d_in, spec.d_sae, spec.hook, spec.context_size) == ("topk", 4, 8, "blocks.2", 64)
    assert (spec.model, spec.loader, spec.facts) == ("organism", "files", {"l0": 16.1})
    assert Path(spec.location).is_dir()


def test_stanzas_inherit_from_their_family(root: Path) -> None:
    narrow, wide = resolve("scope", root)
    assert (wide.location, wide.repo, wide.model, wide.context_size) == ("layer_1", "org/rel", "gemma", 1024)
    assert (narrow.model, narrow.prepend_bos, narrow.digest) == ("other", False, None)


def test_listing(root: Path) -> None:
    assert [(family.name, len(family.readers)) for family in families(root)] == [("organism", 4), ("scope", 2)]
    assert [len(specs_of(name, root)) for name in ("organism", "scope")] == [4, 2]


def test_patterns_that_overlap_give_each_sae_once(root: Path) -> None:
    specs = resolve_all(["organism/topk-k16", "organism"], root)
    assert [spec.name for spec in specs][:2] == ["organism/topk-k16", "organism/l1-3"]
    assert len(specs) == 4


@pytest.mark.parametrize(
    ("pattern", "guess"),
    [("organsim", "organism"), ("organism/topk-k61", "organism/topk-k16"), ("organism/topkk-*", "organism/topk-k4")],
)
def test_typo_gets_the_nearest_name(root: Path, pattern: str, guess: str) -> None:
    with pytest.raises(UnknownSAE) as caught:
        resolve(pattern, root)
    start = f"--sae {pattern}: no such SAE. Did you mean '{guess}'? Known: organism (4 SAEs), scope (2 SAEs); or"
    assert str(caught.value).startswith(start)


@pytest.mark.parametrize("pattern", ["", "zzzz", "not a name", "a:b:c", "x:1y"])
def test_nonsense_lists_what_is_known(root: Path, pattern: str) -> None:
    with pytest.raises(UnknownSAE, match=r"no such SAE\. Known: organism") as caught:
        resolve(pattern, root)
    assert "\n" not in str(caught.value)


def test_family_without_folders_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bare.toml").write_text('path = "none/*"')
    with pytest.raises(UnknownSAE, match="this family is empty"):
        resolve("bare", tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('modle = "x"', "unknown key 'modle'. Did you mean 'model'?"),
        ('[sae.a]\nlocatoin = "y"', r"\[sae.a\]: unknown key 'locatoin'. Did you mean 'location'?"),
        ("model = 3", "model is 3, and should be str"),
        ('[sae.a]\nlocation = "y"\ncontext_size = true', "context_size is True, and should be int"),
        ("[sae]\na = 1", "needs a location"),
        ("loader =", "is not TOML"),
    ],
)
def test_bad_family_file_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "broken.toml").write_text(text)
    with pytest.raises(ValueError, match=message.replace("?", r"\?")) as caught:
        families(tmp_path)
    assert "broken.toml" in str(caught.value)


def test_folder_and_glob_of_folders(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_sae_folder(tmp_path / "runs" / "b10")
    make_sae_folder(tmp_path / "runs" / "b9")
    monkeypatch.chdir(tmp_path)
    assert names("./runs/b9", root) == names("runs/b9", root) == names(str(tmp_path / "runs/b9"), root) == ["local/b9"]
    assert names("./runs/*", root) == ["local/b9", "local/b10"]


def test_known_name_wins_over_a_folder_of_that_name(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    assert len(resolve("organism", root)) == 4


def test_two_folders_of_one_name_are_refused(root: Path, tmp_path: Path) -> None:
    paths = [str(make_sae_folder(tmp_path / run / "final")) for run in "ab"]
    with pytest.raises(ValueError, match="both called local/final: rename a folder"):
        resolve_all(paths, root)


def test_absent_folder_gets_the_nearest(root: Path) -> None:
    with pytest.raises(UnknownSAE, match=r"no such folder\. Did you mean '.*organism'\?"):
        resolve(f"{root}/organsim", root)


def test_digest_follows_weights_and_configuration(tmp_path: Path) -> None:
    folders = [make_sae_folder(tmp_path / str(i), seed=i // 2) for i in range(4)]
    (folders[3] / "cfg.json").write_text('{"architecture": "jumprelu"}')
    digests = [spec_from_folder(folder, "x").digest for folder in folders]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_missing_facts_are_none(tmp_path: Path) -> None:
    (make_sae_folder(tmp_path / "x") / "cfg.json").write_text("{}")
    spec = spec_from_folder(tmp_path / "x", "x")
    assert (spec.architecture, spec.d_in, spec.hook, spec.model, spec.context_size) == (None,) * 5
    assert (spec.normalisation, spec.prepend_bos) == ("none", True)


@pytest.mark.parametrize("keep", [0, 4, 9, 40, -1])
def test_cut_weights_are_noticed(tmp_path: Path, keep: int) -> None:
    path = make_sae_folder(tmp_path / "x") / "sae_weights.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"sae_weights\.safetensors is (damaged|not a safetensors file)"):
        spec_from_folder(tmp_path / "x", "x")


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is not JSON"), ("[1]", "should be dict"), ('{"d_in": "4"}', "d_in is '4', and should be int")],
)
def test_broken_configuration_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    (make_sae_folder(tmp_path / "x") / "cfg.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        spec_from_folder(tmp_path / "x", "x")


def test_folder_without_an_sae(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is not an SAE in a known format: it has neither cfg\.json and sae_weights"):
        resolve(str(tmp_path))


def test_callable_is_checked_without_importing(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_zoo.py").write_text("raise RuntimeError('imported')")
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    (spec,) = resolve("my_zoo:make", root)
    assert (spec.name, spec.loader, spec.location, spec.digest) == ("my_zoo:make", "python", "my_zoo:make", None)
    assert sys.path == before
    with pytest.raises(UnknownSAE, match="no module 'my_zo'"):
        resolve("my_zo.deep:make", root)


def test_sae_lens_addresses(root: Path) -> None:
    pytest.importorskip("yaml")
    (spec,) = resolve("saelens:gpt2-small-res-jb/blocks.8.hook_resid_pre", root)
    assert (spec.repo, spec.location) == ("jbloom/GPT2-Small-SAEs-Reformatted", "blocks.8.hook_resid_pre")
    assert (spec.loader, spec.format, spec.model) == ("files", "sae_lens", "openai-community/gpt2")
    assert spec.digest is None
    with pytest.raises(UnknownSAE, match=r"no release 'gpt2-small-res-jv'\. Did you mean 'gpt2-small-res-jb'\?"):
        resolve("saelens:gpt2-small-res-jv/x", root)
    with pytest.raises(UnknownSAE, match=r"no SAE 'blocks\.8\.hook_resid'\. Did you mean 'blocks"):
        resolve("saelens:gpt2-small-res-jb/blocks.8.hook_resid", root)


def test_own_fixtures_are_found() -> None:
    assert "organism" in [family.name for family in families()]
    assert fixtures_dir().is_dir()


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from saebench import registry\n"
        "registry.resolve('saelens:gpt2-small-res-jb/blocks.8.hook_resid_pre')\n"
        "sys.exit(1 if {'torch', 'sae_lens', 'transformers', 'pytest', 'numpy'} & set(sys.modules) else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_control_of_an_sae_is_named_behind_a_tilde():
    (spec,) = resolve("organism/topk-16~pca")
    assert (spec.name, spec.loader, spec.origin) == ("organism/topk-16~pca", "control", resolve("organism/topk-16")[0])
    assert spec.control
    assert [s.name for s in resolve("organism/gated-*~random_l0")] == [
        "organism/gated-16~random_l0", "organism/gated-32~random_l0",
    ]  # fmt: skip
    with pytest.raises(UnknownSAE, match=r"no such control\. Did you mean 'random_l0'"):
        resolve("organism/topk-16~random_10")


def test_the_controls_that_can_be_named_are_those_that_can_be_made():
    from saebench.control_training import KINDS
    from saebench.controls import SAES

    assert set(CONTROLS) == {*SAES, *KINDS}
