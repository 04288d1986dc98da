"""Every option there is, as pytest's parser takes them; this file imports neither pytest nor anything heavy."""

from collections.abc import Callable
from typing import Any

from saebench.hub.models import DTYPES
from saebench.record.budget import BUDGETS, CONTEXT

DEFAULT = "organism"


def add_options(add: Callable[..., Any]) -> None:
    """Add all of them to a group of a parser."""
    add("--sae", action="append", metavar="SPEC", help=(
        "SAE to benchmark: a name or glob of fixtures/*.toml or ./mine.toml/, a folder or file, saelens:RELEASE/SAE_ID, "
        "hf:ORG/REPO/PATH, or package.module:callable; with @HOOK, with @REVISION for the hub; repeatable. "
        f"Default: {DEFAULT}, the embedded model's zoo"))  # fmt: skip
    add("--sae-shard", metavar="N/COUNT", help=(
        "of all SAEs only the N-th of COUNT parts, as 3/16, for the job arrays of schedulers: SAEs of one hook stay "
        "together, and the parts depend on nothing but the list. Default: all"))  # fmt: skip
    add("--sae-arch", action="append", metavar="NAME[@HOOK]", help=(
        "architecture to train in the run and compare at equal L0: package.module:TrainingSAE of sae-lens, a function "
        "(activations, d_in, d_sae, l0, seed), or one of the zoo's; repeatable. Default: none"))  # fmt: skip
    add("--sae-list", metavar="PATTERN", nargs="?", const="", help=(
        "list what --sae PATTERN would name, or all families, and exit. Default: off"))  # fmt: skip
    add("--sae-baseline", metavar="FILE[:ROW]", help="scores to compare with: a worse score fails. Default: none")
    add("--sae-min", action="append", metavar="DEMAND", help=(
        "'first_letter.f1>=.6': what every such score must reach, or its test fails; repeatable. Default: none"))  # fmt: skip
    add("--sae-seeds", type=int, default=1, metavar="N", help=(
        "repeat every random stage N times on the same texts and tell its noise apart. Default: %(default)s"))  # fmt: skip
    add("--sae-scores", metavar="FILE", default=".saebench/scores.jsonl", help="Default: %(default)s")
    add("--sae-budget", choices=list(BUDGETS), default="quick", help="how many documents to read. Default: %(default)s")
    add("--sae-device", metavar="DEVICE", help="Default: cuda where there is one, else cpu")
    add("--sae-dtype", choices=list(DTYPES), help=(
        "numbers that the language model is run in. Default: float32 where it fits into memory, else bfloat16"))  # fmt: skip
    add("--sae-model", metavar="NAME", help="language model to run, by name or folder. Default: the SAE's own")
    add("--sae-fresh", action="store_true", help="compute scores anew that the scores file already has. Default: off")
    _add_material(add)


def _add_material(add: Callable[..., Any]) -> None:
    """What is read, and who is asked."""
    add("--sae-corpus", metavar="TEXTS", help=(
        "texts to read: a .txt or .jsonl file, or ORG/DATASET of the hub. Default: what the SAE's family says"))  # fmt: skip
    add("--sae-labels", metavar="TEXTS", help=(
        "labelled texts: a .csv or .jsonl file with a column of texts and one of labels, or a name in fixtures/labels/. "
        "Default: the embedded world's own, else sae-probes"))  # fmt: skip
    add("--sae-context", type=int, metavar="TOKENS", help=(
        "tokens of a document that are read: how far beyond its training context an SAE is followed. "
        f"Default: {CONTEXT}, or twice the training context if that is more"))  # fmt: skip
    add("--sae-cloze", metavar="TASK", help=(
        "cloze questions for the downstream suite: a .jsonl file of passage, options and answer, lambada, cbt-named or "
        "cbt-common. Default: questions made of the texts that are read"))  # fmt: skip
    add("--sae-phrases", metavar="FILE", help=(
        "a .toml of features and phrases about what they are made of, for the suite decomposability. Default: of the "
        "embedded model's world, or of well-known people, places and things"))  # fmt: skip
    add("--sae-judge", metavar="NAME", help=(
        "who explains latents and judges explanations: exact, openai:MODEL of a server that $SAEBENCH_JUDGE_URL names, "
        "local:FOLDER_OR_NAME, or a family whose model it is. Default: exact for the embedded model, else nobody"))  # fmt: skip
    add("--sae-judge-budget", type=int, metavar="N", help=(
        "most calls to the judge in one process; answers that are there already cost none. Default: 2000 to a server"))  # fmt: skip
