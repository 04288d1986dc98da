"""`python -m saebench.zoo`: build whatever is missing; `sae NAME`: train one member of the zoo."""

import argparse
from pathlib import Path

from saebench.zoo.build import WORK, build, train_one


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m saebench.zoo", description=__doc__)
    parser.add_argument("what", nargs="?", choices=["all", "sae"], default="all")
    parser.add_argument("name", nargs="?", help="member of the zoo")
    parser.add_argument("--work", type=Path, default=WORK)
    arguments = parser.parse_args()
    if arguments.what == "sae":
        train_one(arguments.name, arguments.work)
    else:
        build(arguments.work)


if __name__ == "__main__":
    main()
