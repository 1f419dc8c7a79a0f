"""cohere's own client, version 2 of its API: the blocking and the asynchronous one, tool calls."""

from __future__ import annotations

import asyncio

import cohere
import pytest

from contract import CANCELLED, FINISHED, ChatContract, Seen
from scenarios import HARMLESS_PROMPT, NOTICE, STORIES, TOOL


def settings_of(rig):
    return {"api_key": "none", "base_url": rig.base_url.removesuffix("/v1")}


def client_of(rig):
    return cohere.ClientV2(**settings_of(rig))


def asked(model, prompt, **more):
    return {"model": model, "messages": [{"role": "user", "content": prompt}], **more}


def seen_events(events) -> Seen:
    content = [event.delta.message.content for event in events if event.type == "content-delta"]
    return Seen(
        answer="".join(part.text or "" for part in content),
        thinking="".join(getattr(part, "thinking", None) or "" for part in content),
        finish=next((event.delta.finish_reason for event in events if event.type == "message-end"), None),
        raw=events,
    )


def seen_message(response) -> Seen:
    content = response.message.content or []
    return Seen(
        answer="".join(part.text for part in content if part.type == "text"),
        thinking="".join(part.thinking for part in content if part.type == "thinking"),
        finish=response.finish_reason,
        raw=response,
    )


class CohereContract(ChatContract):
    styles = shows_thinking = shows_whole_thinking = ("cohere",)
    finish_stop = "COMPLETE"
    finish_blocked = "ERROR_TOXIC"

    def assert_refusal(self, error):
        assert type(error) is cohere.BadRequestError
        assert (error.status_code, error.body["message"]) == (400, NOTICE)


class TestBlockingClient(CohereContract):
    def stream(self, rig, model, prompt):
        return seen_events(list(client_of(rig).chat_stream(**asked(model, prompt))))

    def whole(self, rig, model, prompt):
        return seen_message(client_of(rig).chat(**asked(model, prompt)))


class TestAsyncClient(CohereContract):
    def stream(self, rig, model, prompt):
        async def events():
            async with cohere.AsyncClientV2(**settings_of(rig)) as client:
                return [event async for event in client.chat_stream(**asked(model, prompt))]

        return seen_events(asyncio.run(events()))

    def whole(self, rig, model, prompt):
        async def response():
            async with cohere.AsyncClientV2(**settings_of(rig)) as client:
                return await client.chat(**asked(model, prompt))

        return seen_message(asyncio.run(response()))


@pytest.mark.parametrize("story", ["blocked-thinking", "blocked-answer"])
def test_all_content_is_closed_before_the_end(rig, story):
    model = rig.model("cohere", story)
    events = list(client_of(rig).chat_stream(**asked(model, HARMLESS_PROMPT)))
    opened = [event.index for event in events if event.type == "content-start"]
    closed = [event.index for event in events if event.type == "content-end"]
    assert opened == closed == list(range(len(opened)))
    assert events[-1].type == "message-end"


@pytest.mark.parametrize("story", ["unblocked-call", "blocked-call"])
def test_a_call_arrives_complete_or_not_at_all(rig, story):
    model = rig.model("cohere", story)
    events = list(client_of(rig).chat_stream(**asked(model, HARMLESS_PROMPT, tools=[TOOL])))
    deltas = [event.delta.message.tool_calls.function.arguments for event in events if event.type == "tool-call-delta"]
    if story == "unblocked-call":
        assert "".join(deltas) == STORIES[story].text("call")
        assert rig.tally(model) == FINISHED
    else:
        seen = seen_events(events)
        TestBlockingClient().assert_nothing_forbidden(seen)
        assert (deltas, seen.answer, seen.finish) == ([], NOTICE, "ERROR_TOXIC")
        assert not any(event.type == "tool-call-start" for event in events)
        assert rig.tally(model) == CANCELLED
