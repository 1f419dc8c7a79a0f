"""What is stopped, where, and that the model server stops with it."""

from __future__ import annotations

import json

import pytest

from bench import ask, asking
from bodies import content_of, finish_of, thinking_of
from shapes import ENDLESS_TOKENS, NOTICE, SHAPES, forced, forced_without_end

by_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)

FEW_TOKENS = ENDLESS_TOKENS // 2
"""More than a stopped run of any test here has generated, and less than one that nobody has stopped."""


def enforced(bench, shape, stream, text) -> bytes:
    status, _, body = ask(bench.guard(shape.template, "enforce"), shape.request(stream, **forced(text)))
    assert status == 200
    return body


# === Blocked ===


@by_shape
def test_a_stream_blocked_in_its_thinking_ends_well_and_the_server_stops(bench, shape):
    server = bench.server(shape.template)
    decoded = server.decoded_tokens()
    request = shape.request(True, **forced_without_end("A bird. It is a forbidden falcon"))
    _, _, body = ask(bench.guard(shape.template, "enforce"), request)
    assert server.decoded_tokens() - decoded < FEW_TOKENS

    assert b"falcon" not in body and b"forbidden" not in body
    assert finish_of(body) == "content_filter"
    if shape.has_field:
        assert thinking_of(body).rstrip() == "A bird. It is a"
        assert content_of(body) == NOTICE
    else:
        before, after = content_of(body).split("A bird. It is a")
        assert before == shape.opening
        # Text that no tag has placed yet may count as an answer that has begun, which gets no notice.
        notice = after.lstrip().removeprefix("</think>").lstrip()
        assert notice in (NOTICE, "") if shape.is_undecided else notice == NOTICE


@by_shape
def test_a_stream_blocked_in_its_answer_ends_before_the_match_and_the_server_stops(bench, shape):
    server = bench.server(shape.template)
    decoded = server.decoded_tokens()
    request = shape.request(True, **forced_without_end("A thought.\n</think>\nA bird. It is a forbidden falcon"))
    _, _, body = ask(bench.guard(shape.template, "enforce"), request)
    assert server.decoded_tokens() - decoded < FEW_TOKENS

    assert b"falcon" not in body and b"forbidden" not in body
    assert finish_of(body) == "content_filter"
    assert content_of(body).rstrip().endswith("A bird. It is a")
    if shape.has_field:
        assert thinking_of(body) == "A thought.\n"
    else:
        assert content_of(body).startswith(f"{shape.opening}A thought.\n</think>\n")


@by_shape
@pytest.mark.parametrize("text", ["A forbidden falcon.\n</think>\nYes.", "Oh.\n</think>\nA forbidden falcon."], ids=["thinking", "answer"])
def test_a_whole_body_is_replaced_by_the_notice(bench, shape, text):
    body = enforced(bench, shape, False, text)
    assert b"falcon" not in body and b"forbidden" not in body
    assert (content_of(body), finish_of(body)) == (NOTICE, "content_filter")


def test_a_blocked_prompt_never_reaches_the_model(bench):
    shape = SHAPES[0]
    server = bench.server(shape.template)
    decoded = server.decoded_tokens()
    request = shape.request(True, messages=[{"role": "user", "content": "Where is the forbidden falcon?"}])
    status, _, body = ask(bench.guard(shape.template, "enforce"), request)
    assert (status, json.loads(body)["error"]["code"]) == (400, "content_policy_violation")
    assert server.decoded_tokens() == decoded


# === Which text is thinking ===


@by_shape
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_a_word_forbidden_in_the_thinking_alone_may_stand_in_the_answer(bench, shape, stream):
    body = enforced(bench, shape, stream, "A thought.\n</think>\nIt is granite.")
    assert finish_of(body) == "stop"
    assert content_of(body).endswith("It is granite.")


@by_shape
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_a_word_forbidden_in_the_thinking_stops_it_there(bench, shape, stream):
    body = enforced(bench, shape, stream, "It is granite.\n</think>\nYes.")
    assert finish_of(body) == "content_filter"
    assert b"granite" not in body


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if not shape.is_undecided], ids=lambda shape: shape.name)
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_a_word_forbidden_in_the_answer_alone_may_stand_in_the_thinking(bench, shape, stream):
    body = enforced(bench, shape, stream, "It is marble.\n</think>\nYes.")
    assert finish_of(body) == "stop"
    assert content_of(body).endswith("Yes.")


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape.is_undecided], ids=lambda shape: shape.name)
def test_text_that_no_tag_has_placed_yet_is_held_to_the_rules_of_both_channels(bench, shape):
    body = enforced(bench, shape, True, "It is marble.\n</think>\nYes.")
    assert finish_of(body) == "content_filter"
    assert b"marble" not in body


# === Hang-ups ===
#
# Streams only: asked for a whole body, this server goes on to the end when its caller leaves, with or without a guard.


@pytest.mark.parametrize("mode", ["off", "shadow", "enforce"])
def test_a_client_that_leaves_a_stream_stops_the_server(bench, mode):
    shape = SHAPES[0]
    server = bench.server(shape.template)
    decoded = server.decoded_tokens()
    with asking(bench.guard(shape.template, mode), shape.request(True, **forced_without_end("A bird"))) as response:
        assert response.readline().startswith(b"data: ")
    assert server.decoded_tokens() - decoded < FEW_TOKENS


def test_a_server_that_nobody_stops_generates_to_the_end(bench):
    """What the tests above would see if a hang-up were not passed on."""
    shape = SHAPES[0]
    server = bench.server(shape.template)
    decoded = server.decoded_tokens()
    ask(server.address, shape.request(True, **forced_without_end("A bird")))
    assert server.decoded_tokens() - decoded >= ENDLESS_TOKENS
