"""Names, folders, sae-lens addresses and callables become specs; anything else is told apart in one sentence."""

import codecs
import re
import shutil
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest
from factories import make_sae_folder

from saebench.catalogue.controls import CONTROLS, OFFERED
from saebench.catalogue.folders import spec_from_folder
from saebench.catalogue.marks import UnknownSAE
from saebench.catalogue.registry import families, resolve, resolve_all, specs_of
from saebench.record.places import fixtures_dir
from saebench.saes.loaders import load_sae
from saebench.subject.random_weights import MODELS


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
    (tmp_path / "latest").symlink_to(tmp_path / "runs" / "b9")
    for same in (
        "./runs/b9",
        "runs/b9",
        "runs/b9/",
        "./runs/../runs/b9",
        str(tmp_path / "runs/b9"),
        "latest",
        "./latest/",
    ):
        assert names(same, root) == ["local/runs/b9"]
    assert names("./runs/*", root) == ["local/runs/b9", "local/runs/b10"]
    assert [spec.name for spec in resolve_all(["runs/b9", str(tmp_path / "runs/b9"), "latest"], root)] == [
        "local/runs/b9"
    ]


def test_a_name_can_be_given_back(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    places = [tmp_path / "run-a" / "final", tmp_path / "a b" / "x~y@z" / "[1]*ü%20", tmp_path.parent / "elsewhere"]
    for i, place in enumerate(places):
        shutil.rmtree(place, ignore_errors=True)
        (spec,) = resolve(str(make_sae_folder(place, seed=i)), root)
        assert spec.name.startswith("local/")
        assert re.fullmatch(r"[\w/.%+-]+", spec.name, re.ASCII)
        (same,) = resolve(spec.name, root)
        assert (same.name, same.digest) == (spec.name, spec.digest)
        assert names(f"{spec.name}~pca", root) == [f"{spec.name}~pca"]
        assert names(f"{place}@{HOOK}~pca", root) == [f"{spec.name}@{HOOK}~pca"]
    assert names("local/run-*/final", root) == ["local/run-a/final"]
    make_sae_folder(tmp_path / "local" / "run-a" / "final")
    with pytest.raises(UnknownSAE, match=r"write \./local/run-a/final or \./run-a/final$"):
        resolve("local/run-a/final", root)
    assert names("./local/run-a/final", root) == ["local/local/run-a/final"]


@pytest.mark.parametrize("pair", [("a b", "a_b"), ("a_b", "a%20b"), ("é", "e"), ("x" * 250 + "/1", "x" * 250 + "/2")])
def test_no_two_places_share_a_name(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pair: tuple[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    found = resolve_all([str(make_sae_folder(tmp_path / place, seed=i)) for i, place in enumerate(pair)], root)
    assert len({spec.digest for spec in found}) == 2


def test_a_link_to_a_file_that_is_called_otherwise_is_called_as_it_is_itself(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the hub's cache, whose files are called by their hash."""
    monkeypatch.chdir(tmp_path)
    (make_sae_folder(tmp_path / "x") / "sae_weights.safetensors").rename(tmp_path / "a1b2")
    Path("sae.safetensors").symlink_to("a1b2")
    assert names("./sae.safetensors", root) == names("local/sae.safetensors", root) == ["local/sae.safetensors"]


# Family files of one's own

OWN = """
hook = "blocks.1.hook_resid_post"
[sae.topk-16]
location = "x"
[sae.topk-32]
location = "y"
[sae."l1/strong"]
location = "y"
context_size = 128
"""


@pytest.fixture
def own(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with two family files of one name."""
    for i, folder in enumerate((tmp_path, tmp_path / "b")):
        make_sae_folder(folder / "x", seed=2 * i)
        make_sae_folder(folder / "y", seed=2 * i + 1)
        (folder / "mine.toml").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    return root


def test_members_of_an_own_family_file_can_be_named(own: Path, tmp_path: Path) -> None:
    whole = ["local/mine.toml/l1/strong", "local/mine.toml/topk-16", "local/mine.toml/topk-32"]
    for pattern in (
        "./mine.toml",
        "mine.toml",
        str(tmp_path / "mine.toml"),
        "./mine.toml/",
        "./mine.toml/*",
        "local/mine.toml",
    ):
        assert names(pattern, own) == whole
    for pattern in ("./mine.toml/topk-*", "local/mine.toml/topk-*", f"{tmp_path}/mine.toml/topk-*"):
        assert names(pattern, own) == whole[1:]
    assert names("mine.toml/l1/strong~pca", own) == ["local/mine.toml/l1/strong~pca"]
    assert names("mine.toml/topk-16@hook_embed", own) == ["local/mine.toml/topk-16@hook_embed"]
    assert len({spec.digest for spec in resolve_all(["./mine.toml/topk-*", "b/mine.toml/topk-*"], own)}) == 4


def test_what_an_own_family_file_has_not_gets_the_nearest(own: Path) -> None:
    with pytest.raises(UnknownSAE) as caught:
        resolve("./mine.toml/topk-61", own)
    hint = "Did you mean 'topk-16'? Known: l1/strong, topk-16, topk-32 (3 SAEs)"
    assert str(caught.value) == f"--sae ./mine.toml/topk-61: mine.toml has no SAE 'topk-61'. {hint}"
    with pytest.raises(UnknownSAE, match=r"no such folder\. Did you mean 'mine.toml'\?"):
        resolve("./mien.toml/topk-16", own)


def test_the_default_of_an_own_family_file_holds(own: Path) -> None:
    Path("mine.toml").write_text(f'default = ["topk-*"]\n{OWN}')
    assert names("./mine.toml", own) == ["local/mine.toml/topk-16", "local/mine.toml/topk-32"]
    Path("mine.toml").write_text(f'default = ["tpok-*"]\n{OWN}')
    with pytest.raises(UnknownSAE, match=r"has no SAE 'tpok-\*'\. Did you mean 'topk-32'"):
        resolve("./mine.toml", own)


def test_one_place_with_two_hooks_is_two_saes(own: Path) -> None:
    stanza = 'location = "x"\nhook = "blocks.{}.hook_resid_post"\n'
    Path("mine.toml").write_text(
        "".join(f"[sae.at-{i}]\n{stanza.format(i)}" for i in (1, 2)) + "[sae.again]\n" + stanza.format(2)
    )
    found = resolve("./mine.toml", own)
    assert [(spec.name.rpartition("/")[2], spec.hook) for spec in found] == [
        ("again", "blocks.2.hook_resid_post"), ("at-1", HOOK),
    ], "the third is another name of one of the two"  # fmt: skip


@pytest.mark.parametrize(
    "fact", ["context_size = 32", 'model = "other"', "prepend_bos = false", 'corpus = "other"', "centred = true"]
)
def test_one_place_with_two_facts_is_two_saes(own: Path, fact: str) -> None:
    Path("mine.toml").write_text(f'[sae.a]\nlocation = "x"\n[sae.b]\nlocation = "x"\n{fact}\n')
    assert len(resolve("./mine.toml", own)) == 2


def test_folders_of_one_name_are_several_saes_of_a_family(own: Path, tmp_path: Path) -> None:
    for i, run in enumerate(("seed-0", "seed-1")):
        make_sae_folder(tmp_path / "runs" / run / "final", seed=i)
    Path("all.toml").write_text('path = "runs/*/final"\ncontrols = ["seed-1*"]')
    found = resolve("./all.toml", own)
    assert [(spec.name, spec.control) for spec in found] == [
        ("local/all.toml/seed-0/final", False), ("local/all.toml/seed-1/final", True),
    ]  # fmt: skip


@pytest.mark.parametrize("mark", [codecs.BOM_UTF8, b""])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_byte_order_mark_does_no_harm(own: Path, mark: bytes, end: str) -> None:
    Path("mine.toml").write_bytes(mark + OWN.replace("\n", end).encode())
    assert len(resolve("./mine.toml", own)) == 3


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"])
def test_another_encoding_is_said(own: Path, encoding: str) -> None:
    mark = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}.get(encoding, b"")
    Path("mine.toml").write_bytes(mark + f"about = 'é'{OWN}".encode(encoding))
    said = "at byte 9" if encoding == "latin-1" else f"but {encoding[:6].upper()}"
    with pytest.raises(ValueError, match=rf"^mine.toml: not UTF-8,? {said}: save it as UTF-8$"):
        resolve("./mine.toml", own)


# Patterns that would not end


@pytest.mark.parametrize(
    "pattern", ["**/*/*/*/*/*/*/*", "*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*", "**", "**/**/**/x*"]
)
def test_a_pattern_of_a_family_ends(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str) -> None:
    monkeypatch.setattr("saebench.catalogue.local.MOST", 2000)
    wide = tmp_path / "wide"
    for i in range(12):
        for j in range(12):
            (wide / str(i) / str(j)).mkdir(parents=True)
            (wide / str(i) / str(j) / "loop").symlink_to(wide)
    Path("wide.toml").write_text(f'path = "wide/{pattern}"')
    begun = time.perf_counter()
    with pytest.raises(ValueError, match=r"looks through more than 2000|is not an SAE in a known format"):
        resolve("./wide.toml", own)
    with pytest.raises(
        ValueError, match=r"looks through more than 2000|no such folder|is not an SAE in a known format"
    ):
        resolve(f"./wide/{pattern}", own)
    assert time.perf_counter() - begun < 2


# Hooks

HOOK = "blocks.1.hook_resid_post"


def test_a_hook_may_stand_behind_a_name(own: Path) -> None:
    (spec,) = resolve(f"./x@{HOOK}", own)
    assert (spec.name, spec.hook) == (f"local/x@{HOOK}", HOOK)
    (control,) = resolve(f"./x@{HOOK}~pca", own)
    assert (control.name, control.hook, control.origin) == (f"local/x@{HOOK}~pca", HOOK, spec)
    first, second = resolve_all([f"./x@{HOOK}", "./x@hook_embed"], own)
    assert (first.digest, first.hook, second.hook) == (second.digest, HOOK, "hook_embed")
    assert names("./x@blocks.2.attn.hook_z", own) == ["local/x@blocks.2.attn.hook_z"]
    (known,) = resolve(f"./mine.toml/topk-16@{HOOK}", own)
    assert known.name == "local/mine.toml/topk-16", "what the file says as well is no other SAE"


@pytest.mark.parametrize("pattern", [f"hf:me/saes/a@v1@{HOOK}", f"hf:me/saes/a@{HOOK}@v1"])
def test_a_hook_and_a_revision_may_stand_in_any_order(pattern: str) -> None:
    (spec,) = resolve(pattern)
    assert (spec.name, spec.hook, spec.revision) == (f"hf:me/saes/a@v1@{HOOK}", HOOK, "v1")


def test_an_address_of_the_hub_has_one_name() -> None:
    assert [spec.name for spec in resolve_all(["hf:me/saes/a", "hf:me/saes/a/"])] == ["hf:me/saes/a"]


@pytest.mark.parametrize(
    ("hook", "guess"),
    [
        ("blocks.1.hook_resid_pots", HOOK), ("blocks.1.hook_resid", "blocks.1.hook_resid_"), ("blocks.3.attn.hook_zz", "blocks.3.attn.hook_z"),
        ("block.1.hook_resid_post", HOOK), ("hook_embde", "hook_embed"), ("blocks.1.mlp.hook_pots", "blocks.1.mlp.hook_post"),
        ("blocks.x.hook_resid_post", "hook_resid_post"), ("model.layers.1", ""), ("transformer.h.3.mlp", ""),
    ],
)  # fmt: skip
def test_a_misspelt_hook_gets_the_nearest_name(own: Path, hook: str, guess: str) -> None:
    with pytest.raises(UnknownSAE, match=rf"^--sae \./x@{hook}: .*{guess}") as caught:
        resolve(f"./x@{hook}", own)
    assert f"'{hook}'" in str(caught.value)


@pytest.mark.parametrize("pattern", [f"./x@{HOOK}@hook_embed", f"./x~pca@{HOOK}"])
def test_an_sae_has_one_hook_and_its_control_the_same(own: Path, pattern: str) -> None:
    with pytest.raises(UnknownSAE, match="one hook, and a control behind it"):
        resolve(pattern, own)


# SAEs that cannot be read


def test_one_that_cannot_be_read_does_not_hold_up_the_others(own: Path, tmp_path: Path) -> None:
    path = tmp_path / "y" / "sae_weights.safetensors"
    path.write_bytes(path.read_bytes()[:40])
    good, bad = resolve_all(["./x", "./y"], own)
    assert (good.loader, bad.loader, bad.name) == ("files", "unreadable", "local/y")
    for pattern in ("./[xy]", "./mine.toml"):
        assert "unreadable" in {spec.loader for spec in resolve(pattern, own)}
    with pytest.raises(ValueError, match=r"sae_weights\.safetensors is (damaged|not a safetensors file)"):
        load_sae(bad)
    with pytest.raises(ValueError, match=r"sae_weights\.safetensors is (damaged|not a safetensors file)"):
        resolve_all(["./y", "./y~pca"], own)
    with pytest.raises(UnknownSAE):
        resolve_all(["./x", "./z"], own)


def test_known_name_wins_over_a_folder_of_that_name(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    assert len(resolve("organism", root)) == 4


def test_two_folders_of_one_name_are_two_saes(root: Path, tmp_path: Path) -> None:
    paths = [make_sae_folder(tmp_path / run / "final", seed=ord(run)) for run in "ab"]
    assert [spec.name for spec in resolve_all(map(str, paths), root)] == [f"local/{path}" for path in paths]


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
        "import sys; from saebench.catalogue import registry\n"
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
    assert len(OFFERED) > 10
    for name in OFFERED:
        module, _, function = CONTROLS[name].made.partition(":")
        assert CONTROLS[name].trained or callable(getattr(import_module(f"saebench.making.{module}"), function))
    assert {name for name, control in CONTROLS.items() if control.random_model} == set(MODELS)
