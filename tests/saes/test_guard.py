"""What strangers' code does reaches no other SAE and no later number, and an SAE that misbehaves is one sentence."""

import gc
import os
import random
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import hostile_objects as zoo
import numpy as np
import planted
import pytest
import torch
from planted_words import probe_of, world
from torch import Tensor

from saebench.catalogue.registry import resolve
from saebench.evidence.trace import Trace
from saebench.evidence.words.readings import Readings
from saebench.evidence.words.study import make_study
from saebench.record.score import Unscored
from saebench.saes.guard import broken, guard, isolated
from saebench.saes.loaders import load_sae
from saebench.saes.sae import LoadedSAE

pytestmark = pytest.mark.filterwarnings("default")


def name_of(thing: Any) -> str:
    return str(thing.__name__)


def loaded(made: Any) -> LoadedSAE:
    (spec,) = resolve(f"hostile_objects:{made.__name__}")
    return load_sae(spec)


def numbers(found: Trace) -> list[Tensor]:
    kept = torch.from_numpy(found.latents.toarray()) if found.latents is not None else torch.zeros(0)
    return [*(value for value in vars(found).values() if isinstance(value, Tensor)), kept]


def traced(made: Any) -> list[Tensor]:
    from saebench.evidence.trace import trace

    return numbers(trace(loaded(made), planted.activations()))


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@cache
def alone() -> list[Tensor]:
    return traced(zoo.Plain)


def state() -> list[Any]:
    """All of the process that the zoo changes."""
    return [
        torch.get_default_dtype(), torch.get_default_device(), torch.get_num_threads(), torch.is_grad_enabled(),
        torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled(),
        5e-324 * float("1") == 0, torch.get_float32_matmul_precision(), torch.backends.mkldnn.enabled,
        torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32, torch.backends.cuda.flash_sdp_enabled(),
        torch.is_anomaly_enabled(), torch.is_autocast_enabled("cpu"), torch.is_inference_mode_enabled(),
        repr(torch.tensor([1 / 3])), np.geterr(), np.get_printoptions(), torch.get_rng_state().tolist(),
        np.random.get_state()[1].tolist(), random.getstate(), dict(os.environ), Path.cwd(), sys.getrecursionlimit(),  # type: ignore[index]
        gc.isenabled(), signal.getsignal(signal.SIGTERM), warnings.filters[:],
        len(torch.nn.modules.module._global_forward_hooks), len(torch.nn.modules.module._global_forward_pre_hooks),
    ]  # fmt: skip


@pytest.mark.parametrize("hostile", zoo.HARMLESS, ids=name_of)
def test_what_it_does_reaches_nobody_and_it_gets_what_is_its_own(hostile: type) -> None:
    expected, on = alone(), planted.activations()
    before, residual = state(), on.residual.clone()
    assert same(traced(hostile), expected)
    assert state() == before
    assert torch.equal(on.residual, residual)
    assert same(traced(zoo.Plain), expected)


@pytest.mark.parametrize("hostile", zoo.BROKEN, ids=name_of)
def test_one_that_misbehaves_is_one_sentence_and_the_next_is_scored(hostile: type) -> None:
    expected, before = alone(), state()
    with pytest.raises(Unscored, match=zoo.BROKEN[hostile]) as told:
        traced(hostile)
    assert told.value.broken
    assert "\n" not in str(told.value)
    assert state() == before
    assert same(traced(zoo.Plain), expected)


@pytest.mark.parametrize("hostile", zoo.UNREADABLE, ids=name_of)
def test_one_that_cannot_be_made_is_one_sentence(hostile: Any) -> None:
    before = state()
    with pytest.raises(
        ValueError, match=rf"^hostile_objects:{hostile.__name__} cannot be read: {zoo.UNREADABLE[hostile]}"
    ):
        loaded(hostile)
    assert state() == before


def test_settings_that_it_may_have_meant_to_compute_with_are_told() -> None:
    told = [doubt.partition("changes torch's ")[2].partition(" for")[0] for doubt in loaded(zoo.Settings).doubts]
    assert told == ["default dtype", "default device", "treatment of denormal numbers", "precision of matrix products"]
    assert loaded(zoo.Plain).doubts == ()


@cache
def readings() -> Readings:
    found = world().readings
    return replace(found, x=found.x[..., : zoo.D].contiguous())


def studied(made: Any) -> list[Any]:
    found = make_study(loaded(made), readings(), probe_of(readings()))
    return [found.x.clone(), found.decoder, torch.from_numpy(found.latents.toarray()), torch.tensor(found.fvu)]


@pytest.mark.parametrize("hostile", zoo.HARMLESS, ids=name_of)
def test_words_are_read_as_the_corpus_is(hostile: type) -> None:
    expected = studied(zoo.Plain)
    assert same(studied(hostile), expected)
    assert same(studied(zoo.Plain), expected)


def test_folders_of_imports_stay_behind_all_others() -> None:
    before = list(sys.path)
    with isolated():
        sys.path.insert(0, "/late/import")
    try:
        assert sys.path == [*before, "/late/import"]
    finally:
        sys.path[:] = before


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Unscored("no number", broken=False)])
def test_a_users_interrupt_and_a_sentence_pass(error: BaseException) -> None:
    with pytest.raises(type(error)) as told, guard(partial(broken, "encode")):
        raise error
    assert told.value is error


def test_a_warning_is_an_error_only_outside() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("error")
        with isolated():
            warnings.warn("seen", stacklevel=1)
        assert [str(warning.message) for warning in seen] == ["seen"]
        with pytest.raises(UserWarning):
            warnings.warn("again", stacklevel=1)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("made", [zoo.Warns, zoo.Plain], ids=name_of)
def test_an_sae_that_warns_is_not_broken_by_a_users_filter(made: type) -> None:
    with warnings.catch_warnings(record=True) as seen:
        assert same(traced(made), alone())
    assert {"x"} <= {str(warning.message) for warning in seen} or made is zoo.Plain


@pytest.mark.filterwarnings("ignore")
def test_a_users_own_filters_hold_inside() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("ignore")
        traced(zoo.Warns)
    assert not seen


def test_what_a_library_warns_of_while_it_reads_a_folder_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from factories import make_sae_folder

    from saebench.saes.loaders import files

    (spec,) = resolve(str(make_sae_folder(tmp_path / "mine")))
    made = LoadedSAE(spec, None, "digest", "cpu")
    monkeypatch.setattr(files, "load", lambda spec, device: warnings.warn("an old format", stacklevel=1) or made)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("error")
        assert load_sae(spec) is made
    assert [str(warning.message) for warning in seen] == ["an old format"]


# What may be returned


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floats_stay_what_they_are(dtype: torch.dtype) -> None:
    sae = planted.loaded(planted.fake(lambda x: x.to(dtype), lambda latents: latents))
    assert sae.encode(torch.ones(3, 4)).dtype == dtype


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64])
def test_whole_numbers_become_floats(dtype: torch.dtype) -> None:
    sae = planted.loaded(planted.fake(lambda x: (x > 0).to(dtype), lambda latents: latents @ torch.eye(4)))
    latents = sae.encode(torch.ones(3, 4))
    assert latents.dtype == torch.float32
    assert torch.equal(sae.decode(latents), torch.ones(3, 4))


def test_a_parameter_or_a_subclass_comes_back_as_a_plain_tensor() -> None:
    class Mine(Tensor):
        pass

    for wrap in (torch.nn.Parameter, lambda x: x.as_subclass(Mine)):
        found = planted.loaded(planted.fake(wrap, wrap)).encode(torch.ones(3, 4))
        assert type(found) is Tensor
        assert not found.requires_grad


# Decoders that are only a matrix


def matrix_sae(w_dec: Any) -> Any:
    sae = planted.dictionary()
    sae.W_dec = w_dec
    return planted.loaded(sae)


def test_a_transposed_decoder_is_called_that() -> None:
    w_dec = planted.dictionary().W_dec
    sae = matrix_sae(w_dec.T.contiguous())
    for ask in (lambda: planted.traced(sae.source), lambda: sae.directions(2 * planted.D)):
        with pytest.raises(Unscored, match=r"W_dec \(32, 64\) is transposed: .* should be \(64, 32\)") as told:
            ask()
        assert told.value.broken


def test_a_decoder_may_be_of_numpy() -> None:
    w_dec = planted.dictionary().W_dec
    assert torch.equal(matrix_sae(w_dec.numpy()).directions(64)[0], matrix_sae(w_dec).directions(64)[0])


# Memory


class Greedy(zoo.Plain):
    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def encode(self, x: Tensor) -> Tensor:
        if len(x) > self.most:
            raise MemoryError
        return super().encode(x)


@pytest.fixture
def batch() -> Iterator[Any]:
    found = planted.subject().batch
    size, notes = found.size, list(found.notes)
    yield found
    found.size, found.notes[:] = size, notes


def test_where_memory_runs_out_fewer_rows_are_tried(batch: Any) -> None:
    assert same(numbers(planted.traced(Greedy(3 * planted.CONTEXT))), numbers(planted.traced(zoo.Plain())))
    assert any("memory did not suffice" in note for note in batch.notes)


def test_where_not_even_one_row_fits_it_is_broken_and_others_are_read_as_before(batch: Any) -> None:
    size = batch.size
    with pytest.raises(Unscored, match=r"encode of shape \(40, 32\) raised MemoryError") as told:
        planted.traced(Greedy(0))
    assert told.value.broken
    assert (batch.size, batch.notes) == (size, [])


@pytest.mark.parametrize("ask", [lambda sae: sae.encode(torch.ones(9, 32)), lambda sae: sae.directions(64)])
def test_outside_of_batches_it_is_a_sentence_too(ask: Callable[[LoadedSAE], Any]) -> None:
    class Full(zoo.NoMemory):
        def decode(self, latents: Tensor) -> Tensor:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(Unscored, match=r"raised (MemoryError|RuntimeError)"):
        ask(planted.loaded(Full()))
