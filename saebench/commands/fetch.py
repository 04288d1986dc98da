"""`saebench fetch`: download all that a run will need."""

import argparse

from saebench.catalogue import registry
from saebench.commands import DEFAULT_SCORES, Commands, put
from saebench.hub.labels import labels_of
from saebench.hub.needs import ensure, of_labels, of_sae
from saebench.record.store import Store
from saebench.run.options import Options
from saebench.run.run import Run


def add(commands: Commands) -> None:
    parser = commands.add_parser("fetch", help="download all that a run will need: SAEs, their model, texts")
    parser.add_argument("names", nargs="*", metavar="NAME", help="as for pytest --sae")
    parser.add_argument("--sae-model", metavar="NAME", help="as for pytest: another model than the SAEs' own")
    parser.add_argument("--sae-corpus", metavar="TEXTS", help="as for pytest: other texts")
    parser.add_argument("--sae-cloze", metavar="TASK", help="as for pytest: cloze questions of the hub")
    parser.add_argument("--sae-labels", metavar="TEXTS", help="as for pytest: labelled texts of fixtures/labels/")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    asked = (getattr(arguments, f"sae_{option}") for option in ("model", "corpus", "cloze", "labels"))
    if not (arguments.names or any(asked)):
        raise ValueError(
            "name what to fetch: an SAE as for pytest --sae, --sae-model, --sae-corpus, --sae-cloze or --sae-labels"
        )
    specs = registry.resolve_all(arguments.names)
    prepared = Run(
        specs,
        Store(DEFAULT_SCORES),
        Options(
            model=arguments.sae_model, texts=arguments.sae_corpus, cloze=arguments.sae_cloze,
            labels=arguments.sae_labels,
        ),
    )  # fmt: skip
    # First, and all of them: nothing is downloaded where one is not to be had.
    labelled = of_labels(labels_of(arguments.sae_labels)) if arguments.sae_labels else []
    ensure([*(need for spec in specs for need in of_sae(spec.own)), *labelled], put)
    prepared.preparation.prepare(put)
    for suite, needs in prepared.needs_of_suites.items():
        prepared.preparation.prepare_suite(suite, needs, put)
    if prepared.holder.unreadable:
        raise ValueError("; ".join(dict.fromkeys(prepared.holder.unreadable.values())))
    put(f"all is here: {prepared.preparation.needed()}")
    return 0
