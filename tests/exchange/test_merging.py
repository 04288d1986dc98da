"""Files of several machines become one, or one sentence says why not; then nothing is written."""

from pathlib import Path

import pytest
from factories import make_score

from saebench.cli import main
from saebench.record.store import Store


def write(path: Path, *scores, items=None) -> Path:
    for score in scores:
        Store(path).append(score, items)
    return path


def merged(out: Path, *paths: Path) -> int:
    return main(["merge", *map(str, paths), "--to", str(out)])


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "new" / "out.jsonl"


def refused(out: Path, capsys, *paths: Path) -> str:
    """The sentence that a refused merge ends with."""
    before = out.read_bytes() if out.exists() else None
    assert merged(out, *paths) == 4
    assert (out.read_bytes() if out.exists() else None) == before
    assert before is not None or not out.parent.exists() or not list(out.parent.glob("out*"))
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_three_machines_with_items(tmp_path: Path, out: Path, capsys):
    saes = ["zoo/a", "zoo/b", "動物園/α\u2028β"]
    paths = [write(tmp_path / f"{i}.jsonl", make_score(sae=sae), items={"x": [float(i)]}) for i, sae in enumerate(saes)]
    assert merged(out, *paths) == 0
    assert capsys.readouterr().out == f"{out}: 3 scores of 3 SAEs, 0 of them in several files\n"
    store = Store(out)
    assert [score.sae for score in store.read()] == saes
    assert [store.load_items(score)["x"].tolist() for score in store.read()] == [[0.0], [1.0], [2.0]]


def test_a_file_with_itself_is_itself(tmp_path: Path, capsys):
    path = write(tmp_path / "a.jsonl", make_score(), make_score(property="x.y", unscored="none"), items={"x": [1.0]})
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.suffix in (".jsonl", ".npz")}
    assert merged(path, path, path) == 0
    assert "2 scores of 1 SAEs, 2 of them in several files" in capsys.readouterr().out
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.suffix in (".jsonl", ".npz")} == before


def test_a_second_merge_changes_nothing(tmp_path: Path, out: Path):
    a = write(tmp_path / "a.jsonl", make_score(), make_score(sae="zoo/b"))
    b = write(tmp_path / "b.jsonl", make_score(sae="zoo/c"), make_score())
    assert merged(out, a, b) == 0
    once = out.read_bytes()
    assert merged(out, out, a, b) == 0
    assert out.read_bytes() == once


def test_equal_measurements_stand_once_and_the_newest_does(tmp_path: Path, out: Path):
    old = write(tmp_path / "a.jsonl", make_score(), items={"old": [1.0]})
    new = make_score(value=0.412 + 1e-5, created="2026-02-01T00:00:00Z")
    new_path = write(tmp_path / "b.jsonl", new, items={"new": [1.0]})
    for paths in ((old, new_path), (new_path, old)):
        assert merged(out, *paths) == 0
        (score,) = Store(out).read()
        assert score.value == new.value
        assert list(Store(out).load_items(score)) == ["new"]
        assert len(list(out.with_name("out.items").iterdir())) == 1


def test_within_one_file_the_last_line_stands(tmp_path: Path, out: Path, capsys):
    path = write(tmp_path / "a.jsonl", make_score(value=0.1), make_score(value=0.9))
    retrained = make_score(sae="zoo/b", property="x.y", sae_digest="new", created="2026-02-01T00:00:00Z")
    write(path, make_score(sae="zoo/b"), retrained)
    assert merged(out, path) == 0
    assert [(s.sae, s.value, s.sae_digest) for s in Store(out).read()] == [
        ("mine/topk", 0.9, "digest of mine/topk"), ("zoo/b", 0.412, "new"),
    ]  # fmt: skip
    assert "1 scores of earlier weights are left out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"value": 0.5}, "absorption.suppression_ratio[mine/topk] is 0.412 in the one and 0.5 in the other"),
        ({"unscored": "no letters"}, "is 0.412 in the one and no letters in the other"),
        ({"value": 0.413}, "is 0.412 in the one and 0.413 in the other"),
        ({"sae_digest": "f" * 64}, "SAE mine/topk has digest digest of mi in the one and ffffffffffff in the other"),
        ({"model_digest": "f" * 64}, "has digest mmmmmmmmmmmm in the one and ffffffffffff in the other"),
        ({"model_digest": "centred " + "m" * 64}, "model organism under SAE mine/topk has digest"),
        ({"sae": "x/y", "model_digest": "centred " + "n" * 64}, "model organism has digest mmmmmmmmmmmm in the one"),
    ],
)
def test_conflicts_name_both_lines(tmp_path: Path, out: Path, capsys, change, said):
    a = write(tmp_path / "a.jsonl", make_score(property="x.y", sae="zoo/a"), make_score())
    b = write(tmp_path / "b.jsonl", make_score(sae="zoo/b"), make_score(**change))
    error = refused(out, capsys, a, b)
    assert str(b) + ", line 2" in error
    assert str(a) + ", line" in error
    assert said in error


def test_the_third_file_contradicts(tmp_path: Path, out: Path, capsys):
    paths = [write(tmp_path / f"{name}.jsonl", make_score(value=v)) for name, v in (("a", 0.4), ("b", 0.4), ("c", 0.6))]
    write(out, make_score(sae="what/was/there"))
    error = refused(out, capsys, *paths)
    assert f"{paths[0]}, line 1 and {paths[2]}, line 1 contradict each other" in error


def test_a_model_with_and_without_centring_is_one_model(tmp_path: Path, out: Path):
    a = write(tmp_path / "a.jsonl", make_score())
    b = write(tmp_path / "b.jsonl", make_score(sae="zoo/b", model_digest="centred " + "m" * 64))
    assert merged(out, a, b) == 0


def test_timings_never_conflict(tmp_path: Path, out: Path):
    same = {"property": "throughput.encode", "params": {"machine": "x86_64, 2 threads"}}
    a = write(tmp_path / "a.jsonl", make_score(**same, value=0.2))
    b = write(tmp_path / "b.jsonl", make_score(**same, value=0.9, created="2026-02-01T00:00:00Z"))
    assert merged(out, b, a) == 0
    assert [score.value for score in Store(out).read()] == [0.9]


def test_repetitions_and_versions_are_kept_apart(tmp_path: Path, out: Path, capsys):
    a = write(tmp_path / "a.jsonl", make_score(), make_score(seed=1, value=0.5))
    b = write(tmp_path / "b.jsonl", make_score(seed=2, value=0.6), make_score(version=2, value=0.7))
    assert merged(out, a, b) == 0
    assert [(s.seed, s.version) for s in Store(out).read()] == [(0, 1), (1, 1), (2, 1), (0, 2)]
    assert "absorption.suppression_ratio has versions 1 and 2, which stand in columns" in capsys.readouterr().out


def test_mixed_schemas_are_refused(tmp_path: Path, out: Path, capsys):
    a = write(tmp_path / "a.jsonl", make_score())
    b = write(tmp_path / "b.jsonl", make_score())
    b.write_text(b.read_text() + make_score(sae="x/y").to_line().replace('"schema":1', '"schema":2') + "\n")
    assert f"{a}, line 1 has schema 1 and {b}, line 2 has schema 2" in refused(out, capsys, a, b)
    b.write_text("[1]\n" + make_score().to_line())
    assert f"{b}, line 1 is not a score" in refused(out, capsys, a, b)


def test_torn_files(tmp_path: Path, out: Path, capsys):
    a = write(tmp_path / "a.jsonl", make_score(), make_score(sae="zoo/b"))
    whole = a.read_bytes()
    a.write_bytes(whole[:-20])
    assert merged(out, a) == 0
    assert [score.sae for score in Store(out).read()] == ["mine/topk"]
    a.write_bytes(whole[20:])
    assert f"{a}, line 1 is not a score" in refused(out, capsys, a)


@pytest.mark.parametrize("harm", ["folder", "missing", "damaged", "changed"])
def test_items_that_are_not_there_stop_it(tmp_path: Path, out: Path, capsys, harm):
    a = write(tmp_path / "a.jsonl", make_score(), items={"x": [1.0]})
    b = write(tmp_path / "b.jsonl", make_score(sae="zoo/b"), items={"x": [2.0]})
    (path,) = (tmp_path / "b.items").iterdir()
    if harm in ("folder", "missing"):
        path.unlink()
    if harm == "folder":
        path.parent.rmdir()
    if harm == "damaged":
        path.write_bytes(path.read_bytes()[:50])
    if harm == "changed":
        path.write_bytes(next((tmp_path / "a.items").iterdir()).read_bytes())
    assert str(path) in refused(out, capsys, a, b)


def test_empty_missing_and_unwritable(tmp_path: Path, out: Path, capsys):
    a = write(tmp_path / "a.jsonl", make_score())
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    assert f"{empty} holds no scores" in refused(out, capsys, a, empty)
    assert "aa.jsonl: no such file of scores. Did you mean" in refused(out, capsys, a, tmp_path / "aa.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    assert merged(tmp_path / "folder.jsonl", a) == 4
    assert merged(a / "below.jsonl", a) == 4
    assert merged(tmp_path / "a", a) == 4
    assert merged(tmp_path / "folder.jsonl" / "c.jsonl", tmp_path) == 4


def test_a_target_that_cannot_be_written_keeps_what_it_had(tmp_path: Path, out: Path, capsys, monkeypatch):
    a = write(tmp_path / "a.jsonl", make_score(), items={"x": [1.0]})
    write(out, make_score(sae="what/was/there"))
    before = out.read_bytes()

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert merged(out, a) == 4
    assert out.read_bytes() == before
    assert "out.jsonl cannot be written: No space left on device" in capsys.readouterr().err
    assert not list(out.parent.rglob("*.tmp"))


def test_items_that_many_scores_share_are_copied_once(tmp_path: Path, out: Path, monkeypatch):
    import saebench.record.store as module

    paths = [write(tmp_path / f"{i}.jsonl", make_score(sae=f"zoo/{i}"), items={"x": [1.0]}) for i in range(3)]
    written: list[Path] = []
    real = module.write_atomically
    monkeypatch.setattr(
        module, "write_atomically", lambda path, *rest, **how: (written.append(path), real(path, *rest, **how))
    )
    assert merged(out, *paths) == 0
    assert [path.suffix for path in written] == [".npz", ".jsonl"]
    assert all(Store(out).load_items(score)["x"] == [1.0] for score in Store(out).read())


def test_damaged_items_are_found_in_each_file_that_has_them(tmp_path: Path, out: Path, capsys):
    paths = [write(tmp_path / f"{i}.jsonl", make_score(sae=f"zoo/{i}"), items={"x": [1.0]}) for i in range(2)]
    (damaged,) = (tmp_path / "1.items").glob("*.npz")
    damaged.write_bytes(b"torn")
    assert "1.items" in refused(out, capsys, *paths)
