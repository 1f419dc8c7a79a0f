"""The network as an ONNX graph of plain operators: eight unrolled steps a call, an int8 embedding, a carried state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .model import (
    PAIR_CHANNEL,
    PAIR_HASH,
    PAIR_OFFSET,
    TALLY_PRIOR,
    TALLY_SCALE,
    TALLY_WEIGHTS,
    WEIGHT_FLOOR,
    WORD_CHANNEL,
    WORD_HASH,
    WORD_OFFSET,
    GateNet,
    quantise_embedding,
    quantise_tally,
)

STEPS = 8
OPSET = 17


class Graph:
    """Nodes and constants as they are added."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.count = 0

    def constant(self, value: np.ndarray, name: str) -> str:
        """Add a constant."""
        self.constants.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def add(self, operator: str, *inputs: str, name: str | None = None, **attributes: object) -> str:
        """Add a node with one output."""
        self.count += 1
        output = name or f"{operator.lower()}_{self.count}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], name=f"n{self.count}", **attributes))
        return output


def build(model: GateNet) -> onnx.ModelProto:
    """The graph of a trained network."""
    shape = model.shape
    weights = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    table, scale = quantise_embedding(model.embedding.weight.detach())
    graph = Graph()

    def number(value: float, name: str) -> str:
        return graph.constant(np.array(value, dtype=np.float32), name)

    def linear(value: str, name: str, weight: np.ndarray, bias: np.ndarray) -> str:
        product = graph.add("MatMul", value, graph.constant(weight.T.astype(np.float32), f"{name}_weight"))
        return graph.add("Add", product, graph.constant(bias.astype(np.float32), f"{name}_bias"))

    one, floor = number(1.0, "one"), number(WEIGHT_FLOOR, "weight_floor")
    axis_1, axis_2 = (graph.constant(np.array([axis], dtype=np.int64), f"axis_{axis}") for axis in (1, 2))

    def part(value: str, start: int, end: int, axis: str, name: str) -> str:
        bounds = [graph.constant(np.array([bound], dtype=np.int64), f"{name}_{side}") for side, bound in (("from", start), ("to", end))]
        return graph.add("Slice", value, *bounds, axis)

    # x = dequantised embedding + channel mark, [B, 8, E]
    rows = graph.add("Cast", graph.add("Gather", graph.constant(table.numpy(), "embedding"), "tokens", axis=0), to=TensorProto.FLOAT)
    scales = graph.add("Gather", graph.constant(scale.numpy().astype(np.float32), "embedding_scale"), "tokens", axis=0)
    mark = graph.add("Gather", graph.constant(weights["channel.weight"], "channel_mark"), "channel", axis=0)
    x = graph.add("Add", graph.add("Mul", rows, scales), mark)

    # The GRU, step by step; a masked step keeps h as it is.
    hidden, pooled = shape.hidden, shape.pooled
    inward = linear(x, "gru_in", weights["gru.weight_ih_l0"], weights["gru.bias_ih_l0"])
    mask = graph.add("Unsqueeze", "mask", axis_2)
    recurrent = graph.constant(weights["gru.weight_hh_l0"].T.astype(np.float32), "gru_hidden_weight")
    recurrent_bias = graph.constant(weights["gru.bias_hh_l0"], "gru_hidden_bias")
    h = part("state", 0, hidden, axis_1, "state_hidden")
    outputs = []
    for step in range(STEPS):
        index = graph.constant(np.array(step, dtype=np.int64), f"step_{step}")
        given = graph.add("Gather", inward, index, axis=1)
        kept = graph.add("Add", graph.add("MatMul", h, recurrent), recurrent_bias)
        gates_in, gates_h = (part(value, 0, 2 * hidden, axis_1, f"{side}_gates_{step}") for side, value in (("in", given), ("h", kept)))
        new_in, new_h = (part(value, 2 * hidden, 3 * hidden, axis_1, f"{side}_new_{step}") for side, value in (("in", given), ("h", kept)))
        gates = graph.add("Sigmoid", graph.add("Add", gates_in, gates_h))
        reset, update = part(gates, 0, hidden, axis_1, f"reset_{step}"), part(gates, hidden, 2 * hidden, axis_1, f"update_{step}")
        new = graph.add("Tanh", graph.add("Add", new_in, graph.add("Mul", reset, new_h)))
        change = graph.add("Mul", graph.add("Sub", one, update), graph.add("Sub", new, h))
        h = graph.add("Add", h, graph.add("Mul", graph.add("Gather", mask, index, axis=1), change))
        outputs.append(graph.add("Unsqueeze", h, axis_1))
    hs = graph.add("Concat", *outputs, axis=1)

    # Gated means of each channel; a lower triangle sums the steps.
    seen = graph.add("Concat", x, hs, axis=2)
    said = graph.add("Tanh", linear(seen, "pool", weights["pool.weight"], weights["pool.bias"]))
    weight = graph.add("Mul", graph.add("Sigmoid", linear(seen, "gate", weights["gate.weight"], weights["gate.bias"])), mask)
    eye = graph.constant(np.eye(shape.channels, dtype=np.float32), "channel_is")
    share = graph.add("Mul", graph.add("Gather", eye, "channel", axis=0), weight)
    triangle = graph.constant(np.tril(np.ones((STEPS, STEPS), dtype=np.float32)), "triangle")
    sums_before = graph.add("Unsqueeze", part("state", hidden, hidden + shape.channels * pooled, axis_1, "state_sums"), axis_1)
    weights_before = graph.add("Unsqueeze", part("state", hidden + shape.channels * pooled, shape.gated, axis_1, "state_weights"), axis_1)
    shares = [part(share, channel, channel + 1, axis_2, f"share_{channel}") for channel in range(shape.channels)]
    added = graph.add("Concat", *[graph.add("Mul", value, said) for value in shares], axis=2)
    sums = graph.add("Add", graph.add("MatMul", triangle, added), sums_before)
    total = graph.add("Add", graph.add("MatMul", triangle, share), weights_before)
    divisor = graph.add("Add", total, floor)
    means = [
        graph.add(
            "Div",
            part(sums, channel * pooled, (channel + 1) * pooled, axis_2, f"sum_{channel}"),
            part(divisor, channel, channel + 1, axis_2, f"divisor_{channel}"),
        )
        for channel in range(shape.channels)
    ]

    # The heads.
    mixed = linear(graph.add("Concat", hs, *means, axis=2), "mix", weights["mix.weight"], weights["mix.bias"])
    by_channel = graph.add("Gather", graph.constant(weights["mix_channel.weight"], "mix_channel"), "channel", axis=0)
    relu = graph.add("Relu", graph.add("Add", mixed, by_channel))
    product = graph.add("MatMul", relu, graph.constant(weights["out.weight"].T.astype(np.float32), "out_weight"))
    logits = graph.add("Add", product, graph.constant(weights["out.bias"], "out_bias"), name=None if shape.buckets else "logits")
    final = graph.constant(np.array(STEPS - 1, dtype=np.int64), "last_step")
    after = [h, graph.add("Gather", sums, final, axis=1), graph.add("Gather", total, final, axis=1)]
    if model.tally is not None:
        linear, counted = tally(graph, model, mask, triangle, part)
        risk = graph.constant(np.eye(1, shape.heads, dtype=np.float32), "tally_to_risk")
        graph.add("Add", logits, graph.add("Mul", linear, risk), name="logits")
        after += [counted[0], *(graph.add("Gather", value, final, axis=1) for value in counted[1:])]
    graph.add("Concat", *after, name="state_out", axis=1)

    def described(name: str, kind: int, size: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, ["B", size])

    proto = helper.make_graph(
        graph.nodes,
        "thinkgate_default",
        [
            described("tokens", TensorProto.INT64, STEPS),
            described("channel", TensorProto.INT64, STEPS),
            described("mask", TensorProto.FLOAT, STEPS),
            described("state", TensorProto.FLOAT, shape.state),
        ],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", STEPS, shape.heads]),
            described("state_out", TensorProto.FLOAT, shape.state),
        ],
        graph.constants,
    )
    exported = helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="thinkgate_models")
    exported.ir_version = 8
    onnx.checker.check_model(exported, full_check=True)
    return exported


def tally(graph: Graph, model: GateNet, mask: str, triangle: str, part: Callable[[str, int, int, str, str], str]) -> tuple[str, list[str]]:
    """The linear member: what it adds to the logit of risk `[B, 8, 1]`; of its state the last token `[B, 1]`, sums and counts after every step `[B, 8, 2 · channels]`."""
    assert model.tally is not None
    shape = model.shape

    def whole(value: Sequence[int] | Sequence[Sequence[int]] | int, name: str) -> str:
        return graph.constant(np.array(value, dtype=np.int64), name)

    # The token before each; padding trails, so that the last real one stands where the mask falls.
    last = part("state", shape.gated, shape.gated + 1, "axis_1", "tally_last")
    known = graph.add("Concat", last, graph.add("Cast", "tokens", to=TensorProto.FLOAT), axis=1)
    before = graph.add("Cast", part(known, 0, STEPS, "axis_1", "tally_before"), to=TensorProto.INT64)
    falls = np.eye(STEPS, STEPS + 1, k=1, dtype=np.float32) - np.eye(STEPS, STEPS + 1, dtype=np.float32)
    chosen = graph.add("Add", graph.add("MatMul", "mask", graph.constant(falls, "tally_falls")), graph.constant(np.eye(1, STEPS + 1, dtype=np.float32), "tally_first"))
    last_after = graph.add("ReduceSum", graph.add("Mul", known, chosen), "axis_1", keepdims=1)

    # Buckets of every word and of the pair that it ends, [B, 8, 2]. Nothing is negative, so that the plain remainder will do.
    spelled = graph.add("Unsqueeze", graph.add("Mul", "tokens", whole(WORD_HASH, "tally_word_hash")), "axis_2")
    paired = graph.add("Mul", graph.add("Unsqueeze", before, "axis_2"), whole([0, PAIR_HASH], "tally_pair_hash"))
    offsets = [[WORD_OFFSET + number * WORD_CHANNEL, PAIR_OFFSET + number * PAIR_CHANNEL] for number in range(shape.channels)]
    keys = graph.add("Add", graph.add("Add", spelled, paired), graph.add("Gather", whole(offsets, "tally_offsets"), "channel", axis=0))
    bucket = graph.add("Mod", keys, whole(shape.buckets, "tally_buckets"), fmod=1)
    table, scale = quantise_tally(model.tally.weight.weight.detach())
    found = graph.add("Cast", graph.add("Gather", graph.constant(table.numpy().reshape(-1), "tally"), bucket, axis=0), to=TensorProto.FLOAT)
    weight = graph.add("Mul", graph.add("ReduceSum", found, "axis_2", keepdims=1), graph.constant(scale.numpy().astype(np.float32), "tally_scale"))

    # Sums and counts of each channel after every step, [B, 8, 2 · channels].
    here = graph.add("Mul", graph.add("Gather", "channel_is", "channel", axis=0), mask)
    added = graph.add("Concat", graph.add("Mul", here, weight), here, axis=2)
    earlier = graph.add("Unsqueeze", part("state", shape.gated + 1, shape.state, "axis_1", "tally_state"), "axis_1")
    totals = graph.add("Add", graph.add("MatMul", triangle, added), earlier)
    sums, counts = (part(totals, first, first + shape.channels, "axis_2", name) for name, first in (("tally_sums", 0), ("tally_counts", shape.channels)))
    mean = graph.add("Div", sums, graph.add("Add", counts, graph.constant(np.array(TALLY_PRIOR, dtype=np.float32), "tally_prior")))
    weights = np.diag(np.array(TALLY_WEIGHTS, dtype=np.float32))
    strength = graph.constant(weights * np.float32(TALLY_SCALE), "tally_weights")
    bias = graph.constant(weights @ model.tally.bias.detach().numpy()[:, None], "tally_bias")
    weighed = graph.add("ReduceSum", graph.add("Mul", mean, graph.add("Gather", strength, "channel", axis=0)), "axis_2", keepdims=1)
    return graph.add("Add", weighed, graph.add("Gather", bias, "channel", axis=0)), [last_after, totals]


def export(model: GateNet, path: Path) -> None:
    """Write the graph."""
    onnx.save(build(model), str(path))
