"""What an editor puts first into a file of text is no part of it; another encoding is said in one sentence."""

import codecs
from pathlib import Path

import pytest
from factories import make_sae_folder

from saebench.catalogue.registry import resolve
from saebench.compare.settings import read_settings
from saebench.evidence.words.concepts import load_concepts
from saebench.hub.texts import FileSource
from saebench.record.plain_text import read_text

CONCEPTS = 'template = "{word} is: {concept}"\n[concepts]\nanimal = ["snake", "dog"]\n'
SETTINGS = '[tool.saebench.tolerances]\n"reconstruction.*" = 0.5\n'


def marked(path: Path, text: str, mark: bytes = codecs.BOM_UTF8) -> Path:
    path.write_bytes(mark + text.encode())
    return path


def test_a_concept_set_may_begin_with_a_mark(tmp_path: Path) -> None:
    assert load_concepts(str(marked(tmp_path / "x.toml", CONCEPTS))).concepts == ("animal",)


def test_a_projects_settings_may_begin_with_a_mark(tmp_path: Path) -> None:
    marked(tmp_path / "pyproject.toml", SETTINGS)
    assert read_settings(tmp_path).tolerances == {"reconstruction.*": 0.5}


def test_texts_may_begin_with_a_mark(tmp_path: Path) -> None:
    assert FileSource(marked(tmp_path / "x.jsonl", '{"text": "one"}\n')).texts() == ["one"]
    assert FileSource(marked(tmp_path / "x.txt", "one\n\ntwo")).texts() == ["one", "two"]


def test_a_configuration_may_begin_with_a_mark(tmp_path: Path) -> None:
    config = make_sae_folder(tmp_path / "x") / "cfg.json"
    marked(config, config.read_text())
    assert resolve(str(tmp_path / "x"))[0].hook == "blocks.2"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_another_encoding_is_said(tmp_path: Path, encoding: str) -> None:
    for name, text, read in (
        ("x.toml", CONCEPTS, lambda path: load_concepts(str(path))),
        ("pyproject.toml", SETTINGS, lambda path: read_settings(path.parent)),
        ("x.txt", "one", lambda path: FileSource(path).texts()),
    ):
        (tmp_path / name).write_bytes(text.encode(encoding))
        with pytest.raises(ValueError, match=f"{name}: not UTF-8 but {encoding.upper()}: save it as UTF-8$"):
            read(tmp_path / name)


def test_a_text_that_is_no_utf_8_is_said_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes("süß".encode("latin-1"))
    with pytest.raises(ValueError, match=r"x\.txt: not UTF-8, at byte 1: save it as UTF-8$"):
        read_text(tmp_path / "x.txt")
