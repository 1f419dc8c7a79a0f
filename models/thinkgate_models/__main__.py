"""`python -m thinkgate_models prepare|teach|label|train|count|export|second|card|sample`: see models/README.md."""

from __future__ import annotations

import argparse
from pathlib import Path

from . import report, teach, train


def main() -> None:
    """Run one step."""
    parser = argparse.ArgumentParser(prog="thinkgate_models", description=__doc__)
    steps = parser.add_subparsers(dest="step", required=True)
    for name, told in (
        ("prepare", "train the tokenizer and make the first embeddings"),
        ("teach", "train the second stage"),
        ("label", "write what the second stage says about text, for `train` to learn from"),
        ("train", "train the default"),
        ("count", "train the linear member and join it with the default"),
        ("export", "calibrate, choose thresholds, measure, and write the shipped files"),
        ("second", "calibrate, measure and write the second stage"),
        ("card", "write CARD.md and SHA256SUMS beside the shipped files"),
        ("sample", "print seeded pieces of synthetic text, to be judged by eye"),
    ):
        step = steps.add_parser(name, help=told)
        step.add_argument("--data", type=Path, required=True, help="folder of train.jsonl.gz and dev.jsonl.gz")
        if name != "sample":
            step.add_argument("--work", type=Path, required=True, help="folder for what lies between the steps")
        if name in ("export", "second", "card"):
            step.add_argument("--out", type=Path, required=True, help="folder of the shipped files")
        if name == "second":
            step.add_argument("--second-out", type=Path, required=True, help="folder of the second stage's files")
        if name in ("teach", "train"):
            step.add_argument("--epochs", type=int, default=10)
            step.add_argument("--minutes", type=float, default=40.0, help="stop after so much processor time")
        if name == "count":
            step.add_argument("--epochs", type=int, default=2)
        if name in ("teach", "train"):
            step.add_argument("--start", type=Path, help="weights to go on from")
        if name == "teach":
            step.add_argument("--layers", type=int, default=6, help="of the encoder's six")
        if name == "label":
            step.add_argument("--count", type=int, default=12_000, help="windows")
        if name in ("teach", "label", "train", "count", "sample"):
            step.add_argument("--seed", type=int, default=7)
        if name == "sample":
            step.add_argument("--count", type=int, default=100)
    given = parser.parse_args()
    if given.step == "prepare":
        train.prepare(given.data, given.work)
    elif given.step == "teach":
        teach.teach(given.data, given.work, given.epochs, given.seed, given.minutes, given.layers, given.start)
    elif given.step == "label":
        teach.label(given.data, given.work, given.seed, given.count)
    elif given.step == "train":
        train.train(given.data, given.work, given.epochs, given.seed, given.minutes, given.start)
    elif given.step == "count":
        train.count(given.data, given.work, given.epochs, given.seed)
    elif given.step == "export":
        report.export(given.data, given.work, given.out)
    elif given.step == "second":
        report.export_second(given.data, given.work, given.out, given.second_out)
    elif given.step == "card":
        report.card(given.data, given.work, given.out)
    else:
        report.sample(given.data, given.seed, given.count)


if __name__ == "__main__":
    main()
