"""anthropic's own client: the blocking and the asynchronous one, the `.stream()` helper, tool calls."""

from __future__ import annotations

import asyncio

import anthropic
import pytest

from contract import CANCELLED, FINISHED, ChatContract, Seen
from scenarios import HARMLESS_PROMPT, NOTICE, STORIES, TOOL

TOOLS = [{"name": TOOL["function"]["name"], "input_schema": TOOL["function"]["parameters"]}]


def request(model, prompt, **more):
    thinking = {"type": "enabled", "budget_tokens": 1024}
    return {"model": model, "max_tokens": 4096, "thinking": thinking, "messages": [{"role": "user", "content": prompt}], **more}


def settings_of(rig):
    return {"base_url": rig.base_url.removesuffix("/v1"), "api_key": "none"}


def client_of(rig):
    return anthropic.Anthropic(**settings_of(rig))


def seen_events(events) -> Seen:
    deltas = [event.delta for event in events if event.type == "content_block_delta"]
    return Seen(
        answer="".join(delta.text for delta in deltas if delta.type == "text_delta"),
        thinking="".join(delta.thinking for delta in deltas if delta.type == "thinking_delta"),
        finish=next((event.delta.stop_reason for event in events if event.type == "message_delta"), None),
        raw=events,
    )


def seen_message(message) -> Seen:
    texts = {kind: "".join(getattr(block, kind) for block in message.content if block.type == kind) for kind in ("text", "thinking")}
    return Seen(texts["text"], texts["thinking"], message.stop_reason, message)


class MessagesContract(ChatContract):
    styles = ("messages",)
    shows_thinking = shows_whole_thinking = styles
    finish_stop = "end_turn"
    finish_blocked = "refusal"

    def assert_refusal(self, error):
        assert type(error) is anthropic.BadRequestError
        assert (error.status_code, error.body["error"]) == (400, {"type": "invalid_request_error", "message": NOTICE})


class TestBlockingClient(MessagesContract):
    def stream(self, rig, model, prompt):
        return seen_events(list(client_of(rig).messages.create(**request(model, prompt), stream=True)))

    def whole(self, rig, model, prompt):
        return seen_message(client_of(rig).messages.create(**request(model, prompt)))


class TestAsyncClient(MessagesContract):
    def stream(self, rig, model, prompt):
        async def events():
            async with anthropic.AsyncAnthropic(**settings_of(rig)) as client:
                return [event async for event in await client.messages.create(**request(model, prompt), stream=True)]

        return seen_events(asyncio.run(events()))

    def whole(self, rig, model, prompt):
        async def message():
            async with anthropic.AsyncAnthropic(**settings_of(rig)) as client:
                return await client.messages.create(**request(model, prompt))

        return seen_message(asyncio.run(message()))


class TestStreamHelper(TestBlockingClient):
    """It puts the message together from the events, and fails where one is about a block that was not opened."""

    def stream(self, rig, model, prompt):
        with client_of(rig).messages.stream(**request(model, prompt)) as stream:
            return seen_message(stream.get_final_message())


@pytest.mark.parametrize("story", ["blocked-thinking", "blocked-answer"])
def test_every_block_is_closed_before_the_message(rig, story):
    model = rig.model("messages", story)
    events = list(client_of(rig).messages.create(**request(model, HARMLESS_PROMPT), stream=True))
    opened = [event.index for event in events if event.type == "content_block_start"]
    closed = [event.index for event in events if event.type == "content_block_stop"]
    assert opened == closed == list(range(len(opened)))
    assert [event.type for event in events[-2:]] == ["message_delta", "message_stop"]
    assert events[-2].usage.output_tokens == 1


def test_an_unblocked_call_arrives_complete(rig):
    model = rig.model("messages", "unblocked-call")
    with client_of(rig).messages.stream(**request(model, HARMLESS_PROMPT, tools=TOOLS)) as stream:
        message = stream.get_final_message()
    assert [block.input for block in message.content if block.type == "tool_use"] == [{"bird": "kestrel"}]
    assert message.stop_reason == "tool_use"
    assert rig.tally(model) == FINISHED


def test_a_call_with_blocked_arguments_never_arrives_not_even_in_part(rig):
    model = rig.model("messages", "blocked-call")
    seen = seen_events(list(client_of(rig).messages.create(**request(model, HARMLESS_PROMPT, tools=TOOLS), stream=True)))
    TestBlockingClient().assert_nothing_forbidden(seen)
    assert TOOL["function"]["name"] not in repr(seen.raw)
    assert (seen.answer, seen.finish) == (NOTICE, "refusal")
    assert rig.tally(model) == CANCELLED
    assert STORIES["blocked-call"].text("thinking") == seen.thinking
