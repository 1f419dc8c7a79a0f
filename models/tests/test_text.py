"""Encoding a stream piece by piece gives what encoding it whole gives."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from thinkgate_models.text import CJK, encode_all, load_tokenizer, normalise, train_tokenizer

SHIPPED = Path(__file__).parents[1] / "default" / "tokenizer.json"
TEXTS = [
    "Okay, so the user wants 3 cakes, e.g. for 2,500 people... right?!",
    "  Leading space,\n\nnew lines\tand tabs  ",
    "首先，我们要想一想（第一步），then mix中文and English。",
    "naïve café — “quotes”, emoji 🙂👍🏽 and ﬁgures １２３ x²",
    "C++ is_snake_case http://a.example/b?c=d#e <think>no</think>",
]
PIECES = re.compile(rf"{CJK}|(?:(?!{CJK})\S)+\s*|\s+")


@pytest.fixture(scope="module", params=["trained", "shipped"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    if request.param == "shipped":
        if not SHIPPED.exists():
            pytest.skip("no shipped tokenizer")
        return load_tokenizer(SHIPPED)
    return train_tokenizer([normalise(text) for text in TEXTS] * 5, 400)


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_give_the_ids_of_the_whole(tokenizer: Tokenizer, text: str) -> None:
    pieces = PIECES.findall(text)
    assert "".join(pieces) == text
    [whole] = encode_all(tokenizer, [text])
    assert [token for ids in encode_all(tokenizer, pieces) for token in ids] == whole


def test_normalising_folds_disguises() -> None:
    assert normalise("Ｂo\u200bmb é ﬁ") == "bomb é fi"
    assert normalise("a\u0301\u0336") == "á"
