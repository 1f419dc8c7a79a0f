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
    REFUSAL,
    REFUSAL_WEIGHTS,
    TALLY_OFFSETS,
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
# Added to the gate of change where the mask is 0.
SHUT = -1000.0


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

    # The GRU, step by step. Its update gate says what stays; turned round it says what changes, and where the mask is 0 nothing does, to the last bit.
    hidden, pooled = shape.hidden, shape.pooled
    both = 2 * hidden
    into, out_of = weights["gru.weight_ih_l0"], weights["gru.weight_hh_l0"]
    bias_into, bias_out_of = weights["gru.bias_ih_l0"], weights["gru.bias_hh_l0"]
    turned = np.concatenate([np.ones(hidden), -np.ones(hidden)]).astype(np.float32)
    mask = graph.add("Unsqueeze", "mask", axis_2)
    shut = graph.constant(np.concatenate([np.zeros(hidden), np.full(hidden, SHUT)]).astype(np.float32), "gru_shut")
    still = graph.add("Mul", graph.add("Sub", one, mask), shut)
    gates_in = graph.add("Add", linear(x, "gru_gates", into[:both] * turned[:, None], (bias_into[:both] + bias_out_of[:both]) * turned), still)
    new_in = linear(x, "gru_new", into[both:], bias_into[both:])
    gates_from, new_from = (graph.constant(part_of.T.astype(np.float32), name) for part_of, name in ((out_of[:both] * turned[:, None], "gru_hidden_gates"), (out_of[both:], "gru_hidden_new")))
    new_bias = graph.constant(bias_out_of[both:], "gru_hidden_bias")
    h = part("state", 0, hidden, axis_1, "state_hidden")
    outputs = []
    for step in range(STEPS):
        index = graph.constant(np.array(step, dtype=np.int64), f"step_{step}")
        given_gates, given_new = (graph.add("Gather", given, index, axis=1) for given in (gates_in, new_in))
        gates = graph.add("Sigmoid", graph.add("Add", given_gates, graph.add("MatMul", h, gates_from)))
        reset, change = part(gates, 0, hidden, axis_1, f"reset_{step}"), part(gates, hidden, both, axis_1, f"change_{step}")
        reminded = graph.add("Mul", reset, graph.add("Add", graph.add("MatMul", h, new_from), new_bias))
        new = graph.add("Tanh", graph.add("Add", given_new, reminded))
        h = graph.add("Add", h, graph.add("Mul", change, graph.add("Sub", new, h)))
        outputs.append(graph.add("Unsqueeze", h, axis_1))
    hs = graph.add("Concat", *outputs, axis=1)

    # What is summed over the steps: what each channel said and how much it weighs, and the linear member's numbers; a lower triangle does it.
    seen = graph.add("Concat", x, hs, axis=2)
    said = graph.add("Tanh", linear(seen, "pool", weights["pool.weight"], weights["pool.bias"]))
    weight = graph.add("Mul", graph.add("Sigmoid", linear(seen, "gate", weights["gate.weight"], weights["gate.bias"])), mask)
    eye = graph.constant(np.eye(shape.channels, dtype=np.float32), "channel_is")
    mine = graph.add("Gather", eye, "channel", axis=0)
    share = graph.add("Mul", mine, weight)
    triangle = graph.constant(np.tril(np.ones((STEPS, STEPS), dtype=np.float32)), "triangle")
    shares = [part(share, channel, channel + 1, axis_2, f"share_{channel}") for channel in range(shape.channels)]
    added = [*(graph.add("Mul", value, said) for value in shares), share]
    if model.tally is not None:
        counted, last = counts(graph, model, graph.add("Mul", mine, mask), part)
        added += counted
    summed = shape.state - (model.tally is not None)
    before = graph.add("Unsqueeze", part("state", hidden, summed, axis_1, "state_sums"), axis_1)
    sums = graph.add("Add", graph.add("MatMul", triangle, graph.add("Concat", *added, axis=2)), before)
    weighed = shape.channels * pooled
    divisor = graph.add("Add", part(sums, weighed, weighed + shape.channels, axis_2, "sum_weights"), floor)
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
    logits = graph.add("Add", product, graph.constant(weights["out.bias"], "out_bias"), name=None if model.tally is not None else "logits")
    final = graph.constant(np.array(STEPS - 1, dtype=np.int64), "last_step")
    after = [h, graph.add("Gather", sums, final, axis=1)]
    if model.tally is not None:
        first = weighed + shape.channels
        totals = (part(sums, start, start + shape.channels, axis_2, f"tally_{start}") for start in (first, first + shape.channels))
        graph.add("Add", logits, joined_risk(graph, model, *totals, part(logits, REFUSAL, REFUSAL + 1, axis_2, "refusal")), name="logits")
        after.append(last)
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


def counts(graph: Graph, model: GateNet, here: str, part: Callable[[str, int, int, str, str], str]) -> tuple[list[str], str]:
    """What the linear member sums, `[B, 8, channels]` each: weights of words and pairs, and tokens; and the last token, `[B, 1]`."""
    assert model.tally is not None
    shape = model.shape

    def whole(value: Sequence[int] | Sequence[Sequence[int]] | int, name: str) -> str:
        return graph.constant(np.array(value, dtype=np.int64), name)

    # The token before each; padding trails, so that the last real one stands where the mask falls.
    carried = part("state", shape.state - 1, shape.state, "axis_1", "tally_last")
    known = graph.add("Concat", carried, graph.add("Cast", "tokens", to=TensorProto.FLOAT), axis=1)
    before = graph.add("Cast", part(known, 0, STEPS, "axis_1", "tally_before"), to=TensorProto.INT64)
    falls = np.eye(STEPS, STEPS + 1, k=1, dtype=np.float32) - np.eye(STEPS, STEPS + 1, dtype=np.float32)
    chosen = graph.add("Add", graph.add("MatMul", "mask", graph.constant(falls, "tally_falls")), graph.constant(np.eye(1, STEPS + 1, dtype=np.float32), "tally_first"))
    last = graph.add("ReduceSum", graph.add("Mul", known, chosen), "axis_1", keepdims=1)

    # Buckets of every word and of the pair that it ends, [B, 8, 2]. Nothing is negative, so that the plain remainder will do.
    spelled = graph.add("Unsqueeze", graph.add("Mul", "tokens", whole(WORD_HASH, "tally_word_hash")), "axis_2")
    paired = graph.add("Mul", graph.add("Unsqueeze", before, "axis_2"), whole([0, PAIR_HASH], "tally_pair_hash"))
    offsets = [[WORD_OFFSET + number * WORD_CHANNEL, PAIR_OFFSET + number * PAIR_CHANNEL] for number in range(shape.channels)]
    keys = graph.add("Add", graph.add("Add", spelled, paired), graph.add("Gather", whole(offsets, "tally_offsets"), "channel", axis=0))
    bucket = graph.add("Mod", keys, whole(shape.buckets, "tally_buckets"), fmod=1)
    table, scale = quantise_tally(model.tally.weight.weight.detach())
    found = graph.add("Cast", graph.add("Gather", graph.constant(table.numpy().reshape(-1), "tally"), bucket, axis=0), to=TensorProto.FLOAT)
    weight = graph.add("Mul", graph.add("ReduceSum", found, "axis_2", keepdims=1), graph.constant(scale.numpy().astype(np.float32), "tally_scale"))
    heard = graph.constant(model.tally.heard.numpy().astype(np.int8), "tally_heard")
    here = graph.add("Mul", here, graph.add("Cast", graph.add("Gather", heard, "tokens", axis=0), to=TensorProto.FLOAT))
    return [graph.add("Mul", here, weight), here], last


def joined_risk(graph: Graph, model: GateNet, sums: str, tokens: str, refusal: str) -> str:
    """What the linear member and the logit of refusal add to the logits, `[B, 8, heads]`: zeros but for risk."""
    assert model.tally is not None
    channels = np.array(TALLY_WEIGHTS, dtype=np.float32)
    scaled = graph.add("Mul", sums, graph.constant(channels * np.float32(TALLY_SCALE), "tally_weights"))
    offset = graph.add("Mul", tokens, graph.constant(np.array(TALLY_OFFSETS, dtype=np.float32), "tally_offset"))
    prior = graph.constant(np.array(TALLY_PRIOR, dtype=np.float32), "tally_prior")
    mean = graph.add("Div", graph.add("Add", scaled, offset), graph.add("Add", tokens, prior))
    weighed = graph.add("ReduceSum", graph.add("Mul", mean, graph.add("Gather", "channel_is", "channel", axis=0)), "axis_2", keepdims=1)
    bias = graph.constant((channels * model.tally.bias.detach().numpy())[:, None], "tally_bias")
    refused = graph.constant(np.array(REFUSAL_WEIGHTS, dtype=np.float32)[:, None], "refusal_weights")
    added = graph.add("Add", graph.add("Add", weighed, graph.add("Gather", bias, "channel", axis=0)), graph.add("Mul", refusal, graph.add("Gather", refused, "channel", axis=0)))
    risk = graph.constant(np.eye(1, model.shape.heads, dtype=np.float32), "tally_to_risk")
    return graph.add("Mul", added, risk)


def export(model: GateNet, path: Path) -> None:
    """Write the graph."""
    onnx.save(build(model), str(path))
