"""What is stopped, and that the model server stops with it."""

from __future__ import annotations

import json

import pytest

from scenarios import BLOCKED_PROMPT, FORBIDDEN, NOTICE, STORIES, STYLES
from rig import _serial as serial

BLOCKED = [story for story in STORIES if story.startswith("blocked")]


def model(style: str, story: str) -> str:
    return f"{style}.{story}--{next(serial)}"


def frames(body: bytes) -> list[dict]:
    events = [event.removeprefix("data: ") for event in body.decode().split("\n\n") if event]
    assert events[-1] == "[DONE]"
    return [json.loads(event) for event in events[:-1]]


def said(frames: list[dict], choice: int = 0) -> str:
    """All text of a choice, whatever its channel."""
    deltas = [c["delta"] for frame in frames for c in frame["choices"] if c["index"] == choice]
    calls = [call["function"]["arguments"] for delta in deltas for call in delta.get("tool_calls") or []]
    texts = [delta.get(field) or "" for delta in deltas for field in ("reasoning_content", "reasoning", "content")]
    return "".join(texts + calls)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("story", BLOCKED)
def test_a_match_ends_the_stream_and_the_generation(stories, style, story):
    name = model(style, story)
    response = stories.chat(name)
    read = frames(response.read())
    for choice in range(STORIES[story].choices):
        text = said(read, choice)
        assert FORBIDDEN not in text.lower() and "forb" not in text.lower()
        reasons = [c["finish_reason"] for frame in read for c in frame["choices"] if c["index"] == choice]
        assert reasons[-1] == "content_filter"
    assert stories.tally(name) == {"requests": 1, "finished": 0, "cancelled": 1}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("story", ["unblocked", "unblocked-call"])
def test_what_is_harmless_comes_whole(stories, style, story):
    name = model(style, story)
    read = frames(stories.chat(name).read())
    for piece in STORIES[story].before:
        assert piece.text in said(read)
    assert stories.tally(name) == {"requests": 1, "finished": 1, "cancelled": 0}


def test_a_whole_body_is_answered_in_its_place(stories):
    response = stories.chat(model("deepseek", "blocked-answer"), stream=False)
    choice = json.loads(response.read())["choices"][0]
    assert response.status == 200
    assert (choice["message"]["content"], choice["finish_reason"]) == (NOTICE, "content_filter")
    harmless = stories.chat(model("deepseek", "unblocked"), stream=False)
    assert json.loads(harmless.read())["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("stream", [True, False])
def test_a_blocked_prompt_never_reaches_the_model_server(stories, stream):
    name = model("deepseek", "unblocked")
    response = stories.chat(name, BLOCKED_PROMPT, stream)
    assert response.status == 400
    assert response.headers["content-type"] == "application/json"
    assert json.loads(response.read())["error"]["code"] == "content_policy_violation"
    assert stories.tally(name)["requests"] == 0
