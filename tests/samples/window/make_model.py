"""Writes the tests' model of windows: each word of a window adds to its logits.

    pip install onnx numpy && python make_model.py
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from model_files import CHANNELS, every, tokenizer, write

# What the outputs are; the first is nobody's.
HEADS = [None, "risk", "refusal"]
BASE = [0, -4, -4]
# Every other word adds nothing. In fiction, what is harmful is not.
WORDS = {"harm": [0, 2, 0], "fiction": [0, -20, 0], "refuse": [0, 0, 4]}
SPECIAL = ["[UNK]", "[CLS]", "[SEP]"]


def words() -> dict:
    def special(name: str, kind: int) -> dict:
        return {"SpecialToken": {"id": name, "type_id": kind}}

    def text(name: str, kind: int) -> dict:
        return {"Sequence": {"id": name, "type_id": kind}}

    names = SPECIAL + list(WORDS)
    number = {name: place for place, name in enumerate(names)}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return tokenizer(
        number,
        added_tokens=[{"id": number[name], "content": name} | flags for name in SPECIAL],
        post_processor={
            "type": "TemplateProcessing",
            "single": [special("[CLS]", 0), text("A", 0), special("[SEP]", 0)],
            "pair": [special("[CLS]", 0), text("A", 0), special("[SEP]", 0), text("B", 1), special("[SEP]", 1)],
            "special_tokens": {name: {"id": name, "ids": [number[name]], "tokens": [name]} for name in SPECIAL[1:]},
        },
    )


def graph() -> onnx.GraphProto:
    table = np.array([[0] * len(HEADS)] * len(SPECIAL) + list(WORDS.values()), dtype=np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["words"]),
        # The type is read, and says nothing.
        helper.make_node("Gather", ["kinds", "token_type_ids"], ["kind"]),
        helper.make_node("Add", ["words", "kind"], ["marked"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["marked", "column"], ["seen"]),
        helper.make_node("ReduceSum", ["seen", "tokens"], ["sum"], keepdims=0),
        helper.make_node("Add", ["sum", "base"], ["logits"]),
    ]
    value = helper.make_tensor_value_info
    inputs = ["input_ids", "attention_mask", "token_type_ids"]
    return helper.make_graph(
        nodes,
        "window",
        [value(name, TensorProto.INT64, ["B", "T"]) for name in inputs],
        [value("logits", TensorProto.FLOAT, ["B", len(HEADS)])],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.zeros((2, len(HEADS)), dtype=np.float32), "kinds"),
            numpy_helper.from_array(np.array(BASE, dtype=np.float32), "base"),
            numpy_helper.from_array(np.array([1], dtype=np.int64), "tokens"),
            numpy_helper.from_array(np.array([2], dtype=np.int64), "last"),
        ],
    )


def main() -> None:
    heads = [head for head in HEADS if head]
    about = {"kind": "window", "name": "windows", "version": "1"}
    rest = {
        "inputs": ["input_ids", "attention_mask", "token_type_ids"],
        "window": {
            "tokens": 16,
            "stride": 4,
            "prompt_tokens": 4,
            "prefix": {channel: f"{channel}: " for channel in CHANNELS},
        },
        "channels": CHANNELS,
        "heads": HEADS,
        "calibration": every(heads, {"scale": 1.0, "bias": 0.0}),
        "decision": {"pool": "mean", "burn_in_tokens": 0, "consecutive": 1},
        "thresholds": every(heads, {"fpr_1": 0.5, "fpr_0.1": 0.9}),
        "consult": {"from": 0.2, "to": 0.98, "weight": 0.5},
    }
    write(HERE, graph(), words(), about, rest)


if __name__ == "__main__":
    main()
