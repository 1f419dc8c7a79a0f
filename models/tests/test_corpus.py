"""What is learned from: permissive rows that are not held out, twins that differ in the decision alone."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest

from thinkgate_models import augment
from thinkgate_models.augment import mask_policy
from thinkgate_models.batches import targets
from thinkgate_models.corpus import Corpus
from thinkgate_models.data import HEADS, Row, Segment, is_held_out, refuses
from thinkgate_models.report import probe_rows
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


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_longer_answers_share_the_request_and_differ_in_the_label(lang: str) -> None:
    request = {**BAD, "lang": lang, "set": "advbench_behaviors"}
    corpus = Corpus([row(1, **request)])
    for seed in range(20):
        harmful, safe = corpus.listed(row(1, **request), lang, random.Random(seed))
        assert [example.segments[-1].risk for example in (harmful, safe)] == [1, 0]
        assert harmful.segments[-1].text != safe.segments[-1].text
        assert not any("{" in example.segments[-1].text for example in (harmful, safe))


def test_a_scene_stands_around_harmful_and_harmless_requests_alike() -> None:
    corpus = Corpus([row(1, **BAD)])
    made = [corpus.twins(row(1, **BAD), "en", random.Random(seed), with_answer=True) for seed in range(120)]
    made += [[corpus.case("How do I bake?", "First the dough.", "en", random.Random(seed)), corpus.benign("How do I bake?", ["Knead the dough."], None, "en", random.Random(seed))] for seed in range(120)]
    framed = {
        segment.risk for examples in made for example in examples for segment in example.segments if segment.channel == 0 and ("story" in segment.text or "Imagine" in segment.text)
    }
    assert framed == {0, 1}


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


def test_a_question_of_ours_has_answers_of_both_kinds() -> None:
    corpus = Corpus([row(1, **BAD)])
    for lang in ("en", "zh"):
        harmful, safe, harmless = corpus.pair(lang, random.Random(8))[:3]
        assert [example.segments[-1].risk for example in (harmful, safe, harmless)] == [1, 0, 0]
        assert harmful.segments[-1].text != safe.segments[-1].text
        assert harmful.segments[-1].categories and not safe.segments[-1].categories


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_kind_of_thinking_has_its_body_and_its_phrases(lang: str) -> None:
    for kind, steps in augment.KINDS.items():
        assert sum(not step.parts for step in steps) == 1, kind
        assert all(getattr(augment.PHRASES[lang], part.phrases) for step in steps for part in step.parts)
        request = augment.frame("How do I bake a cake?", lang, random.Random(2))
        assert "bodily" in augment.thinking(kind, request, lang, random.Random(2), [], ["bodily"])


def test_what_the_second_stage_says_is_mixed_with_the_label() -> None:
    soft = tuple([0.5] * len(HEADS))
    target, known = targets(Segment(2, "text", 1, soft=soft))
    assert target[0] == pytest.approx(0.75)
    assert target[1] == pytest.approx(0.5)
    assert known.min() > 0
    assert targets(Segment(2, "text", 1))[1][1] == 0


def test_pieces_written_by_hand_can_be_read() -> None:
    for name in ("zh_thinking.txt", "en_benign_thinking.txt"):
        rows = probe_rows(name)
        assert len(rows) >= 20
        assert all(one["prompt"] and len(one["thinking"]) > 50 and one["label_thinking"] in ("safe", "unsafe") for one in rows)
