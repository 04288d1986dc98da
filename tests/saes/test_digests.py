"""A digest changes with whatever changes the SAE, wherever it lives, and stays where nothing did."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import planted
import pytest
import torch

from saebench.catalogue.registry import resolve
from saebench.saes.behaviour import behaviour
from saebench.saes.digests import digest_of
from saebench.saes.loaders import load_sae
from saebench.saes.sae import LoadedSAE

TOP = """
import os, sys, functools
from dataclasses import dataclass, field
from pathlib import Path
import numpy as np, scipy.sparse, torch
HERE = Path(__file__).parent
def stored():
    return np.load(HERE / "ckpt.npz")
def tensor():
    return torch.from_numpy(stored()["W"])
class Base:
    def encode(self, x): return (x @ self.weights()).relu()
    def decode(self, latents): return latents @ self.weights().T
    def weights(self): return torch.as_tensor(np.asarray(self.held()))
"""
PLACES = {
    "numpy in a dictionary": """
class Mine(Base):
    def __init__(self): self.p = dict(stored())
    def held(self): return self.p["W"]
""",
    "an open archive": """
class Mine(Base):
    def __init__(self): self.p = stored()
    def held(self): return self.p["W"]
""",
    "a class attribute": """
class Mine(Base):
    W = tensor()
    def held(self): return self.W
""",
    "a base class's attribute": """
class Under(Base):
    W = stored()["W"]
class Mine(Under):
    def held(self): return self.W
""",
    "slots": """
class Slotted:
    __slots__ = ("W", "__hidden")
class Mine(Base):
    __slots__ = ("inner",)
    def __init__(self): self.inner = Slotted(); self.inner.W = tensor()
    def held(self): return self.inner.W
""",
    "a global": """
W = tensor()
class Mine(Base):
    def held(self): return W
""",
    "a property of a global": """
W = stored()["W"]
class Mine(Base):
    @property
    def W_enc(self): return W
    def held(self): return self.W_enc
""",
    "a global in a comprehension": """
W = tensor()
class Mine(Base):
    def held(self): return [row for row in [W]][0]
""",
    "scipy": """
class Mine(Base):
    def __init__(self): self.W = scipy.sparse.csr_matrix(stored()["W"])
    def held(self): return self.W.toarray()
""",
    "bytes": """
class Mine(Base):
    d_in = 6
    def __init__(self): self.W = stored()["W"].tobytes()
    def held(self): return np.frombuffer(self.W, dtype=np.float32).reshape(6, 10).copy()
""",
    "a memoryview": """
class Mine(Base):
    d_in = 6
    def __init__(self): self.W = memoryview(bytearray(stored()["W"].tobytes()))
    def held(self): return np.frombuffer(self.W, dtype=np.float32).reshape(6, 10)
""",
    "numpy scalars": """
class Mine(Base):
    d_in = 6
    def __init__(self): self.W = [[number for number in row] for row in stored()["W"]]
    def held(self): return np.array(self.W)
""",
    "a set": """
class Mine(Base):
    d_in = 6
    def __init__(self): self.W = {(i, float(v)) for i, v in enumerate(stored()["W"].ravel())}
    def held(self): return np.array([v for _, v in sorted(self.W)], dtype=np.float32).reshape(6, 10)
""",
    "an array of objects": """
class Mine(Base):
    d_in = 6
    def __init__(self): self.W = np.array([row for row in stored()["W"]] + [None], dtype=object)
    def held(self): return np.stack(self.W[:-1])
""",
    "a frozen dataclass": """
@dataclass(frozen=True)
class Mine(Base):
    W: np.ndarray = field(default_factory=lambda: stored()["W"], compare=False)
    def held(self): return self.W
""",
    "a buffer that is not saved": """
class Mine(torch.nn.Module):
    encode, decode, weights = Base.encode, Base.decode, Base.weights
    def __init__(self):
        super().__init__()
        self.register_buffer("W", tensor(), persistent=False)
    def held(self): return self.W
""",
    "a closure": """
class Mine(Base):
    def __init__(self):
        W = tensor()
        self.held = lambda: W
""",
    "a partial": """
class Mine(Base):
    def __init__(self): self.held = functools.partial(lambda W: W, tensor())
""",
    "a default": """
class Mine(Base):
    def held(self, W=tensor()): return W
""",
    "a cached function": """
@functools.cache
def read(): return W
W = tensor()
class Mine(Base):
    def held(self): return read()
""",
    "read at the first encode": """
class Mine(Base):
    W = None
    d_in = 6
    def held(self):
        if self.W is None: self.W = tensor()
        return self.W
""",
    "read at every encode": """
class Mine(Base):
    d_in = 6
    def held(self): return stored()["W"]
""",
    "another object's attribute": """
class Deep: pass
class Mine(Base):
    def __init__(self): self.a = Deep(); self.a.b = [Deep()]; self.a.b[0].W = stored()["W"]
    def held(self): return self.a.b[0].W
""",
    "a helper module": """
import my_helper
class Mine(Base):
    d_in = 6
    def held(self): return my_helper.W
""",
    "a helper module's function": """
class Mine(Base):
    d_in = 6
    def held(self):
        from my_helper import held
        return held()
""",
}
HELPER = "import numpy as np\nfrom pathlib import Path\nW = np.load(Path(__file__).parent / 'ckpt.npz')['W']\ndef held(): return W\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return tmp_path


def save(folder: Path, change: float = 0.0) -> None:
    weights = np.random.default_rng(0).normal(size=(6, 10)).astype(np.float32)
    weights[2, 3] += change
    np.savez(folder / "ckpt.npz", W=weights)


def load(folder: Path, code: str, helper: str = HELPER) -> LoadedSAE:
    for name, text in (("my_saes", code), ("my_helper", helper)):
        sys.modules.pop(name, None)
        (folder / f"{name}.py").write_text(text)
    (spec,) = resolve("my_saes:Mine")
    return load_sae(spec)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("change", [1e-2, 3.0])
def test_weights_are_seen_wherever_they_live(folder: Path, place: str, change: float) -> None:
    digests = []
    for changed in (0.0, 0.0, change):
        save(folder, changed)
        digests.append(load(folder, TOP + PLACES[place]).digest)
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


USING = """
import my_helper, os
from my_helper import Base
import torch
W = torch.ones(6, 10)
class Mine(Base):
    d_in = 6
    def encode(self, x): return my_helper.encode(x @ W) * float(os.environ.get("MY_SCALE", 1))
    def decode(self, latents): return self.back(latents)
"""
BASE = """
class Base:
    def back(self, latents): return latents @ latents.new_ones(10, 6)
def encode(x): return x.relu()
"""


@pytest.mark.parametrize(
    ("old", "new"), [("x.relu()", "x.abs()"), ("new_ones", "new_zeros"), ("x.relu()", "(x).relu()")]
)
def test_code_of_a_helper_and_of_a_base_class_elsewhere_is_seen(folder: Path, old: str, new: str) -> None:
    assert load(folder, USING, BASE).digest == load(folder, USING, BASE).digest
    assert load(folder, USING, BASE).digest != load(folder, USING, BASE.replace(old, new)).digest


def test_the_environment_is_seen_where_it_matters(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(folder, USING, BASE).digest
    monkeypatch.setenv("SOMETHING_ELSE", "2")
    assert load(folder, USING, BASE).digest == first
    monkeypatch.setenv("MY_SCALE", "1.01")
    assert load(folder, USING, BASE).digest != first


def test_rounding_is_no_other_sae(folder: Path) -> None:
    """Another machine adds up in another order."""

    class Mine:
        def __init__(self, error: float) -> None:
            self.error = error

        def encode(self, x: torch.Tensor) -> torch.Tensor:
            return (x @ torch.ones(6, 10)).relu() * (1 + self.error)

        def decode(self, latents: torch.Tensor) -> torch.Tensor:
            return latents @ torch.ones(10, 6)

    prints = {behaviour(planted.loaded(Mine(error)), 6).fingerprint for error in (0.0, 1e-7, -1e-7, 3e-7)}
    assert len(prints) == 1
    assert behaviour(planted.loaded(Mine(0.01)), 6).fingerprint not in prints


def test_an_order_that_python_draws_is_no_other_sae() -> None:
    assert digest_of([{"a", "b", "c", 1, 2.0}]) == digest_of([{2.0, "c", 1, "b", "a"}])


# What cannot be known


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (
            "class Mine:\n    def encode(self, x): return x[:, 191:192].T @ x[:, 7:13] + x[7, 300]\n",
            "does not say how many dimensions it reads",
        ),
        (
            "class Mine:\n    d_in = 6\n    def encode(self, x): return {}[0]\n    def decode(self, x): return x\n",
            "encode of shape .* raised KeyError",
        ),
    ],
)
def test_what_could_not_be_tried_is_not_resumed(folder: Path, code: str, reason: str) -> None:
    assert re.search(reason, load(folder, code).unresumable)


@pytest.mark.parametrize("place", PLACES)
def test_what_could_be_tried_is_resumed(folder: Path, place: str) -> None:
    save(folder)
    found = load(folder, TOP + PLACES[place])
    assert (found.unresumable, found.doubts) == ("", ())


def test_notes_are_no_part_of_a_digest() -> None:
    sae = planted.loaded(planted.dictionary())
    assert digest_of(sae) == digest_of(replace(sae, doubts=("a",), unresumable="b"))
