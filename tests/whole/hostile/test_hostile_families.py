"""Family files that stray, explode, run code or say what cannot be."""

import json
from pathlib import Path

import hostile
import pytest
import torch
from hostile import (
    HOSTILE,
    UNSHOWABLE,
    limited,
)
from hostile_cases import REPO, Told, check_sentence, family, ids, named, suite

from saebench.catalogue.registry import resolve
from saebench.saes.loaders import load_sae

torch.set_num_threads(1)

QUOTED = {name: json.dumps(text) for name, text in HOSTILE.items() if name != "half"}
"""As TOML writes them, which has no half characters."""


def release(pattern: str, sae_id: str = "{x...}") -> str:
    return f'[[suite]]\nname = "x"\nrelease = "{pattern}"\nid = "{sae_id}"\n'


ONE = 'values = { a = ["1"] }'


TEN = "[" + ", ".join(f'"{i}"' for i in range(10)) + "]"


BILLIONS = "{ a = ['1'], " + ", ".join(f"v{i} = {TEN}" for i in range(40)) + " }"


THOUSANDS = "{ a = ['1'], " + ", ".join(f"v{i} = {TEN}" for i in range(4)) + " }"


MANY = "".join(suite(f"values = {THOUSANDS}", f'"x{i}-{{v0}}-{{v1}}-{{v2}}-{{v3}}"') for i in range(40))


TOUCHING, FEW = ("".join(f"{{k{i}...}}" for i in range(many)) for many in (12, 5))


LOOKUPS = {
    "two keys": '{ a = { 1 = "x" }, b = {} }', "no key": "{}", "to text": '{ a = "x" }', "to a list": '{ a = ["x"] }',
    "list at the end": '{ a = { 1 = ["x"] } }', "no table": '["x"]', "a date": "1979-05-27",
}  # fmt: skip


FAMILIES: dict[str, str] = {
    "not TOML": "x =",
    "not UTF-8": "\udcff",
    "nested": "a = " + "[" * 100_000,
    "nested tables": "a = " + "{b=" * 50_000,
    "5000 digits": "context_size = " + "9" * 5000,
    **{f"unknown key {name}": f"{QUOTED[name]} = 1" for name in QUOTED},
    **{f"unknown key of an SAE {name}": f'[sae.a]\n{QUOTED[name]} = "x"' for name in QUOTED},
    **{f"unknown key of a suite {name}": f"{suite(ONE)}{QUOTED[name]} = 1" for name in QUOTED},
    **{f"SAE without a place {name}": f'[sae.{QUOTED[name]}]\nrepo = "a/b"' for name in QUOTED},
    **{f"SAE {name}": f"[sae.{QUOTED[name]}]{REPO}" for name in QUOTED},
    **{f"value {name}": f"{suite(f'values = {{ a = [{QUOTED[name]}] }}')}" for name in QUOTED},
    **{f"SAE {name!r}": f'[sae."{name}"]{REPO}' for name in ("../../x", "a/../b", "..", "", "é", "a b")},
    **{f"model {name}": f"[sae.a]{REPO}model = {QUOTED[name]}" for name in UNSHOWABLE if name != "half"},
    **{f"hook {name}": f"[sae.a]{REPO}hook = {QUOTED[name]}" for name in UNSHOWABLE if name != "half"},
    **{f"corpus {name}": f"[sae.a]{REPO}corpus = {QUOTED[name]}" for name in UNSHOWABLE if name != "half"},
    "path upwards": 'path = "../*"',
    "path upwards below": 'path = "a/../../*"',
    "path from the root": 'path = "/etc/*"',
    "path that is no pattern": 'path = "a**"',
    "location upwards": '[sae.a]\nlocation = "../outside"',
    "location from the root": '[sae.a]\nlocation = "/etc"',
    "location in a repository upwards": '[sae.a]\nrepo = "a/b"\nformat = "gemma_2"\nlocation = "../../c"',
    **{f"location {name}": f"[sae.a]\nlocation = {QUOTED[name]}" for name in ("line", "ansi", "nul", "bidi")},
    "location that is not there": '[sae.a]\nlocation = "nope"',
    "unknown format": '[sae.a]\nlocation = "c"\nrepo = "a/b"\nformat = "nope"',
    "unknown format with a loader": '[sae.a]\nlocation = "c"\nrepo = "a/b"\nformat = "nope"\nloader = "files"',
    **{f"loader {name}": f'[sae.a]\nlocation = "c"\nloader = "{name}"' for name in ("nope", "..os", "control", "build")},
    "negative context": '[sae.a]\nlocation = "here"\ncontext_size = -5',
    "control is a number": 'path = "*"\ncontrols = [1]',
    "suite is a number": "suite = 5",
    "suite is a list of numbers": "suite = [1]",
    "SAEs are a list": "sae = [1]",
    "billions of values": suite(f"values = {BILLIONS}"),
    "2^20000 values": suite("values = { a = ['1'], " + ", ".join(f"v{i} = ['1','2']" for i in range(20_000)) + " }"),
    "forty suites of 10000": MANY,
    "values are text": suite('values = { a = "123" }'),
    "values are a number": suite("values = { a = 5 }"),
    "values are a table": suite("values = { a = { b = 1 } }"),
    "value is a list": suite('values = { a = [["x"]] }'),
    "no values": suite(""),
    **{f"placeholder {p}": suite(ONE, f'"x-{p}"') for p in ("{0}", "{missing}", "{a...}", "{__class__}", "{x.__class__}")},
    **{f"placeholder {p} in a hook": suite(f'{ONE}\nhook = "{p}"') for p in ("{0}", "{missing}", "{__class__}")},
    **{f"placeholder {p} in a path": suite(ONE, where=f'repo = "a/b"\npath = "{p}"\nformat = "gemma_2"') for p in ("{0}", "{b}")},
    **{f"hook looked up: {how}": suite(f"{ONE}\nhook = {LOOKUPS[how]}") for how in LOOKUPS},
    **{f"d_in looked up: {how}": suite(f"{ONE}\nd_in = {LOOKUPS[how]}") for how in LOOKUPS},
    **{f"name looked up: {how}": suite(ONE, LOOKUPS[how]) for how in LOOKUPS if how != "a date"},
    "hook is a number": suite(f"{ONE}\nhook = 5"),
    "width is text": suite(f'{ONE}\nd_in = "x"'),
    "BOS is text": suite(f'{ONE}\nprepend_bos = "{{a}}"'),
    "width of 2^10^15": suite(f'{ONE}\nd_sae = "2pow999999999999999"'),
    "width of 5000 digits": suite(f'{ONE}\nd_sae = "{"9" * 5000}"'),
    "release with a number": release("{5}"),
    "release with a name that begins with a number": release("{1x}"),
    "release that takes years": release(f"{TOUCHING}!"),
    "id that takes years": release("{r...}", f"{TOUCHING}!"),
    "release that takes minutes": release(f"{FEW}!"),
    "id that takes minutes": release("{r...}", f"{FEW}!"),
    "unknown format of a suite": suite(ONE, where='repo = "a/b"\npath = "p"\nformat = "no\\npe"'),
}  # fmt: skip


@ids(FAMILIES)
def test_family_file(tmp_path: Path, told: Told, case: str) -> None:
    path = family(tmp_path, case)
    told(lambda: named(str(path)), "evil", seconds=3)


@ids({
    "repository upwards": 'repo = "../b"', "repository further upwards": 'repo = "../../b"', "from the root": 'repo = "/a/b"',
    "line": 'repo = "a/b\\n"', "revision upwards": 'repo = "a/b"\nrevision = "../../c"',
    "revision nul": 'repo = "a/b"\nrevision = "a\\u0000"', "revision line": 'repo = "a/b"\nrevision = "a\\nb"',
})  # fmt: skip
def test_repository_of_a_family_file(tmp_path: Path, told: Told, case: str) -> None:
    told(lambda: named(str(family(tmp_path, f'[sae.a]\nformat = "gemma_2"\nlocation = "c"\n{case}'))))


@pytest.mark.parametrize("name", ["line", "ansi", "bidi", "invisible", "html", "table", "code"])
def test_name_of_a_family_file(tmp_path: Path, told: Told, name: str) -> None:
    told(lambda: named(str(family(tmp_path, f"[sae.a]{REPO}", f"{HOSTILE[name]}.toml".replace("/", "_")))))


@pytest.mark.parametrize(
    "template", ["{a.__class__}", "{a!r}", "{a[0]}", "{a:>99999999999}", "{}", "{{a}}", "%s", "{a"]
)
def test_templates_reach_nothing_but_values(tmp_path: Path, template: str) -> None:
    where = f'repo = "a/b"\npath = "p/{template}"\nformat = "gemma_2"'
    with limited():
        try:
            (spec,) = named(str(family(tmp_path, suite(f'{ONE}\nhook = "{template}"', where=where))))
        except ValueError as error:
            check_sentence(str(error))
        else:
            expected = template.replace("{a}", "1")
            assert (spec.location, spec.hook) == (f"p/{expected}", expected)


def test_family_file_runs_no_code(tmp_path: Path, told: Told) -> None:
    Path("evil_module.py").write_bytes(hostile.script(tmp_path / "ran") + b"def make(): pass\n")
    path = family(tmp_path, '[sae.a]\nlocation = "evil_module:make"\nloader = "python"')
    told(lambda: load_sae(resolve(str(path))[0]), "evil.toml")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("key", ["path", "location"])
def test_link_out_of_a_family(tmp_path: Path, key: str) -> None:
    """What it leads to is read as any SAE is, and nothing else happens."""
    text = 'path = "link*"' if key == "path" else '[sae.a]\nlocation = "link"'
    path = family(tmp_path, text)
    (path.parent / "link").symlink_to("/etc")
    with pytest.raises(ValueError, match="is not an SAE in a known format"):
        named(str(path))
