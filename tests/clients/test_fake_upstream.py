"""The fake upstream without a guard: what the other files rely on."""

from __future__ import annotations

import http.client
import json

import pytest

from scenarios import FORBIDDEN, HARMLESS_PROMPT, STORIES, STYLES


def request(rig, model, stream=True):
    connection = http.client.HTTPConnection(rig.upstream)
    body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": HARMLESS_PROMPT}]}
    connection.request("POST", "/v1/chat/completions", json.dumps(body))
    return connection, connection.getresponse()


def text_of(frame: bytes) -> str:
    delta = json.loads(frame.removeprefix(b"data: "))["choices"][0]["delta"]
    calls = "".join(call["function"]["arguments"] for call in delta.get("tool_calls", []))
    return (delta.get("content") or "") + (delta.get("reasoning") or delta.get("reasoning_content") or "") + calls


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("story", ["blocked-thinking", "blocked-answer", "blocked-one-of-two", "blocked-call"])
def test_an_unguarded_stream_carries_the_forbidden_words_and_goes_on_until_the_client_hangs_up(rig, style, story):
    model, filler = rig.model(style, story), STORIES[story].filler[-1].text
    connection, response = request(rig, model)
    text = ""
    while not text.endswith(filler):
        frame = response.readline()
        text += text_of(frame) if frame.strip() else ""
    connection.close()
    response.close()
    assert FORBIDDEN in text.lower()
    assert rig.tally(model) == {"requests": 1, "finished": 0, "cancelled": 1}


@pytest.mark.parametrize("style", STYLES)
def test_an_unguarded_stream_without_a_match_ends_by_itself(rig, style):
    model = rig.model(style, "unblocked")
    _, response = request(rig, model)
    assert response.read().endswith(b"data: [DONE]\n\n")
    assert rig.tally(model) == {"requests": 1, "finished": 1, "cancelled": 0}


@pytest.mark.parametrize("style", STYLES)
def test_an_unguarded_body_carries_the_forbidden_words(rig, style):
    _, response = request(rig, rig.model(style, "blocked-thinking"), stream=False)
    assert FORBIDDEN in response.read().decode().lower()
