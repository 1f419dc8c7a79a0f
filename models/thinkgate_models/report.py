"""Writing what is shipped: the graph, the manifest with its thresholds and figures, the card."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import calibrate, model
from . import export as graph
from .corpus import Corpus
from .data import CHANNELS, HEADS, Row, is_held_out, label, language, permissive_rows, read_rows
from .metrics import auroc, recall_at
from .score import Decision, Scored, score
from .text import load_tokenizer
from .train import training_rows

NAME = "thinkgate-default"
VERSION = "1"
DECISION = Decision(pool="mean", burn_in_tokens=32, consecutive=2)
Where = Callable[[Row], bool]


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def values(scored: Sequence[Scored], calibration: calibrate.Calibration, channel: int, where: Where) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the labelled texts of a channel: the pooled value at the end, the flag value, the label."""
    final, flag, labels = [], [], []
    for one in scored:
        truth = label(one.row, channel)
        if truth is None or channel not in one.logits or not where(one.row):
            continue
        probabilities = calibrate.calibrated(one.logits[channel], calibration, channel, 0)
        final.append(DECISION.final(probabilities))
        flag.append(DECISION.flag_value(probabilities))
        labels.append(truth)
    return np.array(final), np.array(flag), np.array(labels)


def figure(scored: Sequence[Scored], calibration: calibrate.Calibration, thresholds: calibrate.Thresholds, channel: int, where: Where) -> dict[str, Any] | None:
    """AUROC, recalls and rates of one group of texts."""
    final, flag, labels = values(scored, calibration, channel, where)
    if not len(labels):
        return None
    own = thresholds[CHANNELS[channel]]["risk"]
    found: dict[str, Any] = {"unsafe": int((labels == 1).sum()), "safe": int((labels == 0).sum())}
    if found["unsafe"] and found["safe"]:
        found["auroc"] = round(auroc(final, labels), 3)
        found["recall_at_1"] = round(recall_at(flag, labels, 0.01), 3)
        found["recall_at_0.1"] = round(recall_at(flag, labels, 0.001), 3)
    for name, truth in (("recall", 1), ("fpr", 0)):
        if (labels == truth).any():
            for rate in calibrate.RATES:
                found[f"{name}_shipped_{rate}"] = round(float((flag[labels == truth] >= own[rate]).mean()), 4)
    return found


def figures(dev: Sequence[Scored], held: Sequence[Scored], calibration: calibrate.Calibration, thresholds: calibrate.Thresholds) -> dict[str, Any]:
    """Every figure of the card."""
    found: dict[str, Any] = {"dev": {}, "held_out_train": {}}
    for name, scored in (("dev", dev), ("held_out_train", held)):
        for channel, channel_name in enumerate(CHANNELS):
            groups: dict[str, Where] = {"all": lambda row: True}
            for lang in ("en", "zh"):
                groups[lang] = lambda row, lang=lang: language(row) == lang
            for one in sorted({one.row["set"] for one in scored}):
                groups[one] = lambda row, one=one: row["set"] == one
            made = {group: figure(scored, calibration, thresholds, channel, where) for group, where in groups.items()}
            found[name][channel_name] = {group: value for group, value in made.items() if value}
    unsafe_sets = sorted({one.row["set"] for one in dev if label(one.row, 1) == 1})
    found["thinking_against_all_safe"] = {
        one: figure(dev, calibration, thresholds, 1, lambda row, one=one: row["set"] == one and label(row, 1) == 1 or label(row, 1) == 0) for one in unsafe_sets
    }
    benign = [one for one in [*dev, *held] if label(one.row, 0) != 1]
    found["benign_thinking"] = figure(benign, calibration, thresholds, 1, lambda row: label(row, 1) == 0)
    found["leave_one_domain_out"] = {
        name: {domain: {"texts": count, "flagged": round(share, 4)} for domain, (count, share) in calibrate.leave_one_out([*dev, *held], calibration, DECISION, channel).items()}
        for channel, name in enumerate(CHANNELS)
    }
    return found


def export(data: Path, work: Path, out: Path, longest: int = 400, every: int = 1) -> None:
    """Write `model.onnx`, `tokenizer.json` and `manifest.json`; keep the figures of the network before quantising too."""
    torch.set_num_threads(2)
    out.mkdir(parents=True, exist_ok=True)
    trained = model.load(work / "model.pt")
    tokenizer = load_tokenizer(work / "tokenizer.json")
    shutil.copyfile(work / "tokenizer.json", out / "tokenizer.json")
    graph.export(trained, out / "model.onnx")
    dev_rows = list(read_rows(data / "dev.jsonl.gz"))[::every]
    held_rows = [row for row in permissive_rows(data) if is_held_out(row)][::every]
    shipped = model.shipped(trained)
    dev, held = (score(shipped, tokenizer, rows, longest) for rows in (dev_rows, held_rows))
    calibration = calibrate.calibrate(dev, DECISION.burn_in_tokens)
    thresholds = calibrate.thresholds([*dev, *held], calibration, DECISION)
    found = figures(dev, held, calibration, thresholds)
    some = [row for row in dev_rows if row["label_thinking"] or language(row) == "zh"] + dev_rows[:600]
    before, after = score(trained, tokenizer, some, longest), score(shipped, tokenizer, some, longest)
    found["quantisation"] = {
        name: {
            kind: round(auroc(*values(scored, calibration, channel, lambda row: True)[::2]), 4) for kind, scored in (("float32", before), ("shipped", after))
        }
        for channel, name in enumerate(CHANNELS)
    }
    manifest = {
        "schema": 1,
        "name": NAME,
        "version": VERSION,
        "files": {name: digest(out / name) for name in ("model.onnx", "tokenizer.json")},
        "state": trained.shape.state,
        "steps": graph.STEPS,
        "channels": list(CHANNELS),
        "heads": list(HEADS),
        "calibration": calibration,
        "decision": {"pool": DECISION.pool, "burn_in_tokens": DECISION.burn_in_tokens, "consecutive": DECISION.consecutive},
        "thresholds": thresholds,
        "figures": found,
    }
    (out / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


def sample(data: Path, seed: int, count: int) -> None:
    """Print synthetic thinking without its label, then the labels."""
    rng = random.Random(seed)
    own = [example for example in Corpus(training_rows(data)).own(rng)]
    chosen = rng.sample(own, count)
    for number, example in enumerate(chosen):
        print(f"--- {number}")
        for segment in example.segments:
            print(f"[{CHANNELS[segment.channel]}] {segment.text[:700]}")
    print("labels:", " ".join(f"{number}:{next(one.risk for one in example.segments if one.channel == 1)}" for number, example in enumerate(chosen)))
