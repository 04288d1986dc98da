"""`--sae-shard` on the command line: parts together are all SAEs once, and what is no part is one sentence."""

import re
from typing import Any

import pytest

from saebench.catalogue.registry import resolve_all

SAES = "toy/flat/*"


def collected(pytester: Any, *options: str) -> pytest.RunResult:
    pytester.makepyfile(test_it="def test_memory(sae): ...")
    given = ["--sae", SAES, "--collect-only", "-p", "saebench.plugin", "-p", "no:cacheprovider", *options]
    found: pytest.RunResult = pytester.runpytest_inprocess(*given)
    return found


def test_parts_are_all_saes_once(pytester: Any) -> None:
    names: list[str] = []
    for part in ("1/3", "2/3", "3/3"):
        done = collected(pytester, "--sae-shard", part)
        assert done.ret == 0
        names += re.findall(r"<Function test_memory\[(.*)\]>", done.stdout.str())
    assert sorted(names) == sorted(spec.name for spec in resolve_all([SAES]))


@pytest.mark.parametrize("part", ["", "0/3", "4/3", "3", "1/99"])
def test_what_is_no_part_is_one_sentence(pytester: Any, part: str) -> None:
    done = collected(pytester, f"--sae-shard={part}")
    assert done.ret == 4
    assert f"ERROR: --sae-shard {part}: " in done.stderr.str()


def test_the_header_says_which_part_it_is(pytester: Any) -> None:
    assert f"--sae {SAES}, shard 1/4: 2 SAEs" in collected(pytester, "--sae-shard", "1/4").stdout.str()
