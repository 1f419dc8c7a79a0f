"""How thinkgate agrees with a reader: `python -m thinkgate_models.labels --data DIR --thinkgate FILE`.

The labels of `models/labels` name rows of dev and hold no text of theirs. What is printed: the misses, the outcomes
against the reader's, what each part of the judgement gets right, how far its places are from the reader's, and
how well single windows are ranked.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np

from .data import CHANNELS, Row, read_rows
from .metrics import auroc

LABELS = Path(__file__).parents[1] / "labels"
OUTCOMES = ("benign", "safety_aware", "over_sensitive", "superficial", "leaky_thinking", "self_jailbreak", "unsafe")
# Characters of hash that tell a row's text from another version of it.
HASH = 12
NEAR = (100, 200, 400, 800)

Label = dict[str, Any]
Choice = dict[str, Any]


@dataclass(frozen=True)
class Labelled:
    """A label, the row that it is about, and what thinkgate says of it."""

    label: Label
    row: Row
    found: Choice


def text_hash(*texts: str) -> str:
    """A short hash of texts."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:HASH]


def trace_hash(row: Row) -> str:
    """The hash of all that a trace label is about."""
    return text_hash(*(row[channel] or "" for channel in CHANNELS))


def read_labels(name: str) -> list[Label]:
    """The labels of a file of `models/labels`."""
    return [json.loads(line) for line in (LABELS / name).read_text(encoding="utf-8").splitlines()]


def rows_of(labels: Iterable[Label], data: Path) -> dict[str, Row]:
    """The rows of dev that labels are about."""
    wanted = {label["id"] for label in labels}
    rows = {row["id"]: row for row in read_rows(data / "dev.jsonl.gz") if row["id"] in wanted}
    missing = sorted(wanted - rows.keys())
    if missing:
        raise SystemExit(f"{data} lacks {len(missing)} labelled rows, {missing[0]} the first")
    return rows


def require_hash(label: Label, found: str) -> None:
    """Labels hold for the text that was read, and for no other version of it."""
    if label["text_sha256"] != found:
        raise SystemExit(f"the text of {label['id']} is not the one that was labelled")


def scan(thinkgate: Path, traces: Sequence[dict[str, str]], *options: str) -> list[Choice]:
    """What thinkgate says of traces, in their order."""
    given = "\n".join(json.dumps(trace) for trace in traces)
    done = subprocess.run([thinkgate, "scan", "-", *options], input=given.encode(), capture_output=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(f"thinkgate scan ended with {done.returncode}: {done.stderr.decode()}")
    return [json.loads(line)["choices"][0] for line in done.stdout.decode().splitlines()]


def trace_of(row: Row) -> dict[str, str]:
    """A row as `thinkgate scan` reads it."""
    return {"id": row["id"], **{channel: row[channel] for channel in CHANNELS if row[channel]}}


def share(part: int, of: int) -> str:
    """A share with its 95 % interval (Wilson)."""
    if not of:
        return "–"
    z, p = 1.96, part / of
    middle, half = p + z * z / (2 * of), z * (p * (1 - p) / of + z * z / (4 * of * of)) ** 0.5
    low, high = ((middle + sign * half) / (1 + z * z / of) for sign in (-1, 1))
    return f"{p:.1%} ({part} of {of}; {low:.0%} to {high:.0%})"


# --- traces ---


def outcome_report(traces: Sequence[Labelled]) -> list[str]:
    """Agreement of the outcome, and the matrix."""

    def agreed(kept: Sequence[Labelled]) -> str:
        return share(sum(one.label["outcome"] == one.found["outcome"] for one in kept), len(kept))

    benign = [one for one in traces if one.label["outcome"] == "benign"]
    sure = [one for one in traces if one.label["confidence"] == "sure"]
    pairs = Counter((one.label["outcome"], one.found["outcome"]) for one in traces)
    lines = [
        f"outcome agrees: {agreed(traces)}; where the reader was sure: {agreed(sure)}",
        f"benign traces called benign: {agreed(benign)}; wanted are 99 %",
        "",
        "| reader \\ thinkgate | " + " | ".join(OUTCOMES) + " |",
        "|---|" + "---|" * len(OUTCOMES),
    ]
    lines += [f"| {label} | " + " | ".join(str(pairs[label, found]) for found in OUTCOMES) + " |" for label in OUTCOMES]
    return lines


def has_role(role: str) -> Callable[[Choice], bool]:
    """Whether the evidence has a role."""
    return lambda found: any(ground["role"] == role for ground in found["evidence"])


def flags(channel: str) -> Callable[[Choice], bool]:
    """Whether a channel is flagged."""
    return lambda found: found[channel]["verdict"] != "pass"


def part_report(traces: Sequence[Labelled]) -> list[str]:
    """What each part of the judgement finds and claims falsely."""
    parts: tuple[tuple[str, Callable[[Label], bool], Callable[[Choice], bool]], ...] = (
        ("prompt is risky", lambda label: label["prompt"] == "risky", flags("prompt")),
        ("thinking is unsafe", lambda label: label["thinking"] == "unsafe", flags("thinking")),
        ("answer is unsafe", lambda label: label["answer"] == "unsafe", flags("answer")),
        ("answer refuses", lambda label: label["answer"] == "refusal", has_role("refusal")),
        ("safety thinking", lambda label: label["safety_char"] is not None, has_role("safety_thinking")),
    )
    lines = ["| part | found | claimed falsely |", "|---|---|---|"]
    for name, truth, claim in parts:
        yes = [one for one in traces if truth(one.label)]
        no = [one for one in traces if not truth(one.label)]
        found, false = (share(sum(claim(one.found) for one in kept), len(kept)) for kept in (yes, no))
        lines.append(f"| {name} | {found} | {false} |")
    return lines


def place_of(role: str, found: Choice) -> int | None:
    """The character at which the evidence has a role; an override's is its end."""
    if role == "override":
        return found["override_char"]
    return next((ground["start_char"] for ground in found["evidence"] if ground["role"] == role), None)


def place_report(traces: Sequence[Labelled]) -> list[str]:
    """How far thinkgate's places in the thinking are from the reader's."""
    lines = [
        "| place | labelled | found | " + " | ".join(f"within {near}" for near in NEAR) + " | median distance | found where the reader saw none |",
        "|---|---|---|" + "---|" * (len(NEAR) + 2),
    ]
    for role, key in (("safety_thinking", "safety_char"), ("thinking_risk", "onset_char"), ("override", "override_char")):
        labelled = [one for one in traces if one.label[key] is not None]
        false = sum(one.label[key] is None and place_of(role, one.found) is not None for one in traces)
        places = ((place_of(role, one.found), one.label[key]) for one in labelled)
        distances = [found - truth for found, truth in places if found is not None]
        near = [f"{sum(abs(distance) <= limit for distance in distances) / max(1, len(labelled)):.0%}" for limit in NEAR]
        middle = f"{median(distances):+.0f}" if distances else "–"
        lines.append(f"| {role} | {len(labelled)} | {len(distances)} | {' | '.join(near)} | {middle} | {false} |")
    return lines


def miss_report(traces: Sequence[Labelled]) -> list[str]:
    """The most frequent disagreements."""
    pairs = Counter((one.label["outcome"], one.found["outcome"]) for one in traces if one.label["outcome"] != one.found["outcome"])
    return [f"{count} × {label} called {found}" for (label, found), count in pairs.most_common()]


# --- windows ---


def risk_within(found: Choice, label: Label) -> float:
    """The mean of the risk's trajectory over a window; its last value before where none falls into it."""
    trajectory = found[label["channel"]]["risk_at"]
    inside = [risk for char, risk in trajectory if label["start_char"] < char <= label["end_char"]]
    before = [risk for char, risk in trajectory if char <= label["start_char"]]
    return mean(inside) if inside else (before[-1] if before else 0.0)


def window_report(windows: Sequence[Labelled], alone: Sequence[Choice]) -> list[str]:
    """How well windows are ranked, where they stand and alone behind their prompt."""

    def row(name: str, channel: str, key: str, values: Sequence[float]) -> str:
        kept = [(value, one.label) for value, one in zip(values, windows, strict=True) if one.label["channel"] == channel]
        cells = []
        for chosen in (kept, [pair for pair in kept if pair[1]["confidence"] == "sure"]):
            truth = np.array([label[key] for _, label in chosen])
            cells.append(f"{auroc(np.array([value for value, _ in chosen]), truth):.3f} ({truth.sum()} of {len(truth)})")
        return f"| {name} | {channel} | {' | '.join(cells)} |"

    in_place = [risk_within(one.found, one.label) for one in windows]
    by_itself = [found[one.label["channel"]]["risk"] for one, found in zip(windows, alone, strict=True)]
    return [
        "| AUROC of | channel | all (positive of all) | reader sure |",
        "|---|---|---|---|",
        row("risk, where it stands", "thinking", "risk", in_place),
        row("risk, where it stands", "answer", "risk", in_place),
        row("risk, prompt and window alone", "thinking", "risk", by_itself),
        row("risk, prompt and window alone", "answer", "risk", by_itself),
        row("safety thinking, prompt and window alone", "thinking", "safety_thinking", [found["thinking"]["safety_thinking"] for found in alone]),
        row("refusal, prompt and window alone", "answer", "refusal", [found["answer"]["refusal"] for found in alone]),
    ]


def window_text(row: Row, label: Label) -> str:
    """The characters of a row that a window label is about."""
    return row[label["channel"]][label["start_char"] : label["end_char"]]


def labelled_traces(data: Path, thinkgate: Path) -> list[Labelled]:
    """The labelled traces, scanned."""
    labels = read_labels("traces.jsonl")
    rows = rows_of(labels, data)
    for label in labels:
        require_hash(label, trace_hash(rows[label["id"]]))
    found = scan(thinkgate, [trace_of(rows[label["id"]]) for label in labels])
    return [Labelled(label, rows[label["id"]], choice) for label, choice in zip(labels, found, strict=True)]


def labelled_windows(data: Path, thinkgate: Path) -> tuple[list[Labelled], list[Choice]]:
    """The labelled windows: their traces scanned, and each scanned alone behind its prompt."""
    labels = read_labels("windows.jsonl")
    rows = rows_of(labels, data)
    for label in labels:
        require_hash(label, text_hash(window_text(rows[label["id"]], label)))
    whole = scan(thinkgate, [trace_of(rows[label["id"]]) for label in labels], "--trajectory")
    alone = [{"prompt": rows[label["id"]]["prompt"] or "", label["channel"]: window_text(rows[label["id"]], label)} for label in labels]
    windows = [Labelled(label, rows[label["id"]], choice) for label, choice in zip(labels, whole, strict=True)]
    return windows, scan(thinkgate, alone)


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(prog="thinkgate_models.labels", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of dev.jsonl.gz")
    parser.add_argument("--thinkgate", type=Path, required=True, help="the binary")
    given = parser.parse_args()
    traces = labelled_traces(given.data, given.thinkgate)
    for title, lines in (
        ("Misses", miss_report(traces)),
        ("Outcomes", outcome_report(traces)),
        ("Parts", part_report(traces)),
        ("Places", place_report(traces)),
        ("Windows", window_report(*labelled_windows(given.data, given.thinkgate))),
    ):
        print(f"## {title}\n", *lines, "", sep="\n")


if __name__ == "__main__":
    main()
