"""SAEs of one hook stay together, workers are balanced, and shards are the same wherever they are made."""

import random
import subprocess
import sys
from itertools import chain
from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paths import ROOT

from saebench.catalogue.registry import resolve_all
from saebench.catalogue.spec import SAESpec
from saebench.sweep.plan import makespan
from saebench.sweep.planning import SETUP, SLACK, Wanted, cut, place_of, planned, shard, shards

COSTS = st.lists(st.floats(0.1, 1000), min_size=1, max_size=60)


def specs_of(*sizes: int) -> list[SAESpec]:
    """SAEs of several hooks, in an order of chance, as many of each as a size says."""
    names = [(hook, number) for hook, size in enumerate(sizes) for number in range(size)]
    random.Random(0).shuffle(names)
    return [SAESpec(f"f/{hook}-{n}", "files", "x", model="m", hook=f"blocks.{hook}") for hook, n in names]


@given(COSTS, st.integers(1, 60), st.data())
def test_a_cut_row_is_the_row_and_no_part_is_empty(costs: list[float], parts: int, data: st.DataObject) -> None:
    parts = min(parts, len(costs))
    seams = data.draw(st.lists(st.integers(0, len(costs)), max_size=5))
    things = list(range(len(costs)))
    found = cut(things, costs, parts, seams)
    assert list(chain(*found)) == things
    assert len(found) == parts
    assert all(found)


@given(COSTS, st.integers(1, 60))
def test_no_part_costs_more_than_its_share_and_one_thing(costs: list[float], parts: int) -> None:
    parts = min(parts, len(costs))
    found = cut(costs, costs, parts)
    # A part that would be empty takes one thing from its neighbour.
    assert max(map(sum, found)) <= sum(costs) / parts + max(costs) + 1e-6 or min(map(len, found)) == 1


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(1, 40))
def test_shards_are_all_saes_once_and_balanced(sizes: list[int], count: int) -> None:
    specs = specs_of(*sizes)
    count = min(count, len(specs))
    found = shards(specs, count)
    assert sorted(spec.name for part in found for spec in part) == sorted(spec.name for spec in specs)
    share = len(specs) / count
    assert all(share * (1 - 2 * SLACK) - 1 <= len(part) <= share * (1 + 2 * SLACK) + 1 for part in found)
    # No cut goes through a hook that need not: there are as many runs of a hook as hooks, and one more for each cut.
    assert sum(len({place_of(spec) for spec in part}) for part in found) <= len(sizes) + count - 1


def test_shards_end_where_a_hook_ends_if_that_is_near_enough() -> None:
    found = shards(specs_of(50, 52, 49), 3)
    assert sorted(map(len, found)) == [49, 50, 52]
    assert all(len({spec.hook for spec in part}) == 1 for part in found)


def test_another_process_makes_the_same_shards() -> None:
    patterns = ["gemmascope/2b/layer-1*/16k/*", "organism", "toy/flat/*"]
    code = (
        "from saebench.catalogue.registry import resolve_all; from saebench.sweep.planning import shard;"
        f"print(*(spec.name for spec in shard(resolve_all({patterns!r}), '3/7')), sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "77", "SAEBENCH_CACHE": "/nowhere"},
    )  # fmt: skip
    assert done.stdout.split() == [spec.name for spec in shard(resolve_all(patterns), "3/7")]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("", "expected NUMBER/COUNT"), ("3", "expected NUMBER/COUNT"), ("1/0", "expected NUMBER/COUNT"),
        ("-1/2", "expected NUMBER/COUNT"), ("1/2/3", "expected NUMBER/COUNT"), ("0/2", "the first of 2 shards is 1/2"),
        ("3/2", "the last 2/2"), ("1/9", "there are 5 SAEs, so at most 5 shards"), ("1/9999999999", "expected"),
        ("١/٢", "expected NUMBER/COUNT"),
    ],
)  # fmt: skip
def test_a_shard_that_there_is_not_is_refused(asked: str, said: str) -> None:
    with pytest.raises(ValueError, match=f"^--sae-shard {asked}: .*{said}"):
        shard(specs_of(5), asked)


WANTED = st.lists(st.tuples(st.integers(0, 5), st.floats(0.1, 500)), min_size=1, max_size=80)


@given(WANTED, st.integers(1, 64))
def test_jobs_have_each_sae_once_at_one_hook_and_the_longest_is_first(
    drawn: list[tuple[int, float]], workers: int
) -> None:
    wanted = [Wanted(f"s{i}", "m", f"h{hook}", seconds) for i, (hook, seconds) in enumerate(drawn)]
    jobs = planned(wanted, workers, "a-")
    hook = {one.sae: one.hook for one in wanted}
    assert sorted(sae for job in jobs for sae in job.saes) == sorted(hook)
    assert all({hook[sae] for sae in job.saes} == {job.hook} for job in jobs)
    assert [job.seconds for job in jobs] == sorted((job.seconds for job in jobs), reverse=True)
    assert len({job.name for job in jobs}) == len(jobs)
    assert planned(wanted, workers, "a-") == jobs


@given(WANTED, st.integers(1, 16))
def test_workers_end_at_about_the_same_time(drawn: list[tuple[int, float]], workers: int) -> None:
    wanted = [Wanted(f"s{i}", "m", f"h{hook}", seconds) for i, (hook, seconds) in enumerate(drawn)]
    jobs = planned(wanted, workers)
    least = max(sum(job.seconds for job in jobs) / workers, max(seconds for _, seconds in drawn) + SETUP)
    longest = max(job.seconds for job in jobs)
    assert makespan([job.seconds for job in jobs], workers) <= least + longest * (1 - 1 / workers) + 1e-6


def test_a_big_hook_is_cut_and_many_small_ones_are_not() -> None:
    big = planned([Wanted(f"s{i}", "m", "h", 100.0) for i in range(100)], 4)
    assert {len(job.saes) for job in big} <= {3, 4}
    small = [Wanted(f"s{i}", "m", f"h{i // 3}", 100.0) for i in range(99)]
    assert {len(job.saes) for job in planned(small, 4)} == {3}


@pytest.mark.parametrize(("count", "seconds", "workers"), [(6000, 500.0, 64), (200, 60.0, 8), (30, 20.0, 2)])
def test_the_last_worker_ends_hardly_later_than_any_plan_allows(count: int, seconds: float, workers: int) -> None:
    """Starts and the wait at the end, as the size of jobs weighs them."""
    share = count * seconds / workers
    jobs = planned([Wanted(f"s{i}", "m", f"h{i % 6}", seconds) for i in range(count)], workers)
    took = makespan([job.seconds for job in jobs], workers)
    assert share + SETUP <= took <= share + 2 * sqrt(2 * SETUP * share) + SETUP + seconds
