"""The second stage as an ONNX graph with int8 weights, its manifest and its figures."""

from __future__ import annotations

import json
import pickle
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from tokenizers import Tokenizer

from . import calibrate, windows
from .data import CHANNELS, HEADS, Row, label
from .export import OPSET, Graph
from .metrics import auroc, recall_at
from .model import quantise_embedding
from .score import Consult, Decision, Scored
from .windows import PREFIX, PROMPT_TOKENS, STRIDE, TOKENS, Framer, WindowNet

NAME = "thinkgate-second"
VERSION = "1"
DECISION = Decision(pool="mean", burn_in_tokens=0, consecutive=1, chunk=1)
CONSULT = Consult(lowest=0.2, highest=0.98, weight=0.3)
# The channels that it reads; of prompts the default knows more.
READ = (1, 2)
# A window of whose text so many of a hundred word pieces are unknown is in no language that it was taught: of dev's English windows
# 1 in 2,000, of its Chinese ones all.
UNKNOWN = {"token": "[UNK]", "percent": 25}
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def build(model: WindowNet) -> onnx.ModelProto:
    """The graph of a trained network; its tables of words in int8, the rest as it is."""
    shape = model.shape
    weights = {name: tensor.detach().float().numpy() for name, tensor in model.state_dict().items()}
    graph = Graph()
    heads, size = windows.ATTENTION_HEADS, shape.width // windows.ATTENTION_HEADS

    def whole(values: Sequence[int], name: str) -> str:
        return graph.constant(np.array(values, dtype=np.int64), name)

    def number(value: float, name: str) -> str:
        return graph.constant(np.array(value, dtype=np.float32), name)

    def dense(value: str, name: str) -> str:
        product = graph.add("MatMul", value, graph.constant(weights[f"{name}.weight"].T, f"{name}.weight"), name=f"{name}.product")
        return graph.add("Add", product, graph.constant(weights[f"{name}.bias"], f"{name}.bias"))

    def norm(value: str, name: str) -> str:
        scale, bias = (graph.constant(weights[f"{name}.{kind}"], f"{name}.{kind}") for kind in ("weight", "bias"))
        return graph.add("LayerNormalization", value, scale, bias, axis=-1, epsilon=1e-12)

    axis_1, axis_2, axes_12 = whole([1], "axis_1"), whole([2], "axis_2"), whole([1, 2], "axes_12")
    table, scale = quantise_embedding(model.words.weight.detach())
    rows = graph.add("Cast", graph.add("Gather", graph.constant(table.numpy(), "words"), "input_ids"), to=TensorProto.FLOAT)
    said = graph.add("Mul", rows, graph.add("Gather", graph.constant(scale.numpy(), "words_scale"), "input_ids"))
    length = graph.add("Slice", graph.add("Shape", "input_ids"), axis_1, axis_2)
    places = graph.add("Slice", graph.constant(weights["places.weight"], "places"), whole([0], "zero"), length)
    x = graph.add("Add", graph.add("Add", said, places), graph.add("Gather", graph.constant(weights["kinds.weight"], "kinds"), "token_type_ids"))
    x = norm(x, "norm")
    here = graph.add("Cast", "attention_mask", to=TensorProto.FLOAT)
    hidden = graph.add("Unsqueeze", graph.add("Mul", graph.add("Sub", number(1.0, "one"), here), number(-1e4, "far")), axes_12)

    apart, joined = whole([0, 0, heads, size], "apart"), whole([0, 0, shape.width], "joined")
    root, half, one_half = number(float(np.sqrt(size)), "root"), number(0.5, "half"), number(float(np.sqrt(0.5)), "sqrt_half")
    for layer in range(shape.layers):
        name = f"layers.{layer}"
        query, key, value = (graph.add("Reshape", dense(x, f"{name}.{part}"), apart) for part in ("query", "key", "value"))
        query, value = (graph.add("Transpose", part, perm=[0, 2, 1, 3]) for part in (query, value))
        key = graph.add("Transpose", key, perm=[0, 2, 3, 1])
        alike = graph.add("Add", graph.add("Div", graph.add("MatMul", query, key), root), hidden)
        shares = graph.add("MatMul", graph.add("Softmax", alike, axis=-1), value)
        attended = graph.add("Reshape", graph.add("Transpose", shares, perm=[0, 2, 1, 3]), joined)
        x = norm(graph.add("Add", x, dense(attended, f"{name}.attended")), f"{name}.norm_1")
        up = dense(x, f"{name}.up")
        bent = graph.add("Mul", graph.add("Mul", up, half), graph.add("Add", graph.add("Erf", graph.add("Mul", up, one_half)), "one"))
        x = norm(graph.add("Add", x, dense(bent, f"{name}.down")), f"{name}.norm_2")
    sums = graph.add("ReduceSum", graph.add("Mul", x, graph.add("Unsqueeze", here, axis_2)), axis_1, keepdims=0)
    mean = graph.add("Div", sums, graph.add("ReduceSum", here, axis_1, keepdims=1))
    mixed = graph.add("Relu", dense(mean, "mix"))
    product = graph.add("MatMul", mixed, graph.constant(weights["out.weight"].T, "out.weight"), name="out.product")
    graph.add("Add", product, graph.constant(weights["out.bias"], "out.bias"), name="logits")

    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["B", "T"]) for name in INPUTS]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", shape.heads])
    proto = helper.make_graph(graph.nodes, "thinkgate_second", inputs, [output], graph.constants)
    exported = helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="thinkgate_models")
    exported.ir_version = 8
    onnx.checker.check_model(exported, full_check=True)
    return exported


def export(model: WindowNet, path: Path) -> None:
    """Write the graph with the weights of its layers in int8, a scale for every column."""
    built = build(model)
    last = [node.name for node in built.graph.node if node.output[0] in ("mix.product", "out.product")]
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.onnx"
        onnx.save(built, str(plain))
        quantize_dynamic(plain, path, op_types_to_quantize=["MatMul"], per_channel=True, weight_type=QuantType.QInt8, nodes_to_exclude=last)


def session_of(path: Path) -> onnxruntime.InferenceSession:
    """The graph on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def scores(work: Path, graph: Path, rows: Sequence[Row], name: str, digest: str) -> list[Scored]:
    """Scores of rows, kept in the work folder for as long as the graph stays the same."""
    kept = work / f"second-scores-{name}-{digest[:12]}.pkl"
    if not kept.exists():
        framer = Framer(Tokenizer.from_file(str(work / "second-tokenizer.json")))
        found = windows.score(partial(windows.logits_by, session_of(graph)), framer, rows)
        kept.write_bytes(pickle.dumps([one.logits for one in found]))
    return [Scored(row, logits) for row, logits in zip(rows, pickle.loads(kept.read_bytes()), strict=True)]


def final(scored: Sequence[Scored], calibration: calibrate.Calibration, decision: Decision, channel: int) -> np.ndarray:
    """The pooled risk of each row's channel at its end; NaN where there is none."""
    return np.array(
        [
            decision.final(calibrate.calibrated(one.logits[channel], calibration, channel, 0)) if channel in one.logits else np.nan
            for one in scored
        ]
    )


@dataclass(frozen=True)
class Judged:
    """What both say of a channel of rows: the default's final and flag values, the second stage's final ones; NaN where there is none."""

    rows: Sequence[Row]
    channel: int
    first: np.ndarray
    flags: np.ndarray
    second: np.ndarray

    def part(self, count: int) -> Judged:
        """The first rows."""
        return Judged(self.rows[:count], self.channel, self.first[:count], self.flags[:count], self.second[:count])

    @property
    def asked(self) -> np.ndarray:
        """Where the second stage is asked and knows something."""
        return (self.first >= CONSULT.lowest) & (self.first <= CONSULT.highest) & ~np.isnan(self.second)

    def both(self, least: float) -> np.ndarray:
        """What a threshold meets: the combined risk where the second stage is asked, and elsewhere 1 where the default flags by itself, at `least`."""
        return np.where(self.asked, CONSULT.joined(self.first, self.second), (self.flags >= least).astype(float))

    def benign(self, least: float) -> dict[str, np.ndarray]:
        """`both` of the texts that are labelled safe, by domain."""
        values: dict[str, list[float]] = {}
        for row, value, there in zip(self.rows, self.both(least), ~np.isnan(self.first), strict=True):
            if there and label(row, self.channel) == 0 and row["set"] != calibrate.LABELLED_BY_ANSWER:
                values.setdefault(f"{row['set']}/{row['lang']}", []).append(value)
        return {domain: np.array(own) for domain, own in values.items()}


def judged(
    rows: Sequence[Row],
    first: Sequence[Scored],
    second: Sequence[Scored],
    default: calibrate.Calibration,
    own: calibrate.Calibration,
    decision: Decision,
    channel: int,
) -> Judged:
    """Both stages' values of a channel."""
    there = [one.logits.get(channel) for one in first]
    risks = [None if logits is None else calibrate.calibrated(logits, default, channel, 0) for logits in there]
    finals, flags = (np.array([np.nan if risk is None else value(risk) for risk in risks]) for value in (decision.final, decision.flag_value))
    return Judged(rows, channel, finals, flags, final(second, own, DECISION, channel))


def compared(both: Judged, combined: dict[str, float], alone: dict[str, float]) -> dict[str, dict[str, Any]]:
    """AUROC and recall of the default alone, the second stage alone, and the default with the second stage where it is unsure, by set."""
    groups = {"en": [True] * len(both.rows)}
    groups.update({name: [row["set"] == name for row in both.rows] for name in sorted({row["set"] for row in both.rows})})
    truth = np.array([-1 if (one := label(row, both.channel)) is None else one for row in both.rows])
    flagged = {"first": both.flags >= alone["fpr_1"], "both": both.both(alone["fpr_1"]) >= combined["fpr_1"]}
    kinds = {"first": both.first, "second": both.second, "both": CONSULT.joined(both.first, both.second)}
    found: dict[str, dict[str, Any]] = {}
    for name, where in groups.items():
        there = np.array(where) & (truth >= 0) & ~np.isnan(both.first) & ~np.isnan(both.second)
        labels = truth[there]
        if not len(labels):
            continue
        found[name] = {"unsafe": int((labels == 1).sum()), "safe": int((labels == 0).sum()), "asked": round(float(both.asked[there].mean()), 3)}
        if (labels == 1).any() and (labels == 0).any():
            for kind, values in kinds.items():
                found[name][kind] = {"auroc": round(auroc(values[there], labels), 3), "recall_at_1": round(recall_at(values[there], labels, 0.01), 3)}
        for kind, flags in flagged.items():
            shares = {told: round(float(flags[there][labels == one].mean()), 4) for told, one in (("found", 1), ("flagged", 0)) if (labels == one).any()}
            found[name].setdefault(kind, {}).update(shares)
    return found


def manifest(files: dict[str, str], calibration: calibrate.Calibration, thresholds: calibrate.Thresholds, figures: dict[str, Any]) -> str:
    """What the proxy reads."""
    told = {
        "schema": 1,
        "kind": "window",
        "name": NAME,
        "version": VERSION,
        "files": files,
        "inputs": list(INPUTS),
        "window": {"tokens": TOKENS, "stride": STRIDE, "prompt_tokens": PROMPT_TOKENS, "prefix": {CHANNELS[channel]: PREFIX[CHANNELS[channel]] for channel in READ}, "text": "normalised", "unknown": UNKNOWN},
        "channels": [CHANNELS[channel] for channel in READ],
        "heads": list(HEADS),
        "calibration": calibration,
        "decision": {"pool": DECISION.pool, "alpha": DECISION.alpha, "burn_in_tokens": DECISION.burn_in_tokens, "consecutive": DECISION.consecutive},
        "thresholds": thresholds,
        "consult": {"from": CONSULT.lowest, "to": CONSULT.highest, "weight": CONSULT.weight},
        "figures": figures,
    }
    return json.dumps(told, indent=1) + "\n"


def best_weight(pairs: dict[int, Judged]) -> dict[str, dict[str, float]]:
    """AUROC on English of the joined risk over weights of the second stage, for the card to tell how `CONSULT` was chosen."""
    found: dict[str, dict[str, float]] = {}
    for channel, both in pairs.items():
        truth = np.array([-1 if (one := label(row, channel)) is None else one for row in both.rows])
        there = (truth >= 0) & ~np.isnan(both.first) & ~np.isnan(both.second)
        found[CHANNELS[channel]] = {
            str(weight): round(auroc(Consult(CONSULT.lowest, CONSULT.highest, weight).joined(both.first, both.second)[there], truth[there]), 4)
            for weight in (0.0, 0.25, 0.5, 0.75, 1.0)
        }
    return found


def quantised(model: WindowNet, work: Path, rows: Sequence[Row], shipped: Sequence[Scored], calibration: calibrate.Calibration) -> dict[str, dict[str, float]]:
    """AUROC of risk on a part of dev before and after quantising."""
    framer = Framer(Tokenizer.from_file(str(work / "second-tokenizer.json")))
    plain = windows.score(partial(windows.logits_of, model), framer, rows)
    found: dict[str, dict[str, float]] = {}
    for channel in READ:
        truth = np.array([-1 if (one := label(row, channel)) is None else one for row in rows])
        for kind, scored in (("float", plain), ("shipped", shipped)):
            values = final(scored, calibration, DECISION, channel)
            there = (truth >= 0) & ~np.isnan(values)
            found.setdefault(CHANNELS[channel], {})[kind] = round(auroc(values[there], truth[there]), 4)
    return found
