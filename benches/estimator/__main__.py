"""`python -m benches.estimator fit`, then `measure`; `make estimator` measures."""

from __future__ import annotations

import argparse
from pathlib import Path

from .corpora import download


def main() -> None:
    parser = argparse.ArgumentParser("python -m benches.estimator", description="Fit and measure the token estimator.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("fit", help="write the table of the estimator anew (needs numpy)")
    measure = commands.add_parser("measure", help="compare the estimates with the exact counts")
    measure.add_argument("--jsonl", type=Path, nargs="+", metavar="FILE", help="on the `prompt` of each row")
    arguments = parser.parse_args()
    if arguments.command == "measure" and arguments.jsonl:
        from .measure import measure_rows

        measure_rows(arguments.jsonl)
        return
    download()
    if arguments.command == "fit":
        from .fit import fit

        fit()
    else:
        from .measure import measure_corpora

        measure_corpora()


main()
