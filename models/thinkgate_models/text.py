"""Normalisation and tokenising, exactly as the proxy does both.

The proxy reads a stream in pieces that end at word boundaries. Whatever happens here must therefore be *local*: the
tokens of a piece may depend on that piece alone.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

# The characters themselves, not escapes: regular expression engines differ in what escapes they know.
CJK = "[\u3400-\u9fff\uf900-\ufaff]"
UNKNOWN = "[UNK]"


def normalise(text: str) -> str:
    """NFKC and lower case, without format characters (zero-width …) and combining marks."""
    folded = unicodedata.normalize("NFKC", text).lower()
    if folded.isascii():
        return folded
    return "".join(char for char in folded if unicodedata.category(char) not in ("Cf", "Mn"))


def train_tokenizer(texts: Iterable[str], size: int) -> Tokenizer:
    """Train word pieces on normalised `texts`.

    White space separates words and is dropped; Chinese characters, punctuation and symbols stand alone; digits are
    folded to `0`, so that a number is known by its length. A word piece that continues a word begins with `##`.
    """
    tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN, max_input_chars_per_word=64))
    tokenizer.normalizer = normalizers.Replace(Regex(r"\p{N}"), "0")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\s+"), "removed"),
            pre_tokenizers.Split(Regex(CJK), "isolated"),
            pre_tokenizers.Split(Regex(r"[^\p{L}\p{N}]"), "isolated"),
            pre_tokenizers.Split(Regex(r"0+"), "isolated"),
        ]
    )
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=3,
        special_tokens=[UNKNOWN],
        limit_alphabet=4600,
        continuing_subword_prefix="##",
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def load_tokenizer(path: Path) -> Tokenizer:
    """Read a `tokenizer.json`."""
    return Tokenizer.from_file(str(path))


def encode_all(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    """Encode texts as they stand in a channel; special tokens are never added."""
    encodings = tokenizer.encode_batch([normalise(text) for text in texts], add_special_tokens=False)
    return [encoding.ids for encoding in encodings]
