"""`saebench fetch`: download all that a run will need."""

import argparse

from saebench.catalogue import registry
from saebench.commands import DEFAULT_SCORES, Commands, put
from saebench.hub.needs import ensure, of_sae
from saebench.record.store import Store
from saebench.run.options import Options
from saebench.run.run import Run


def add(commands: Commands) -> None:
    parser = commands.add_parser("fetch", help="download all that a run will need: SAEs, their model, texts")
    parser.add_argument("names", nargs="*", metavar="NAME", help="as for pytest --sae")
    parser.add_argument("--sae-model", metavar="NAME", help="as for pytest: another model than the SAEs' own")
    parser.add_argument("--sae-corpus", metavar="TEXTS", help="as for pytest: other texts")
    parser.add_argument("--sae-cloze", metavar="TASK", help="as for pytest: cloze questions of the hub")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    if not (arguments.names or arguments.sae_model or arguments.sae_corpus or arguments.sae_cloze):
        raise ValueError("name what to fetch: an SAE as for pytest --sae, --sae-model, --sae-corpus or --sae-cloze")
    specs = registry.resolve_all(arguments.names)
    prepared = Run(
        specs,
        Store(DEFAULT_SCORES),
        Options(model=arguments.sae_model, texts=arguments.sae_corpus, cloze=arguments.sae_cloze),
    )
    # First, and all of them: nothing is downloaded where one is not to be had.
    ensure([need for spec in specs for need in of_sae(spec.own)], put)
    prepared.preparation.prepare(put)
    for suite, needs in prepared.needs_of_suites.items():
        prepared.preparation.prepare_suite(suite, needs, put)
    if prepared.holder.unreadable:
        raise ValueError("; ".join(dict.fromkeys(prepared.holder.unreadable.values())))
    put(f"all is here: {prepared.preparation.needed()}")
    return 0
