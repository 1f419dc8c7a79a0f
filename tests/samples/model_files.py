"""What the tests' models have in common: their files, and a tokeniser of whole words."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import onnx
from onnx import helper

CHANNELS = ["prompt", "thinking", "answer"]


def tokenizer(vocabulary: dict[str, int], **more) -> dict:
    """Each word of `vocabulary` has its number; every other is `[UNK]`."""
    return {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None,
        "decoder": None,
        "truncation": None,
        "padding": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    } | more


def every(heads: list[str], value) -> dict:
    """The same for each head of each channel."""
    return {channel: {head: value for head in heads} for channel in CHANNELS}


def write(folder: Path, graph: onnx.GraphProto, words: dict, about: dict, rest: dict) -> None:
    """Writes the model's three files; the manifest tells what it is `about`, then the others' digests and the `rest`."""
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "model.onnx")
    (folder / "tokenizer.json").write_text(json.dumps(words, indent=1) + "\n")
    names = ("model.onnx", "tokenizer.json")
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    manifest = {"schema": 1} | about | {"files": digests} | rest
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
