"""`python -m saebench.zoo FAMILY`: make whatever is missing of its zoo; with `--member NAME`, train that one alone."""

import argparse
import importlib
from pathlib import Path

from saebench.zoo.zoo import Zoo

FAMILIES = ("organism", "smollm2", "toy")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m saebench.zoo", description=__doc__)
    parser.add_argument("family", choices=FAMILIES)
    parser.add_argument("--member", help="name of one SAE of the zoo")
    parser.add_argument("--work", type=Path, help="where checkpoints and activations lie")
    arguments = parser.parse_args()
    if arguments.family == "toy":
        from saebench.zoo.toy import build_toy

        return build_toy()
    zoo: Zoo = importlib.import_module(f"saebench.zoo.{arguments.family}").ZOO
    work = arguments.work or zoo.work
    if arguments.member:
        from saebench.zoo.training import train_one

        return train_one(zoo, arguments.member, work)
    from saebench.zoo.build import build

    build(zoo, work)


if __name__ == "__main__":
    main()
