"""Training the second stage, and what it says about text that the default is then taught with."""

from __future__ import annotations

import itertools
import json
import math
import pickle
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn

from . import windows
from .batches import targets
from .corpus import Corpus
from .data import Example, Segment
from .score import sigmoid
from .train import HEAD_WEIGHTS, training_rows
from .windows import PROMPT_TOKENS, Framer, Window

VOCABULARY = 16_384
BATCH_TOKENS = 4_096
PEAK = 1.5e-4
# Layers that keep their first weights, besides the embeddings.
FROZEN = 1
# The share of windows that is read, by where the text is from and by channel: answers above all, for which the default needs a teacher most.
SHARES = {"real": (0.2, 0.7, 1.0), "own": (0.08, 0.2, 0.4)}
# A real answer longer than a window gives another one.
AGAIN = 0.7
# Batches between two checkpoints.
KEPT_EVERY = 150


@dataclass(frozen=True)
class Lesson:
    """A window with its targets and which of them are known."""

    window: Window
    target: np.ndarray
    known: np.ndarray


def windowed(framer: Framer, example: Example, rng: random.Random) -> list[tuple[Window, Segment]]:
    """Windows of the segments of an example: from the start, or any; of a long real answer both."""
    real = example.kind.startswith("real:")
    shares = SHARES["real" if real else "own"]
    texts = framer.encode([segment.text[:5000] for segment in example.segments])
    prompt: list[int] = []
    found = []
    for segment, text in zip(example.segments, texts, strict=True):
        if segment.channel == 0:
            prompt = text[-PROMPT_TOKENS:]
        if segment.risk is None or not text or rng.random() >= shares[segment.channel]:
            continue
        beside = prompt if segment.channel else []
        room = framer.room(segment.channel, beside)
        last = max(0, len(text) - room)
        starts = [0 if rng.random() < 0.5 else rng.randrange(last + 1)]
        if real and segment.channel == 2 and last and rng.random() < AGAIN:
            starts = [0, rng.randrange(1, last + 1)]
        found += [(framer.window(segment.channel, beside, text[start : start + room]), segment) for start in starts]
    return found


def lessons(framer: Framer, examples: Sequence[Example], rng: random.Random) -> list[Lesson]:
    """Windows of English examples whose risk is known."""
    english = (example for example in examples if example.lang == "en")
    return [Lesson(window, *targets(segment)) for example in english for window, segment in windowed(framer, example, rng)]


def grouped(found: Sequence[Lesson], rng: random.Random) -> list[list[Lesson]]:
    """Batches of at most `BATCH_TOKENS` padded tokens, in random order."""
    groups: list[list[Lesson]] = [[]]
    for lesson in sorted(found, key=lambda one: len(one.window.ids) + rng.random() * 12):
        if groups[-1] and len(lesson.window.ids) * (len(groups[-1]) + 1) > BATCH_TOKENS:
            groups.append([])
        groups[-1].append(lesson)
    rng.shuffle(groups)
    return groups


def optimiser_of(model: windows.WindowNet, peak: float) -> torch.optim.AdamW:
    """The head learns fast, the layers slowly; embeddings and the first layers stay as they are."""
    for part in (model.words, model.places, model.kinds, model.norm, *model.layers[:FROZEN]):
        part.requires_grad_(False)
    head = [*model.mix.parameters(), *model.out.parameters()]
    body = [parameter for layer in model.layers[FROZEN:] for parameter in layer.parameters()]
    return torch.optim.AdamW([{"params": body, "lr": peak, "peak": peak}, {"params": head, "lr": 10 * peak, "peak": 10 * peak}], weight_decay=0.01)


def teach(data: Path, work: Path, epochs: int, seed: int, minutes: float, layers: int = 6, start: Path | None = None) -> windows.WindowNet:
    """Train the second stage for `epochs`, or until so many `minutes` of processor time are over; the learning rate follows whichever comes first. `start` are weights to go on from, at half the rate."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    rows = training_rows(data)
    texts = (row[name][:2000] for row in rows for name in ("prompt", "thinking", "answer") if row[name] and row["lang"] == "en")
    tokenizer, kept = windows.trimmed(texts, VOCABULARY)
    tokenizer.save(str(work / "second-tokenizer.json"), pretty=False)
    model = windows.load(start) if start is not None else windows.first_weights(windows.Encoder(len(kept), layers), kept)
    corpus, framer = Corpus(rows), Framer(tokenizer)
    optimiser = optimiser_of(model, PEAK if start is None else PEAK / 2)
    started, log, step = time.process_time(), [], 0
    for epoch in range(epochs):
        rng = random.Random(seed * 1000 + 500 + epoch)
        groups = grouped(lessons(framer, corpus.epoch(seed * 1000 + 500 + epoch), rng), rng)
        total = 0.0
        model.train()
        for number, group in enumerate(groups):
            progress = max((epoch + number / len(groups)) / epochs, (time.process_time() - started) / 60 / minutes)
            step += 1
            for one in optimiser.param_groups:
                one["lr"] = one["peak"] * min(1.0, step / 60) * max(0.02, 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))
            target, known = (torch.from_numpy(np.stack([getattr(lesson, name) for lesson in group])) for name in ("target", "known"))
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(*windows.padded([lesson.window for lesson in group]))
            losses = nn.functional.binary_cross_entropy_with_logits(logits.float(), target * 0.96 + 0.02, reduction="none")
            loss = (losses * known * HEAD_WEIGHTS).sum(1).mean()
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_([one for group in optimiser.param_groups for one in group["params"]], 1.0)
            optimiser.step()
            total += loss.item()
            if number % KEPT_EVERY == KEPT_EVERY - 1:
                windows.save(model, work / "second.pt")
                print(json.dumps({"epoch": epoch, "batch": number + 1, "of": len(groups), "loss": round(total / (number + 1), 4), "minutes": round((time.process_time() - started) / 60, 1)}), flush=True)
            if progress >= 1.0:
                break
        log.append({"epoch": epoch, "loss": round(total / (number + 1), 4), "minutes": round((time.process_time() - started) / 60, 1), "windows": sum(map(len, groups[: number + 1]))})
        print(json.dumps(log[-1]), flush=True)
        windows.save(model, work / "second.pt")
        if progress >= 1.0:
            break
    (work / "teaching.json").write_text(json.dumps({"seed": seed, "log": log}, indent=1) + "\n")
    return model.eval()


# === Teaching the default ===


def decoded(tokenizer: Tokenizer, text: str, room: int, rng: random.Random) -> str:
    """A part of a text that one window holds."""
    offsets = tokenizer.encode(text, add_special_tokens=False).offsets
    if len(offsets) <= room:
        return text
    start = 0 if rng.random() < 0.4 else rng.randrange(len(offsets) - room + 1)
    return text[offsets[start][0] : offsets[start + room - 1][1]]


def excerpt(framer: Framer, example: Example, rng: random.Random) -> tuple[Example, Window] | None:
    """An example cut down to its prompt and one window of its answer, and that window; of thinking the default knows more than the second stage."""
    prompts = [segment for segment in example.segments if segment.channel == 0]
    said = [segment for segment in example.segments if segment.channel == 2]
    if not said:
        return None
    segment = rng.choice(said)
    prompt = framer.encode([prompts[0].text[:5000]])[0][-PROMPT_TOKENS:] if prompts else []
    text = decoded(framer.tokenizer, segment.text[:5000], framer.room(segment.channel, prompt) - 4, rng)
    own = framer.encode([text])[0][: framer.room(segment.channel, prompt)]
    if not own:
        return None
    return replace(example, segments=(*prompts[:1], replace(segment, text=text))), framer.window(segment.channel, prompt, own)


def label(data: Path, work: Path, seed: int, count: int) -> None:
    """Write what the second stage says about windows of permissive English answers, labelled or not, for `train` to learn from."""
    torch.set_num_threads(1)
    model = windows.load(work / "second.pt")
    framer = Framer(Tokenizer.from_file(str(work / "second-tokenizer.json")))
    rng = random.Random(seed * 1000 + 900)
    corpus = Corpus(training_rows(data))
    read = (one for epoch in itertools.count(seed * 1000 + 900) for one in corpus.epoch(epoch))
    examples = (one for one in read if one.lang == "en" and rng.random() < SHARES[one.kind.partition(":")[0]][2])
    cut = (excerpt(framer, example, rng) for example in examples)
    made = list(itertools.islice((one for one in cut if one is not None), count))
    logits = windows.logits_of(model, [window for _, window in made])
    pool = []
    for (example, _), own in zip(made, logits, strict=True):
        soft = tuple(float(value) for value in sigmoid(own))
        pool.append(replace(example, segments=(*example.segments[:-1], replace(example.segments[-1], soft=soft))))
    (work / "lessons.pkl").write_bytes(pickle.dumps(pool))
    print(f"{len(pool)} windows")
