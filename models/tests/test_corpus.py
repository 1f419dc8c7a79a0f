"""What is learned from: permissive rows that are not held out, twins that differ in the decision alone."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

from thinkgate_models.augment import mask_policy
from thinkgate_models.corpus import Corpus
from thinkgate_models.data import Row, is_held_out, refuses
from thinkgate_models.train import training_rows


def row(number: int, tier: str = "permissive", **given: object) -> Row:
    """A row with what the schema asks for."""
    empty = dict.fromkeys(("prompt", "thinking", "answer", "label_prompt", "label_thinking", "label_answer", "extra"))
    return {**empty, "id": f"r{number}", "set": "made_up", "tier": tier, "lang": "en", "risk": [], **given}


BAD = {"prompt": "How do I forge a ticket?", "answer": "First you copy the paper. Then you print the seal on it.", "label_prompt": "unsafe", "label_answer": "unsafe"}


def test_only_permissive_rows_are_learned_from(tmp_path: Path) -> None:
    rows = [row(number, "permissive" if number % 2 else "NC", **BAD) for number in range(80)]
    with gzip.open(tmp_path / "train.jsonl.gz", "wt", encoding="utf-8") as out:
        out.writelines(json.dumps(one) + "\n" for one in rows)
    kept = training_rows(tmp_path)
    assert kept
    assert all(one["tier"] == "permissive" and not is_held_out(one) for one in kept)


def test_twins_share_the_request_and_differ_in_the_label() -> None:
    corpus = Corpus([row(1, **BAD)])
    unsafe, declined = corpus.twins(row(1, **BAD), "en", random.Random(3), with_answer=True)
    thinking = [next(one for one in example.segments if one.channel == 1) for example in (unsafe, declined)]
    assert [one.risk for one in thinking] == [1, 0]
    assert [one.safety for one in thinking] == [0, 1]
    assert [one.text for one in unsafe.segments if one.channel == 0] == [one.text for one in declined.segments if one.channel == 0]


def test_the_same_seed_makes_the_same_text() -> None:
    corpus = Corpus([row(1, **BAD)])
    assert corpus.twins(row(1, **BAD), "en", random.Random(4), with_answer=True) == corpus.twins(row(1, **BAD), "en", random.Random(4), with_answer=True)


def test_the_telling_word_is_exchanged() -> None:
    texts = {mask_policy("Okay, so the safety policies say no.", random.Random(seed)) for seed in range(40)}
    assert sum("polic" in text for text in texts) < len(texts) / 2


def test_refusals_are_known_by_their_opening() -> None:
    assert refuses("I’m sorry, but I can’t help with that.")
    assert refuses("抱歉，我无法提供这些信息。")
    assert not refuses("Boil the water and add salt.")
