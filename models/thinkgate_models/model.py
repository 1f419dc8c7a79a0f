"""The network: a GRU over word pieces and, for each channel, a gated mean of what it has said so far.

The heads see the GRU's output and the three means, so that what the prompt asked is at hand however long the thinking gets.
Beside it a linear member counts words and pairs of words of each channel in hashed buckets; a part of what it makes of
them is added to the logit of risk. It errs on other texts than the GRU does.

The state of a stream is `[h | sums of prompt, thinking, answer | weights of the three]`, and with the linear member
`[… | its sums of the three channels | their tokens | the last token]`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from .data import CHANNELS, HEADS

WEIGHT_FLOOR = 0.01
REFUSAL = HEADS.index("refusal")
# What the linear member's logit weighs beside the GRU's, on each channel.
TALLY_WEIGHTS = (0.5, 0.5, 0.5)
# What is added once it counts many tokens: on answers, of which it counts the Chinese ones, so that one threshold fits both languages.
TALLY_OFFSETS = (0.0, 0.0, -2.5)
# What the logit of refusal weighs in that of risk, on each channel, once the members are joined: an answer that declines is the less of a risk.
REFUSAL_WEIGHTS = (0.0, 0.0, -0.2)
# The linear member's sum over a text is divided by its tokens and so many more, and multiplied by this.
TALLY_PRIOR, TALLY_SCALE = 16.0, 20.0
# Multipliers and offsets of its hash: of a word, of a pair of words.
WORD_HASH, PAIR_HASH, WORD_CHANNEL, PAIR_CHANNEL = 31, 1_000_033, 1_000_003, 7_919
WORD_OFFSET, PAIR_OFFSET = 7, 13


@dataclass(frozen=True)
class Shape:
    """Sizes of the network."""

    vocabulary: int
    embedding: int = 96
    hidden: int = 160
    pooled: int = 64
    head: int = 96
    channels: int = len(CHANNELS)
    heads: int = len(HEADS)
    # Of the linear member; without any there is none.
    buckets: int = 0

    @property
    def gated(self) -> int:
        """Numbers of the state that the GRU and the means carry."""
        return self.hidden + self.channels * self.pooled + self.channels

    @property
    def state(self) -> int:
        """Numbers carried from call to call."""
        return self.gated + (1 + 2 * self.channels if self.buckets else 0)


class Tally(nn.Module):
    """The linear member: a weight for every bucket, summed over the words and pairs of words of a channel."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.weight = nn.Embedding(shape.buckets, 1)
        self.bias = nn.Parameter(torch.zeros(shape.channels))
        # Which tokens count on which channel.
        self.heard: Tensor
        self.register_buffer("heard", torch.ones(shape.vocabulary, shape.channels))
        nn.init.zeros_(self.weight.weight)

    def forward(self, tokens: Tensor, channel: Tensor, mask: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Logits `[B, T]` at every token, and the state after every token `[B, T, 1 + 2 · channels]`."""
        shape = self.shape
        sums, counts, last = state.split([shape.channels, shape.channels, 1], dim=1)
        before = torch.cat([last.long(), tokens[:, :-1]], dim=1)
        word = (tokens * WORD_HASH + channel * WORD_CHANNEL + WORD_OFFSET) % shape.buckets
        pair = (before * PAIR_HASH + tokens * WORD_HASH + channel * PAIR_CHANNEL + PAIR_OFFSET) % shape.buckets
        here = nn.functional.one_hot(channel, shape.channels).to(sums.dtype) * mask.unsqueeze(2) * self.heard[tokens]
        sums = sums.unsqueeze(1) + ((self.weight(word) + self.weight(pair)) * here).cumsum(1)
        counts = counts.unsqueeze(1) + here.cumsum(1)
        mine = nn.functional.one_hot(channel, shape.channels).to(sums.dtype)
        logits = ((TALLY_SCALE * sums / (counts + TALLY_PRIOR) + self.bias) * mine).sum(2)
        return logits, torch.cat([sums, counts, tokens.unsqueeze(2).to(sums.dtype)], dim=2)


class GateNet(nn.Module):
    """The causal classifier. `forward` reads whole sequences; the exported graph reads eight tokens a call."""

    def __init__(self, shape: Shape, dropout: float = 0.0) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.embedding)
        self.channel = nn.Embedding(shape.channels, shape.embedding)
        self.gru = nn.GRU(shape.embedding, shape.hidden, batch_first=True)
        self.pool = nn.Linear(shape.embedding + shape.hidden, shape.pooled)
        self.gate = nn.Linear(shape.embedding + shape.hidden, 1)
        self.mix = nn.Linear(shape.hidden + shape.channels * shape.pooled, shape.head)
        self.mix_channel = nn.Embedding(shape.channels, shape.head)
        self.out = nn.Linear(shape.head, shape.heads)
        self.drop = nn.Dropout(dropout)
        self.tally = Tally(shape) if shape.buckets else None
        nn.init.normal_(self.embedding.weight, std=0.3)
        nn.init.normal_(self.channel.weight, std=0.3)
        nn.init.normal_(self.mix_channel.weight, std=0.1)

    def forward(self, tokens: Tensor, channel: Tensor, mask: Tensor, state: Tensor | None = None, positions: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits `[B, T, heads]` at every token (or at `positions`) and the state after the last one; padding may only trail."""
        shape = self.shape
        batch = len(tokens)
        if state is None:
            state = tokens.new_zeros((batch, shape.state), dtype=torch.float32)
        first, sums, weights, counted = state.split([shape.hidden, shape.channels * shape.pooled, shape.channels, shape.state - shape.gated], dim=1)
        x = self.drop(self.embedding(tokens) + self.channel(channel))
        h, _ = self.gru(x, first.unsqueeze(0).contiguous())
        seen = torch.cat([x, h], dim=2)
        said = torch.tanh(self.pool(seen))
        weight = torch.sigmoid(self.gate(seen)) * mask.unsqueeze(2)
        share = weight * nn.functional.one_hot(channel, shape.channels).to(x.dtype)
        added = (share.unsqueeze(3) * said.unsqueeze(2)).flatten(2)
        sums = sums.unsqueeze(1) + added.cumsum(1)
        weights = weights.unsqueeze(1) + share.cumsum(1)
        at = slice(None) if positions is None else positions
        means = sums[:, at].unflatten(2, (shape.channels, shape.pooled)) / (weights[:, at] + WEIGHT_FLOOR).unsqueeze(3)
        mixed = torch.relu(self.mix(self.drop(torch.cat([h[:, at], means.flatten(2)], dim=2))) + self.mix_channel(channel[:, at]))
        logits = self.out(self.drop(mixed))
        last = (mask.sum(1).long() - 1).clamp(min=0)
        rows = torch.arange(batch)
        empty = (mask.sum(1) == 0).unsqueeze(1)
        after = torch.cat([h[rows, last], sums[rows, last], weights[rows, last]], dim=1)
        if self.tally is not None:
            linear, counts = self.tally(tokens, channel, mask, counted)
            heard = counts[..., shape.channels : 2 * shape.channels].gather(2, channel.unsqueeze(2)).squeeze(2)
            linear = torch.tensor(TALLY_WEIGHTS)[channel] * linear + torch.tensor(TALLY_OFFSETS)[channel] * heard / (heard + TALLY_PRIOR)
            more = linear[:, at] + torch.tensor(REFUSAL_WEIGHTS)[channel][:, at] * logits[..., REFUSAL]
            logits = torch.cat([logits[..., :1] + more.unsqueeze(2), logits[..., 1:]], dim=2)
            after = torch.cat([after, counts[rows, last]], dim=1)
        return logits, torch.where(empty, state, after)


def quantise_embedding(weight: Tensor) -> tuple[Tensor, Tensor]:
    """An int8 table with one scale a row."""
    scale = weight.abs().amax(dim=1, keepdim=True).clamp(min=1e-8) / 127.0
    return torch.round(weight / scale).to(torch.int8), scale


def quantise_tally(weight: Tensor) -> tuple[Tensor, Tensor]:
    """The linear member's weights in int8 with one scale."""
    scale = weight.abs().max().clamp(min=1e-8) / 127.0
    return torch.round(weight / scale).to(torch.int8), scale


def shipped(model: GateNet) -> GateNet:
    """A copy whose embedding has gone through int8, as in the exported graph."""
    copy = GateNet(model.shape)
    copy.load_state_dict(model.state_dict())
    table, scale = quantise_embedding(copy.embedding.weight.data)
    copy.embedding.weight.data = table.float() * scale
    if copy.tally is not None:
        table, scale = quantise_tally(copy.tally.weight.weight.data)
        copy.tally.weight.weight.data = table.float() * scale
    return copy.eval()


def save(model: GateNet, path: Path) -> None:
    """Write weights and sizes."""
    torch.save({"shape": asdict(model.shape), "weights": model.state_dict()}, path)


def load(path: Path) -> GateNet:
    """Read what `save` wrote."""
    stored = torch.load(path, weights_only=True)
    model = GateNet(Shape(**stored["shape"]))
    model.load_state_dict(stored["weights"])
    return model.eval()
