"""Headers of weights that are cut, lie, or ask for more memory than there is: one sentence each."""

import json
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hostile
import psutil
import pytest
import torch
from hostile import (
    FORMATS,
    HOSTILE,
    LATENTS,
    D,
    arrays,
    entry,
    npy,
    place,
    safetensors,
)
from hostile_cases import FOUR, Told, check_sentence, ids, loaded

torch.set_num_threads(1)


def test_what_is_broken_below_is_whole_at_first(tmp_path: Path) -> None:
    for form, known in FORMATS.items():
        assert loaded(place(tmp_path / form / "mine", known.files(known.weights()))).spec.d_sae == LATENTS


SAFETENSORS: dict[str, Any] = {
    "nothing": b"",
    "text": b"<html>404</html>",
    "length of 2^63": safetensors(b"{}", length=2**63),
    "length of 2^64 - 1": safetensors(b"{}", length=2**64 - 1),
    "length of 100 MB": safetensors(b"{}", length=10**8),
    "cut off": hostile.saved(arrays())[:-5],
    "longer": hostile.saved(arrays()) + b"x",
    "header cut off": hostile.saved(arrays())[:100],
    "no JSON": safetensors(b"{"),
    "a list": safetensors(b"[]"),
    "null": safetensors(b"null"),
    "entry is text": safetensors({"W_enc": "x"}),
    "entry lacks a shape": safetensors({"W_enc": {"dtype": "F32", "data_offsets": [0, 4]}}, FOUR),
    "no arrays": safetensors({}),
    "nested lists": safetensors(b"[" * 500_000),
    "nested tables": safetensors(b'{"a":' * 100_000),
    "terabytes": safetensors({"W_enc": entry([10**6, 10**6], 0, 4 * 10**12)}),
    "10^400 numbers": safetensors({"W_enc": entry([10**400], 0, 4)}, FOUR),
    "10^400 integers": safetensors({"W_enc": entry([10**400], 0, 4, "I64")}, FOUR),
    "60000 dimensions of 1": safetensors({"W_enc": entry([1] * 60_000, 0, 4)}, FOUR),
    "5000 digits": safetensors(b'{"W_enc":{"dtype":"F32","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,4]}}', FOUR),
    "negative": safetensors({"W_enc": entry([-1], 0, 4)}, FOUR),
    "twice negative": safetensors({"W_enc": entry([-1, -1], 0, 4)}, FOUR),
    "infinite shape": safetensors({"W_enc": entry([float("inf")], 0, 4)}, FOUR),
    "NaN shape": safetensors({"W_enc": entry([float("nan")], 0, 4)}, FOUR),
    "infinite offset": safetensors({"W_enc": entry([1], 0, float("inf"))}, FOUR),
    "shape is text": safetensors({"W_enc": entry("1", 0, 4)}, FOUR),
    "overlapping": safetensors({"W_enc": entry([2], 0, 8), "W_dec": entry([2], 4, 12)}, bytes(12)),
    "hole": safetensors({"W_enc": entry([1], 4, 8)}, bytes(8)),
    "backwards": safetensors({"W_enc": entry([1], 4, 0)}, FOUR),
    "one name twice": safetensors(b'{"W_enc":%s,"W_enc":%s}' % ((json.dumps(entry([1], 0, 4)).encode(),) * 2), FOUR),
    "half a character": safetensors(b'{"\\ud800":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', FOUR),
    "dtype is a list": safetensors({"W_enc": entry([1], 0, 4, ["F32"])}, FOUR),
    **{f"dtype {name}": safetensors({"W_enc": entry([1], 0, 4, HOSTILE[name])}, FOUR) for name in HOSTILE},
    **{f"name {name}": safetensors({HOSTILE[name]: entry([1], 0, 4, "I32")}, FOUR) for name in HOSTILE},
}


@ids(SAFETENSORS)
def test_header_of_safetensors(tmp_path: Path, told: Told, case: bytes) -> None:
    told(lambda: loaded(place(tmp_path, {"x.safetensors": case})), "x.safetensors", seconds=2)


def member(*arguments: Any, **more: Any) -> bytes:
    return hostile.archive([("W_enc.npy", npy(*arguments, **more))])


NPZ: dict[str, Any] = {
    "nothing": b"",
    "text": b"<html>404</html>",
    "no members": hostile.archive([]),
    "cut off": hostile.npz(arrays())[:-50],
    "member is empty": hostile.archive([("W_enc.npy", b"")]),
    "member is text": hostile.archive([("W_enc.npy", b"hello")]),
    "terabytes": member((10**6, 10**6)),
    "10^400 numbers": member((10**400,)),
    "negative": member((-1, 4)),
    "twice negative": member((-2, -2), data=bytes(16)),
    "true": member((True,), data=FOUR),
    "objects": member((1,), "|O", hostile.raw_pickle([1])),
    "structure": member((1,), [("a", "<f4")], FOUR),
    "nested (": member(0, header="(" * 9000),
    "nested [": member(0, header="[" * 150),
    "nested -": member(0, header="-" * 9000 + "1"),
    "text without end": member(0, header="{'descr': '''"),
    "Python 2": member(0, header="{'descr': '<f4', 'fortran_order': False, 'shape': (1L,), }", data=FOUR),
    "big-endian": hostile.npz({**arrays(), "W_enc": arrays()["W_enc"].numpy().astype(">f4")}),
    "long double": hostile.npz({**arrays(), "W_enc": arrays()["W_enc"].numpy().astype("longdouble")}),
    "version 9": hostile.archive([("W_enc.npy", b"\x93NUMPY\x09\x09" + bytes(100))]),
    "header of 4 GB": hostile.archive([("W_enc.npy", b"\x93NUMPY\x02\x00" + b"\xff" * 4 + bytes(100))]),
    "directory says terabytes": hostile.archive([("W_enc.npy", npy((10**6, 10**6)))], says=4 * 10**12 + 128),
    "path out of the archive": hostile.archive([("../../W_enc.npy", b"x")]),
    **{f"name {name}": hostile.archive([(f"{HOSTILE[name]}.npy", b"x")]) for name in HOSTILE if name != "half"},
}


@ids(NPZ)
def test_header_of_npz(tmp_path: Path, told: Told, case: bytes) -> None:
    told(lambda: loaded(place(tmp_path, {"x.npz": case})), "x.npz", seconds=2)


PT: dict[str, Any] = {
    "nothing": b"",
    "text": b"<html>404</html>",
    "a pickle": hostile.raw_pickle({"W_enc": [1]}),
    "before 1.6": hostile.old_checkpoint(arrays()),
    "cut off": hostile.checkpoint(arrays())[:-200],
    "another archive": hostile.archive([("a.txt", b"x")]),
    "pickle is empty": hostile.archive([("a/data.pkl", b""), ("a/version", b"3\n")]),
    "pickle is cut off": hostile.archive([("a/data.pkl", b"\x80\x02]q\x00("), ("a/version", b"3\n")]),
    "nested pickle": hostile.archive([("a/data.pkl", b"\x80\x02" + b"(" * 99_999 + b"t" * 99_999 + b".")]),
    "directory says terabytes": hostile.archive([("a/data.pkl", b"x")], says=4 * 10**12),
    "a list": hostile.checkpoint([torch.ones(1)]),
    "nested": hostile.checkpoint({"state_dict": arrays()}),
    "names are numbers": hostile.checkpoint({1: torch.ones(1)}),
    "a module": hostile.checkpoint(torch.nn.Linear(2, 2)),
    "stretched to 4 TB": hostile.checkpoint(arrays(W_enc=hostile.stretched(10**6, 10**6))),
    "without numbers": hostile.checkpoint(arrays(W_enc=torch.empty(D, LATENTS, device="meta"))),
    "sparse": hostile.checkpoint(arrays(W_enc=arrays()["W_enc"].to_sparse())),
    **{f"name {name}": hostile.checkpoint({HOSTILE[name]: torch.ones(1)}) for name in HOSTILE if name != "half"},
}


@ids(PT)
def test_header_of_pt(tmp_path: Path, told: Told, case: bytes) -> None:
    told(lambda: loaded(place(tmp_path, {"x.pt": case})), "x.pt")


def test_archive_of_20000_arrays(tmp_path: Path, told: Told) -> None:
    content = hostile.archive([(f"{i}.npy", npy((1,), data=FOUR)) for i in range(20_000)])
    told(lambda: loaded(place(tmp_path, {"x.npz": content})), "x.npz", "20000", seconds=2)


def test_checkpoint_that_unpacks_to_more_than_it_is(tmp_path: Path, told: Told) -> None:
    content = hostile.archive([("a/data.pkl", bytes(20_000_000))], zipfile.ZIP_DEFLATED)
    told(lambda: loaded(place(tmp_path, {"x.pt": content})), "x.pt", "compressed")


def test_tensors_that_are_larger_than_their_file(tmp_path: Path, told: Told) -> None:
    n = 10**8
    weights = {"W_enc": (D, n), "W_dec": (n, D), "b_enc": (n,), "b_dec": (D,)}
    content = hostile.checkpoint({name: hostile.stretched(*shape) for name, shape in weights.items()})
    assert len(content) < 10_000
    told(lambda: loaded(place(tmp_path, {"x.pt": content})), "x.pt", "W_enc")


def test_archive_that_unpacks_to_more_than_the_memory(
    tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = place(tmp_path, {"x.npz": hostile.npz({"W_enc": torch.zeros(5000, 5000)}, compressed=True)})
    assert path.stat().st_size < 200_000
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=50_000_000))
    told(lambda: loaded(path), "x.npz says that it holds 0.1 GB, and 0.05 GB of memory are free")


@pytest.mark.parametrize("kind", ["safetensors", "npz", "compressed npz", "pt"])
def test_no_changed_bit_ends_in_more_than_a_sentence(tmp_path: Path, kind: str) -> None:
    whole = {
        "safetensors": hostile.saved, "npz": hostile.npz, "compressed npz": lambda w: hostile.npz(w, compressed=True),
        "pt": hostile.checkpoint,
    }[kind](arrays())  # fmt: skip
    path = tmp_path / f"x.{kind.rpartition(' ')[2]}"
    places = torch.randperm(len(whole), generator=torch.Generator().manual_seed(0))[:50]
    nameless = list[str]()
    for at in [*range(0, 200, 5), *range(len(whole) - 200, len(whole), 5), *places.tolist()]:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            loaded(path)
        except (ValueError, OSError) as error:
            check_sentence(str(error))
            nameless += [str(error)] if path.name not in str(error) else []
    assert not nameless, "sentences that do not name the file"
