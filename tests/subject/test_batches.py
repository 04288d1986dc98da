"""Passes in parts: sizes of batches change no score, and memory that runs out costs time alone."""

import itertools
import sys
import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from types import SimpleNamespace
from typing import Any

import forks
import models
import numpy as np
import planted
import preloaded  # noqa: F401
import pytest
import torch
from factories import make_project
from subject_cases import NO_CACHE, corpus, like, probe_of, scored, speller, subject, tokens
from torch import Tensor

from saebench.evidence.game.perturb import Perturber
from saebench.evidence.trace import Trace, trace
from saebench.evidence.words.study import make_study
from saebench.metrics import context_length, reconstruction
from saebench.record.score import Unscored
from saebench.record.store import Store
from saebench.subject.activations import compute_activations
from saebench.subject.batches import MOST, Batch, contexts_that_fit, out_of_memory
from saebench.subject.prefix import after_prefix
from saebench.subject.subject import Subject

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def without_collecting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Collecting garbage takes half a second in a process with as much in it as a test's."""
    monkeypatch.setattr("saebench.subject.batches.gc", SimpleNamespace(collect=lambda: 0))


class Memory:
    """A device with room for so many rows, and what was run on it."""

    def __init__(self, room: int, error: Callable[[], BaseException]) -> None:
        self.room, self.error, self.done, self.tried = room, error, list[int](), list[int]()

    def __call__(self, rows: slice) -> list[int]:
        self.tried.append(rows.stop - rows.start)
        if rows.stop - rows.start > self.room:
            raise self.error()
        found = list(range(rows.start, rows.stop))
        self.done += found
        return found


def joined(parts: list[list[int]]) -> list[int]:
    return list(itertools.chain.from_iterable(parts))


def of_cpu() -> RuntimeError:
    """As torch raises it, word for word, where a tensor does not fit."""
    try:
        torch.empty(1 << 60, dtype=torch.uint8)
    except RuntimeError as error:
        return error
    raise AssertionError("an exabyte fitted into memory")


def of_numpy() -> MemoryError:
    try:
        np.empty(1 << 60, dtype=np.uint8)
    except MemoryError as error:
        return error
    raise AssertionError("an exabyte fitted into memory")


ERRORS: dict[str, Callable[[], BaseException]] = {
    "cuda": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "cpu": of_cpu,
    "python": MemoryError,
    "numpy": of_numpy,
}


@pytest.mark.parametrize("error", ERRORS.values(), ids=list(ERRORS))
@pytest.mark.parametrize("room", [1, 3, 5, 16])
@pytest.mark.parametrize("count", [0, 1, 16, 37])
def test_rows_are_halved_until_they_fit_and_each_runs_once(
    count: int, room: int, error: Callable[[], BaseException]
) -> None:
    batch, device = Batch(), Memory(room, error)
    found = batch.over(count, device)
    assert joined(found) == device.done == list(range(count))
    expected = next(size for size in (16, 8, 4, 2, 1) if size <= room or (size == 16 and count <= room))
    assert batch.size == expected
    assert len(batch.notes) == {16: 0, 8: 1, 4: 2, 2: 3, 1: 4}[expected]
    assert all("memory did not suffice for" in note for note in batch.notes)


def test_notes_say_from_what_to_what() -> None:
    batch = Batch()
    batch.over(20, Memory(5, of_cpu))
    assert [note.partition("for ")[2] for note in batch.notes] == [
        "16 contexts at a time: 8",
        "8 contexts at a time: 4",
    ]


def test_what_was_done_before_memory_ran_out_is_kept() -> None:
    """Other rows may need more: it fails in the middle and goes on from there."""
    batch, done = Batch(size=4), list[tuple[int, int]]()

    def run(rows: slice) -> list[int]:
        if rows.start >= 8 and rows.stop - rows.start > 2:
            raise of_cpu()
        done.append((rows.start, rows.stop))
        return list(range(rows.start, rows.stop))

    assert joined(batch.over(14, run)) == list(range(14))
    assert done == [(0, 4), (4, 8), (8, 10), (10, 12), (12, 14)]
    assert batch.size == 2


def test_it_gives_up_at_one_row() -> None:
    for error in ERRORS.values():
        batch, device = Batch(), Memory(0, error)
        with pytest.raises(Unscored, match=f"memory does not suffice for a single one: {type(error()).__name__}"):
            batch.over(5, device)
        assert device.tried == [5, 5, 4, 2, 1]  # with room for 16, 8, 4, 2, 1
        assert batch.size == 1


@pytest.mark.parametrize(
    "error",
    [
        ValueError("shapes"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        Unscored("x"),
        KeyError("memory"),
    ],
)
def test_other_errors_are_raised_at_once(error: Exception) -> None:
    batch, device = Batch(), Memory(0, lambda: error)
    with pytest.raises(type(error)):
        batch.over(40, device)
    assert device.tried == [MOST]
    assert (batch.size, batch.notes) == (MOST, [])


def test_a_size_of_its_own_leaves_that_of_contexts_alone() -> None:
    batch, device = Batch(), Memory(100, of_cpu)
    assert joined(batch.over(1000, device, 512)) == list(range(1000))
    assert batch.size == MOST
    assert batch.notes[0].endswith("512 rows at a time: 256")


def test_what_did_not_fit_is_not_told_over_and_over() -> None:
    """A perturber asks thousands of times: each would fail first, and leave a line for the user."""
    batch, device = Batch(), Memory(100, of_cpu)
    for _ in range(20):
        batch.over(600, device, 512)
    assert len(batch.notes) == len(set(batch.notes)), (
        f"{len(batch.notes)} notes of which {len(set(batch.notes))} differ"
    )


def test_a_failed_pass_is_freed_before_the_next_one() -> None:
    """Its tensors hang on the error's traceback, so that they would lie in memory beside the smaller pass."""
    held, alive = list[Any](), list[bool]()

    def run(rows: slice) -> int:
        alive.extend(ref() is not None for ref in held)
        table = torch.zeros(1000)
        held.append(weakref.ref(table))
        if rows.stop - rows.start > 2:
            raise of_cpu()
        return int(table.sum())

    Batch().over(4, run)
    assert len(held) > 2
    assert not any(alive)


@pytest.mark.parametrize("message", [
    "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096 bytes. Error code 12 (Cannot allocate memory)",
    "CUDA error: out of memory",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
])  # fmt: skip
def test_memory_runs_out_in_other_words_too(message: str) -> None:
    assert out_of_memory(RuntimeError(message))


def test_contexts_that_fit_are_between_one_and_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    for free, least, most in ((0, 1, 1), (10**9, 1, 1), (10**11, 2, MOST), (10**14, MOST, MOST)):
        monkeypatch.setattr("saebench.subject.batches.free_memory", lambda device, free=free: free)
        assert least <= contexts_that_fit("cpu", 1024, 256_000) <= most


def values(found: Trace) -> dict[str, float]:
    names = {"fvu": reconstruction.fvu, "l0": reconstruction.l0, "cosine": reconstruction.cosine, "kl": reconstruction.kl,
             "ce_increase": reconstruction.ce_increase, "dead": reconstruction.dead_fraction,
             "dense": reconstruction.dense_fraction, "kl_beyond": context_length.kl_beyond,
             "kl_retention": context_length.kl_retention}  # fmt: skip
    made = {name: scored(partial(score, found)) for name, score in names.items()}
    return {name: estimate.value for name, estimate in made.items() if estimate is not None}


def measured(model: Subject) -> Trace:
    """A trace with everything computed anew, on documents of several lengths."""
    length = torch.full((planted.DOCUMENTS,), planted.CONTEXT)
    length[3:9] = torch.tensor([3, 17, 38, 5, 30, 9])
    made = compute_activations(model, planted.HOOK, corpus(planted.tokens(), length), NO_CACHE)
    return trace(planted.loaded(planted.noisy_identity(0.05), context_size=16, hook=planted.HOOK), made)


def sized(size: int) -> Subject:
    return replace(planted.subject(), batch=Batch(size))


@cache
def of_sixteen() -> Trace:
    return measured(sized(16))


@pytest.mark.parametrize("size", [1, 3])
def test_a_trace_does_not_depend_on_the_size_of_batches(size: int) -> None:
    found, expected = measured(sized(size)), of_sixteen()
    assert len(values(found)) == 9
    assert values(found) == pytest.approx(values(expected), rel=1e-5, abs=1e-6)
    for name in ("error", "signal", "kl", "ce", "clean_ce", "zero_ce", "mean_ce", "mean_kl"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=1e-4, atol=1e-4)
    assert found.tokens.equal(expected.tokens)


@pytest.mark.parametrize("rows", [1, 3])
def test_readings_do_not_depend_on_the_size_of_batches(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, prefix, ids = subject("llama"), tokens(1, 6), tokens(19, 1)
    expected = after_prefix(model, "blocks.1.hook_resid_post", prefix, ids)
    monkeypatch.setattr("saebench.subject.prefix.BATCH", rows)
    found = after_prefix(model, "blocks.1.hook_resid_post", prefix, ids)
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize("rows", [1, 3])
def test_answers_do_not_depend_on_the_size_of_batches(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = Perturber(subject("gemma2"), "blocks.1.attn.hook_z", [tokens(1, 9)[0].tolist()])
    points = ask.x[0] + like(torch.zeros(16, 24) + ask.x[0])
    expected = ask(0, points)
    monkeypatch.setattr("saebench.evidence.game.perturb.BATCH", rows)
    found = ask(0, points)
    torch.testing.assert_close(found.kl, expected.kl, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.l2, expected.l2, rtol=1e-4, atol=1e-5)


class Fails:
    """A function of the subject's bridge that runs out of memory now and then, above some number of rows."""

    def __init__(self, real: Callable[..., Any], most: int, error: Callable[[], BaseException]) -> None:
        self.real, self.most, self.error, self.calls, self.failed = real, most, error, 0, 0

    def __call__(self, ids: Tensor, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        if len(ids) > self.most and self.calls > 1:
            self.failed += 1
            raise self.error()
        return self.real(ids, *args, **kwargs)


@pytest.mark.parametrize("error", [ERRORS["cuda"], ERRORS["cpu"]], ids=["cuda", "cpu"])
@pytest.mark.parametrize("method", ["run_with_cache", "run_with_hooks"])
def test_a_run_whose_memory_runs_out_has_the_same_scores(
    method: str, error: Callable[[], BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = sized(16)
    fails = Fails(getattr(model.bridge, method), 5, error)
    monkeypatch.setattr(model.bridge, method, fails)
    found = measured(model)
    assert fails.failed == 2  # of 16 and of 8 rows, and never again
    assert model.batch.size == 4
    assert values(found) == pytest.approx(values(of_sixteen()), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("error", [ERRORS["cuda"], ERRORS["cpu"]], ids=["cuda", "cpu"])
def test_readings_and_answers_whose_memory_runs_out_are_the_same(
    error: Callable[[], BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = replace(subject("gpt2"), batch=Batch())
    hook, prefix, ids = "blocks.1.hook_resid_post", tokens(1, 6), tokens(19, 1)
    expected = after_prefix(model, hook, prefix, ids)
    ask = Perturber(model, hook, [tokens(1, 9)[0].tolist()])
    points = ask.x[0] + like(torch.zeros(16, models.WIDTH) + ask.x[0])
    answered = ask(0, points)
    assert model.batch.notes == []
    with monkeypatch.context() as patch:
        patch.setattr(model.bridge, "run_with_cache", Fails(model.bridge.run_with_cache, 5, error))
        model.bridge.run_with_cache(ids[:1])
        assert (after_prefix(model, hook, prefix, ids) - expected).abs().max() < 1e-5 * expected.abs().max()
    run = ask._run

    def failing(held: Any, some: Tensor) -> Any:
        if len(some) > 5:
            raise error()
        return run(held, some)

    monkeypatch.setattr(ask, "_run", failing)
    torch.testing.assert_close(ask(0, points).kl, answered.kl, rtol=1e-5, atol=1e-6)
    assert len(model.batch.notes) > 1


@pytest.mark.parametrize("error", [*ERRORS.values()], ids=list(ERRORS))
@pytest.mark.parametrize("method", ["encode", "decode"])
def test_an_sae_that_needs_too_much_memory_is_run_on_less(method: str, error: Callable[[], BaseException]) -> None:
    """A wide SAE's latents of sixteen contexts are gigabytes: that is no fault of its code."""
    real = planted.noisy_identity(0.05)

    def greedy(x: Tensor) -> Tensor:
        if len(x) > 5 * planted.CONTEXT:
            raise error()
        return getattr(real, method)(x)  # type: ignore[no-any-return]

    model = sized(16)
    made = replace(planted.activations(), subject=model)
    found = planted.traced(planted.fake(**{"encode": real.encode, "decode": real.decode, method: greedy}), made)
    assert model.batch.size == 4
    expected = planted.traced(real)
    torch.testing.assert_close(found.error, expected.error, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("error", [ERRORS["cuda"], ERRORS["cpu"]], ids=["cuda", "cpu"])
def test_a_study_of_an_sae_that_needs_too_much_memory_is_made_of_less(error: Callable[[], BaseException]) -> None:
    readings = speller(False).readings

    def greedy(x: Tensor) -> Tensor:
        if len(x) > 20:
            raise error()
        return x.relu()

    def made(encode: Callable[[Tensor], Tensor]) -> Any:
        return make_study(planted.loaded(planted.fake(encode, lambda codes: codes)), readings, probe_of(readings))

    assert (made(greedy).latents != made(lambda x: x.relu()).latents).nnz == 0


SAES = """
import torch

class Greedy:
    context_size = 64
    def __init__(self, most): self.most = most
    def encode(self, x):
        if len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return x
    def decode(self, latents): return latents

def greedy(): return Greedy(5 * 256)
"""


SUITE = """
import pytest
from saebench.metrics import reconstruction

@pytest.mark.score("reconstruction.fvu", 1, "lower", "fraction", tolerance=0.01)
def test_fvu(trace, record):
    record(reconstruction.fvu(trace))

@pytest.mark.score("reconstruction.cosine", 1, "higher", "cosine", tolerance=0.01)
def test_cosine(trace, record):
    record(reconstruction.cosine(trace))
"""


@pytest.fixture
def project(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> pytest.Pytester:
    monkeypatch.setattr(sys, "executable", forks.python())  # of which pytest-xdist makes workers
    made: pytest.Pytester = make_project(pytester, monkeypatch, tmp_path_factory, SAES, SUITE)
    return made


@pytest.mark.parametrize("workers", [("-p", "no:xdist"), ("-n", "1")], ids=["alone", "worker"])
def test_that_memory_did_not_suffice_stands_in_the_summary_and_in_the_score(
    project: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    """Also where a worker of pytest-xdist found it out."""
    options = ["--sae", "my_saes:greedy", "--sae-budget", "smoke", "--sae-device", "cpu", "--sae-scores", "s.jsonl"]
    result = project.runpytest_inprocess("suites", "-p", "saebench.plugin", *options, *workers)
    assert result.ret == 0
    scores = list(Store(project.path / "s.jsonl").newest().values())
    assert {(score.batch_size, score.dtype, score.device) for score in scores} == {(4, "float32", "cpu")}
    assert all(score.revisions == {} for score in scores)
    assert [line for line in result.outlines if line.startswith("saebench: ") and "memory did not suffice" in line] == [
        "saebench: organism: memory did not suffice for 16 contexts at a time: 8",
        "saebench: organism: memory did not suffice for 8 contexts at a time: 4",
    ]
