"""Writes the tests' model: each word has its own logits, and the state counts tokens.

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

HEADS = ["risk", "safety_thinking", "refusal", "cybercrime"]
# Every other word is calm. What is harmful is of the kind cybercrime.
WORDS = {"harm": [4, -4, -4, 4], "careful": [-4, 4, -4, -4], "refuse": [-4, -4, 4, -4]}
CALM = [-4] * len(HEADS)


def graph() -> onnx.GraphProto:
    table = np.array([CALM, *WORDS.values()], dtype=np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "tokens"], ["words"]),
        # The channel is read, and says nothing.
        helper.make_node("Gather", ["mark", "channel"], ["marks"]),
        helper.make_node("Add", ["words", "marks"], ["logits"]),
        helper.make_node("ReduceSum", ["mask", "steps"], ["count"], keepdims=1),
        helper.make_node("Add", ["state", "count"], ["state_out"]),
    ]
    value = helper.make_tensor_value_info
    return helper.make_graph(
        nodes,
        "words",
        [
            value("tokens", TensorProto.INT64, ["B", 8]),
            value("channel", TensorProto.INT64, ["B", 8]),
            value("mask", TensorProto.FLOAT, ["B", 8]),
            value("state", TensorProto.FLOAT, ["B", 2]),
        ],
        [
            value("logits", TensorProto.FLOAT, ["B", 8, len(HEADS)]),
            value("state_out", TensorProto.FLOAT, ["B", 2]),
        ],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.zeros((3, len(HEADS)), dtype=np.float32), "mark"),
            numpy_helper.from_array(np.array([1], dtype=np.int64), "steps"),
        ],
    )


def main() -> None:
    vocabulary = {"[UNK]": 0} | {word: number for number, word in enumerate(WORDS, 1)}
    about = {"name": "words", "version": "1"}
    rest = {
        "state": 2,
        "steps": 8,
        "channels": CHANNELS,
        "heads": HEADS,
        "calibration": every(HEADS, {"scale": 1.0, "bias": 0.0}),
        "decision": {"pool": "mean", "burn_in_tokens": 0, "consecutive": 2},
        "thresholds": every(HEADS, {"fpr_1": 0.5, "fpr_0.1": 0.9}),
    }
    write(HERE, graph(), tokenizer(vocabulary), about, rest)


if __name__ == "__main__":
    main()
