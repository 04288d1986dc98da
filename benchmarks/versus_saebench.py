"""SAEBench, the incumbent, and saebench side by side: one SAE, one model, one machine, in turn.

`python benchmarks/versus_saebench.py [SAE …] [--results FILE] [--write]` prints, and with `--write` puts into README.md,
what one SAE costs both, in seconds of a processor on one thread: the first SAE of a hook, and a further one, where each side
has kept what belongs to the hook. It needs an environment in which both are installed:

    pip install sae-bench==0.6.0 torch==2.13.0 && pip install 'numpy>=2' 'transformers==5.23.0' pytest-saebench
    pip uninstall torchvision    # where it is not of the same build as torch

sae-bench asks for `numpy<2`, and runs with a newer one. With transformers 5.24 words after a prefix are read otherwise, and
an SAE is left unscored there. No hub is needed: both read the model, the SAE and the texts
that saebench has. SAEBench gets a `HookedTransformer` of the same weights and the SAE object of sae-lens, and its loaders
of data are replaced:

- core: the same documents of the same length, once for its losses and once for its statistics;
- absorption: the same words, one reading of each, of those letters that saebench scores. Its examples are its own;
- sparse probing: the same labelled texts, in the same parts, as means over tokens: `fixtures/labels/` has where they are
  from. A class is told from the others of its question.

The SAE's pass over documents, which saebench takes L0 from for random directions that are as sparse, is counted under
core and not again. All other numbers are SAEBench's defaults. The model and the SAE are in memory before a clock starts. What saebench is
asked in turn is what SAEBench reports as well, with floors and intervals; all that the suite asks is timed apart.
"""

import argparse
import contextlib
import io
import json
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import same_questions as own
import torch
from compared_numbers import agreement
from incumbent import Asking, Incumbent, hooked
from versus_table import EVALS, Seconds, section, write

from saebench.catalogue.registry import resolve
from saebench.evidence.labels.parts import Part

POSITIONS = 1024
"""Most that the other side's model is built for: its mask of attention is of all pairs of positions."""


@dataclass(frozen=True)
class Setting:
    """How much both are given, and in how many rounds."""

    documents: int
    words: int
    rounds: int
    cold: int
    """Rounds in which everything is forgotten first."""
    questions: tuple[str, ...]
    """Whose classes are told apart: the first word of the names of their sets, or the name of a group."""
    asking: Asking


SETTINGS = {
    "organism/standard-16": Setting(160, 4096, 3, 2, ("genre", "sentiment"), Asking("{word}", -1, ",")),
    "smollm2/topk-32": Setting(
        48, 800, 3, 1, ("158", "161"), Asking("{word} has the first letter:", -6, "\n")
    ),
}  # fmt: skip


@dataclass
class Sides:
    """Both, ready to be asked about one SAE."""

    name: str
    setting: Setting
    folder: Path

    def __post_init__(self) -> None:
        self.spec = resolve(self.name)[0]
        self.options = own.Sizes(
            context=self.spec.context_size, documents=self.setting.documents, words=self.setting.words
        )
        self.warm = self.run(self.options)
        self.theirs = self._theirs(self.run(self.options))

    def run(self, options: own.Sizes) -> Any:
        run = own.run_of(self.spec, self.folder, options)
        own.limit_labels(run, [name for sets in self._sets(run).values() for name in sets])
        return run

    def fresh(self) -> Any:
        """A run that takes nothing of what is kept on disk."""
        return self.run(own.Sizes(**{**vars(self.options), "fresh": True}))

    def _sets(self, run: Any) -> dict[str, tuple[str, ...]]:
        """The sets of each question."""
        wanted = self.setting.questions
        groups = [*run.labels.plan(self.spec, "last").groups, *AG_NEWS]
        return {sets[0]: sets for sets in groups if sets[0].split(":")[0].split("_")[0] in wanted}

    def _theirs(self, run: Any) -> Incumbent:
        sae = run.holder.sae(self.spec)
        subject = run.models.subject(sae.spec)
        probed = run.words.probed(sae.spec, "letters")
        return Incumbent(
            model=hooked(subject.bridge.original_model, subject.tokenizer, min(subject.n_ctx, POSITIONS)),
            sae=sae.source, folder=self.folder / "artifacts", documents=run.documents.activations(sae).tokens,
            words=[word for word in probed.words if word.strip()[0].upper() in probed.concepts],
            asking=self.setting.asking, classes=self._classes(run),
        )  # fmt: skip

    def _classes(self, run: Any) -> dict[str, dict[str, tuple[list[str], list[str]]]]:
        readings = run.labels.readings(self.spec, "mean")
        texts = [text for one in readings.plan.sets for text in one.texts]

        def some(name: str, *parts: Part) -> list[str]:
            kept = (readings.set_of == readings.names.index(name)) & readings.positive
            return [texts[i] for i in range(len(texts)) if kept[i] and readings.part[i] in parts]

        return {
            question: {name: (some(name, Part.TRAIN, Part.VALIDATION), some(name, Part.TEST)) for name in sets}
            for question, sets in self._sets(run).items()
        }


AG_NEWS = (("161_agnews_0", "162_agnews_1", "163_agnews_2"),)
"""Classes of one question, though each of their sets tells it from something else."""


def measured(wanted: list[tuple[str, str]], results: Path | None) -> dict[str, Any]:
    """Seconds and numbers by SAE and eval, with what the file has already; it is written after every eval."""
    found: dict[str, Any] = json.loads(results.read_text(encoding="utf-8")) if results and results.is_file() else {}
    for sae, name in wanted:
        if name in found.setdefault(sae, {}):
            continue
        with tempfile.TemporaryDirectory() as folder:
            sides = Sides(sae, SETTINGS[sae], Path(folder))
            seconds, numbers = rounds(sides, name)
        found[sae][name] = {"seconds": seconds, "numbers": numbers}
        if results:
            results.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return found


def rounds(sides: Sides, name: str) -> tuple[Seconds, dict[str, Any]]:
    """Seconds by what was timed, and what both said last."""
    spent: Seconds = defaultdict(list)
    asked, whole, sae = own.QUESTIONS[name](), own.of_suites(own.WHOLE[name]), sides.warm.holder.sae(sides.spec)
    own.answers(sides.warm, sae, whole)
    if lacking := [what for what, answer in own.answers(sides.warm, sae, asked).items() if answer is None]:
        raise SystemExit(f"{sides.name}: {lacking[0]} is unscored, and a refusal is no work that could be compared")
    for turn in range(sides.setting.rounds):
        if turn < sides.setting.cold:
            first(sides, spent, name)
        theirs = timed(spent, "theirs", getattr(sides.theirs, name))
        forget(sides.warm, sae, name)
        ours = timed(spent, "ours", lambda: own.answers(sides.warm, sae, asked))
        forget(sides.warm, sae, name)
        timed(spent, "whole", lambda: own.answers(sides.warm, sae, whole))
        told = ", ".join(f"{what} {found[-1]:.2f}" for what, found in spent.items())
        print(f"{sides.name} {name} {turn}: {told}", file=sys.stderr, flush=True)
    return dict(spent), agreement(name, theirs, ours, sides)


def forget(run: Any, sae: Any, name: str) -> None:
    """What is known of the SAE, but for its pass over documents where that is another question's: core counts it."""
    run.shelf.sae.clear()
    if name == "sparse_probing":
        run.documents.trace(sae)


def first(sides: Sides, spent: Seconds, name: str) -> None:
    """The same where nothing is kept on either side."""
    sides.theirs.forget()
    timed(spent, "theirs first", getattr(sides.theirs, name))
    run = sides.fresh()
    sae = run.holder.sae(sides.spec)
    forget(run, sae, name)
    timed(spent, "ours first", lambda: own.answers(run, sae, own.QUESTIONS[name]()))


def timed(spent: Seconds, what: str, work: Callable[[], Any]) -> Any:
    """Seconds of a processor, and of the clock as `what (clock)`."""
    begun = time.process_time(), time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        found = work()
    spent[what].append(time.process_time() - begun[0])
    spent[f"{what} (clock)"].append(time.perf_counter() - begun[1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("saes", nargs="*", default=list(SETTINGS), metavar="SAE", help=f"of {', '.join(SETTINGS)}")
    parser.add_argument("--only", choices=EVALS, help="one of them alone")
    parser.add_argument("--results", type=Path, help="a JSON file of what was measured, which is not measured again")
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    wanted = [(sae, name) for sae in given.saes for name in ([given.only] if given.only else EVALS)]
    found = measured(wanted, given.results)
    print(
        json.dumps({sae: {name: each["numbers"] for name, each in of.items()} for sae, of in found.items()}, indent=1)
    )
    spent = {sae: {name: each["seconds"] for name, each in of.items()} for sae, of in found.items()}
    text = section(spent)
    print(text)
    if given.write:
        write(text)


if __name__ == "__main__":
    main()
