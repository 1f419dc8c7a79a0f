"""The exported graph computes what the trained network computes, however the stream is cut."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch

from thinkgate_models import export
from thinkgate_models.model import GateNet, Shape, shipped

torch.manual_seed(5)
SHAPE = Shape(vocabulary=300, embedding=12, hidden=20, pooled=8, head=10, buckets=97)
LENGTH = 24


@pytest.fixture(scope="module")
def model() -> GateNet:
    made = GateNet(SHAPE)
    assert made.tally is not None
    torch.nn.init.normal_(made.tally.weight.weight)
    torch.nn.init.normal_(made.tally.bias)
    made.tally.heard[::3, 2] = 0.0
    return shipped(made)


@pytest.fixture(scope="module")
def session(model: GateNet) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(export.build(model).SerializeToString(), providers=["CPUExecutionProvider"])


def stream(batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens, and channels in their order."""
    rng = np.random.default_rng(1)
    tokens = rng.integers(0, SHAPE.vocabulary, (batch, LENGTH))
    channel = np.sort(rng.integers(0, 3, (batch, LENGTH)), axis=1)
    return tokens.astype(np.int64), channel.astype(np.int64)


def call(session: onnxruntime.InferenceSession, tokens: np.ndarray, channel: np.ndarray, mask: np.ndarray, state: np.ndarray) -> list[np.ndarray]:
    return session.run(["logits", "state_out"], {"tokens": tokens, "channel": channel, "mask": mask.astype(np.float32), "state": state.astype(np.float32)})


def test_graph_equals_network(model: GateNet, session: onnxruntime.InferenceSession) -> None:
    tokens, channel = stream(3)
    with torch.no_grad():
        wanted, wanted_state = model(torch.tensor(tokens), torch.tensor(channel), torch.ones(3, LENGTH))
    state = np.zeros((3, SHAPE.state))
    logits = []
    for start in range(0, LENGTH, export.STEPS):
        part = slice(start, start + export.STEPS)
        given, state = call(session, tokens[:, part], channel[:, part], np.ones((3, export.STEPS)), state)
        logits.append(given)
    np.testing.assert_allclose(np.concatenate(logits, axis=1), wanted.numpy(), atol=1e-4)
    np.testing.assert_allclose(state, wanted_state.numpy(), atol=1e-4)


def test_padding_leaves_the_state(session: onnxruntime.InferenceSession) -> None:
    tokens, channel = stream(2)
    _, state = call(session, tokens[:, :8], channel[:, :8], np.ones((2, 8)), np.zeros((2, SHAPE.state)))
    _, same = call(session, tokens[:, 8:16], channel[:, 8:16], np.zeros((2, 8)), state)
    np.testing.assert_array_equal(state, same)


def test_without_the_linear_member_the_graph_is_the_gru(model: GateNet) -> None:
    plain = shipped(GateNet(Shape(vocabulary=300, embedding=12, hidden=20, pooled=8, head=10)))
    tokens, channel = stream(2)
    alone = onnxruntime.InferenceSession(export.build(plain).SerializeToString(), providers=["CPUExecutionProvider"])
    given, state = call(alone, tokens[:, :8], channel[:, :8], np.ones((2, 8)), np.zeros((2, plain.shape.state)))
    with torch.no_grad():
        wanted, wanted_state = plain(torch.tensor(tokens[:, :8]), torch.tensor(channel[:, :8]), torch.ones(2, 8))
    np.testing.assert_allclose(given, wanted.numpy(), atol=1e-4)
    np.testing.assert_allclose(state, wanted_state.numpy(), atol=1e-4)
    assert state.shape[1] < model.shape.state


def test_any_cutting_gives_the_same_scores(session: onnxruntime.InferenceSession) -> None:
    tokens, channel = stream(1)
    whole = np.zeros((1, SHAPE.state))
    last = np.zeros(SHAPE.heads)
    for start in range(0, LENGTH, 8):
        logits, whole = call(session, tokens[:, start : start + 8], channel[:, start : start + 8], np.ones((1, 8)), whole)
        last = logits[0, 7]
    state, position = np.zeros((1, SHAPE.state)), 0
    for size in (3, 8, 1, 7, 5):
        pad = ((0, 0), (0, 8 - size))
        part = slice(position, position + size)
        mask = np.pad(np.ones((1, size)), pad)
        logits, state = call(session, np.pad(tokens[:, part], pad), np.pad(channel[:, part], pad), mask, state)
        position += size
    assert position == LENGTH
    np.testing.assert_allclose(state, whole, atol=1e-5)
    np.testing.assert_allclose(logits[0, 4], last, atol=1e-5)
