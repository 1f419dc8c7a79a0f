"""Preparing (tokenizer, first embeddings) and training."""

from __future__ import annotations

import json
import math
import pickle
import random
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from . import batches as batching
from .corpus import Corpus
from .data import HEADS, Row, is_held_out, permissive_rows
from .embeddings import first_embedding
from .model import GateNet, Shape, Tally, load, save
from .text import CJK, load_tokenizer, normalise, train_tokenizer

VOCABULARY = 16_000
# The heads learn at every fourth position, which ones changes from batch to batch.
STRIDE = 4
# Buckets of the linear member (a prime number), and its highest learning rate.
BUCKETS = 131_071
TALLY_PEAK = 0.02
# The highest learning rate.
PEAK = 2.5e-3
BATCH_TOKENS = 14_000
# Windows with the second stage's word that an epoch reads.
LESSONS = 10_000
# Batches between two checkpoints.
KEPT_EVERY = 100
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
    """Write `tokenizer.json`, and with the sentence encoder installed the first embeddings too."""
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(vocabulary_texts(training_rows(data)), VOCABULARY)
    tokenizer.save(str(out / "tokenizer.json"), pretty=False)
    table = first_embedding(tokenizer, Shape(0).embedding, seed=0)
    if table is not None:
        np.save(out / "embedding.npy", table.numpy())


def loss_of(logits: Tensor, target: Tensor, weight: Tensor, smoothing: float = 0.02) -> Tensor:
    """Weighted binary cross entropy over heads and positions; what is unknown weighs nothing."""
    losses = nn.functional.binary_cross_entropy_with_logits(logits, target * (1 - 2 * smoothing) + smoothing, reduction="none")
    return (losses * weight * HEAD_WEIGHTS).sum() / weight[..., 0].sum().clamp(min=1.0)


def train(data: Path, out: Path, epochs: int, seed: int, minutes: float, start: Path | None = None) -> GateNet:
    """Train for `epochs`, or until so many `minutes` of processor time are over; the learning rate follows whichever comes first. `start` are weights to go on from, at half the rate; their linear member stays as it is."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    taught = pickle.loads((out / "lessons.pkl").read_bytes()) if (out / "lessons.pkl").exists() else []
    corpus = Corpus(training_rows(data))
    tokenizer = load_tokenizer(out / "tokenizer.json")
    model = GateNet(Shape(vocabulary=tokenizer.get_vocab_size()), dropout=0.15)
    given = out / "embedding.npy"
    before = None if start is None else load(start)
    if before is not None:
        model.load_state_dict({name: value for name, value in before.state_dict().items() if not name.startswith("tally.")})
    elif given.exists():
        model.embedding.weight.data = torch.from_numpy(np.load(given))
    embedding = [parameter for name, parameter in model.named_parameters() if name == "embedding.weight"]
    others = [parameter for name, parameter in model.named_parameters() if name != "embedding.weight"]
    peak = PEAK if start is None else PEAK / 2
    optimiser = torch.optim.AdamW([{"params": embedding, "lr": peak, "weight_decay": 0.0}, {"params": others, "lr": peak, "weight_decay": 0.02}])
    started, log = time.process_time(), []
    for epoch in range(epochs):
        rng = random.Random(seed * 1000 + epoch)
        examples = corpus.epoch(seed * 1000 + epoch) + rng.sample(taught, min(len(taught), LESSONS))
        rows = batching.encode(examples, tokenizer, rng)
        done = list(batching.batches(rows, BATCH_TOKENS, rng))
        total, count = 0.0, 0
        model.train()
        for number, batch in enumerate(done):
            progress = max((epoch + number / len(done)) / epochs, (time.process_time() - started) / 60 / minutes)
            rate = peak * min(1.0, (epoch * len(done) + number + 1) / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))
            for group in optimiser.param_groups:
                group["lr"] = rate
            positions = torch.arange(rng.randrange(STRIDE), batch.tokens.shape[1], STRIDE)
            logits, _ = model(batch.tokens, batch.channel, batch.mask, positions=positions)
            loss = loss_of(logits, batch.target[:, positions], batch.weight[:, positions])
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            total, count = total + loss.item(), count + 1
            if number % KEPT_EVERY == KEPT_EVERY - 1:
                save(model, out / "model.pt")
                print(json.dumps({"batch": number + 1, "of": len(done), "loss": round(total / count, 4), "minutes": round((time.process_time() - started) / 60, 1)}), flush=True)
            if progress >= 1.0:
                break
        entry = {"epoch": epoch, "loss": round(total / count, 4), "minutes": round((time.process_time() - started) / 60, 1), "tokens": sum(len(row[0]) for row in rows), "done": round(count / len(done), 3)}
        log.append(entry)
        print(json.dumps(entry), flush=True)
        save(model, out / "model.pt")
        if progress >= 1.0:
            break
    if before is not None and before.tally is not None:
        model = joined(model, before.tally)
        save(model, out / "model.pt")
    (out / "training.json").write_text(json.dumps({"seed": seed, "lessons": len(taught), "went_on": start is not None, "log": log}, indent=1) + "\n")
    return model.eval()


# === The linear member ===


def heard(tokenizer: Tokenizer) -> Tensor:
    """Which tokens the linear member counts, `[vocabulary, channels]`: all but the English ones of answers, of which the GRU alone finds more at few false alarms."""
    pieces = (tokenizer.id_to_token(number) for number in range(tokenizer.get_vocab_size()))
    return torch.tensor([[1.0, 1.0, float(re.search(CJK, piece) is not None)] for piece in pieces])


def joined(gru: GateNet, member: Tally) -> GateNet:
    """The network and its linear member as one."""
    both = GateNet(member.shape)
    both.load_state_dict({**gru.state_dict(), **{f"tally.{name}": value for name, value in member.state_dict().items()}})
    return both


def count(data: Path, work: Path, epochs: int, seed: int) -> GateNet:
    """Train the linear member on the text of so many epochs, apart from the GRU, and join the two."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    gru = load(work / "model.pt")
    shape = replace(gru.shape, buckets=BUCKETS)
    corpus, tokenizer, member = Corpus(training_rows(data)), load_tokenizer(work / "tokenizer.json"), Tally(shape)
    member.heard.copy_(heard(tokenizer))
    optimiser = torch.optim.Adam(member.parameters(), lr=TALLY_PEAK)
    losses = []
    for epoch in range(epochs):
        rng = random.Random(seed * 1000 + 300 + epoch)
        rows = batching.encode(corpus.epoch(seed * 1000 + 300 + epoch), tokenizer, rng)
        done = list(batching.batches(rows, BATCH_TOKENS, rng))
        for number, batch in enumerate(done):
            for group in optimiser.param_groups:
                group["lr"] = TALLY_PEAK * (0.02 + 0.98 * (1 - (epoch + number / len(done)) / epochs))
            logits, _ = member(batch.tokens, batch.channel, batch.mask, torch.zeros(len(batch.tokens), shape.state - shape.gated))
            target, weight = batch.target[..., 0] * 0.96 + 0.02, batch.weight[..., 0]
            loss = (nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none") * weight).sum() / weight.sum().clamp(min=1.0)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        print(json.dumps({"epoch": epoch, "loss": round(float(np.mean(losses[-len(done) :])), 4)}), flush=True)
    both = joined(gru, member)
    save(both, work / "model.pt")
    told = json.loads((work / "training.json").read_text())
    (work / "training.json").write_text(json.dumps({**told, "tally": {"seed": seed, "epochs": epochs, "buckets": BUCKETS, "loss": round(float(np.mean(losses[-50:])), 4)}}, indent=1) + "\n")
    return both.eval()
