"""`python -m thinkgate_models prepare|train|export|card|sample`: see models/README.md."""

from __future__ import annotations

import argparse
from pathlib import Path

from . import report, train


def main() -> None:
    """Run one step."""
    parser = argparse.ArgumentParser(prog="thinkgate_models", description=__doc__)
    steps = parser.add_subparsers(dest="step", required=True)
    for name, told in (
        ("prepare", "train the tokenizer and make the first embeddings"),
        ("train", "train the network"),
        ("export", "calibrate, choose thresholds, measure, and write the shipped files"),
        ("card", "write CARD.md and SHA256SUMS beside the shipped files"),
        ("sample", "print seeded pieces of synthetic text, to be judged by eye"),
    ):
        step = steps.add_parser(name, help=told)
        step.add_argument("--data", type=Path, required=True, help="folder of train.jsonl.gz and dev.jsonl.gz")
        if name != "sample":
            step.add_argument("--work", type=Path, required=True, help="folder for what lies between the steps")
        if name in ("export", "card"):
            step.add_argument("--out", type=Path, required=True, help="folder of the shipped files")
        if name == "train":
            step.add_argument("--epochs", type=int, default=10)
            step.add_argument("--minutes", type=float, default=40.0, help="stop after this time")
        if name in ("train", "sample"):
            step.add_argument("--seed", type=int, default=7)
        if name == "sample":
            step.add_argument("--count", type=int, default=100)
    given = parser.parse_args()
    if given.step == "prepare":
        train.prepare(given.data, given.work)
    elif given.step == "train":
        train.train(given.data, given.work, given.epochs, given.seed, given.minutes)
    elif given.step == "export":
        report.export(given.data, given.work, given.out)
    elif given.step == "card":
        report.card(given.data, given.work, given.out)
    else:
        report.sample(given.data, given.seed, given.count)


if __name__ == "__main__":
    main()
