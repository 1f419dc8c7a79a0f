"""What a harmless stream is on the wire, and that it passes byte for byte."""

from __future__ import annotations

import re

import pytest

from bench import ask
from bodies import content_of, thinking_of
from shapes import PREFILL, SHAPES, forced

by_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
streamed_or_whole = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


def steady(body: bytes) -> bytes:
    """The body without what differs between two runs of one request: its id, the clock, the speed."""
    for pattern, same in ((rb'"id":"chatcmpl-\w+"', b'"id"'), (rb'"created":\d+', b'"created"'), (rb'"timings":\{[^}]*\}', b'"timings"')):
        body, count = re.subn(pattern, same, body)
        assert count
    return body


@by_shape
@streamed_or_whole
def test_the_server_sends_this_shape(bench, shape, stream):
    """The premise of every other test here, without a guard."""
    request = shape.request(stream, **forced("A short thought.\n</think>\nA kestrel."))
    _, _, body = bench.ask_server(shape.template, request)
    if shape.has_field:
        assert (thinking_of(body), content_of(body)) == ("A short thought.\n", "A kestrel.")
    elif shape.prefill and not stream:
        # The beginning that the request gave comes back in a whole body, and not in a stream.
        assert content_of(body) == f"{PREFILL}A short thought.\n</think>\nA kestrel."
    else:
        assert content_of(body) == f"{shape.opening}A short thought.\n</think>\nA kestrel."
    if stream and not shape.has_field:
        # The model knows no such token, so the closing tag arrives in pieces.
        assert not re.search(rb'"content":"[^"]*</think>', body)


@by_shape
@streamed_or_whole
@pytest.mark.parametrize("mode", ["shadow", "enforce"])
def test_what_the_model_says_of_its_own_passes_unchanged(bench, shape, stream, mode):
    request = shape.request(stream)
    direct = bench.ask_server(shape.template, request)
    guarded = ask(bench.guard(shape.template, mode), request)
    assert guarded[:2] == direct[:2] == (200, direct[1])
    assert steady(guarded[2]) == steady(direct[2])


@streamed_or_whole
def test_off_mode_passes_everything_unchanged(bench, stream):
    shape = SHAPES[0]
    request = shape.request(stream, **forced("A forbidden falcon."))
    direct = bench.ask_server(shape.template, request)
    guarded = ask(bench.guard(shape.template, "off"), request)
    assert guarded[:2] == direct[:2]
    assert steady(guarded[2]) == steady(direct[2])


@by_shape
@streamed_or_whole
def test_shadow_mode_passes_unchanged_what_enforce_mode_would_stop(bench, shape, stream):
    request = shape.request(stream, **forced("A forbidden falcon.\n</think>\nIt is marble."))
    direct = bench.ask_server(shape.template, request)
    guarded = ask(bench.guard(shape.template, "shadow"), request)
    assert guarded[:2] == direct[:2]
    assert steady(guarded[2]) == steady(direct[2])


@by_shape
@streamed_or_whole
def test_text_that_only_looks_like_the_beginning_of_a_match_passes_unchanged(bench, shape, stream):
    """It is held back and let go, and so is what looks like a closing tag."""
    request = shape.request(stream, **forced("A forbidden fal</thin.\n</think>\nNot forbidden"))
    direct = bench.ask_server(shape.template, request)
    guarded = ask(bench.guard(shape.template, "enforce"), request)
    assert steady(guarded[2]) == steady(direct[2])
