"""openai-python's Responses: plain calls, the asynchronous client, the `.stream()` helper, tool calls, fetched responses."""

from __future__ import annotations

import asyncio

import openai
import pytest

from contract import CANCELLED, FINISHED, ChatContract, Seen
from scenarios import HARMLESS_PROMPT, NOTICE, STORIES, TOOL, TOOL_NAME

TOOLS = [{"type": "function", **TOOL["function"], "strict": False}]


def request(model, prompt, **more):
    return {"model": model, "input": prompt, **more}


def client_of(rig):
    return openai.OpenAI(base_url=rig.base_url, api_key="none")


def deltas(events, kind):
    return "".join(event.delta for event in events if event.type == f"response.{kind}.delta")


def finish_of(response):
    return response.incomplete_details.reason if response.status == "incomplete" else response.status


def seen_events(events) -> Seen:
    thinking, answer = deltas(events, "reasoning_summary_text"), deltas(events, "output_text")
    response = events[-1].response
    assert response.output_text == answer
    return Seen(answer=answer, thinking=thinking, finish=finish_of(response), raw=events)


def seen_response(response) -> Seen:
    summaries = [part.text for item in response.output if item.type == "reasoning" for part in item.summary]
    return Seen(response.output_text, "".join(summaries), finish_of(response), response)


class ResponsesContract(ChatContract):
    styles = ("responses",)
    shows_thinking = shows_whole_thinking = styles
    finish_stop = "completed"

    def assert_refusal(self, error):
        assert type(error) is openai.BadRequestError
        assert (error.status_code, error.code, error.param) == (400, "content_policy_violation", "input")


class TestBlockingClient(ResponsesContract):
    def stream(self, rig, model, prompt):
        return seen_events(list(client_of(rig).responses.create(**request(model, prompt), stream=True)))

    def whole(self, rig, model, prompt):
        return seen_response(client_of(rig).responses.create(**request(model, prompt)))


class TestAsyncClient(ResponsesContract):
    def stream(self, rig, model, prompt):
        async def events():
            async with openai.AsyncOpenAI(base_url=rig.base_url, api_key="none") as client:
                return [event async for event in await client.responses.create(**request(model, prompt), stream=True)]

        return seen_events(asyncio.run(events()))

    def whole(self, rig, model, prompt):
        async def response():
            async with openai.AsyncOpenAI(base_url=rig.base_url, api_key="none") as client:
                return await client.responses.create(**request(model, prompt))

        return seen_response(asyncio.run(response()))


class TestStreamHelper(TestBlockingClient):
    """It keeps a response of its own, and fails where an event is about an item or a part that it has not seen."""

    def stream(self, rig, model, prompt):
        with client_of(rig).responses.stream(**request(model, prompt)) as stream:
            return seen_events(list(stream))


@pytest.mark.parametrize("story", ["blocked-thinking", "blocked-answer", "blocked-call"])
def test_every_item_and_part_is_closed_and_the_numbers_go_up_by_one(rig, story):
    model = rig.model("responses", story)
    events = list(client_of(rig).responses.create(**request(model, HARMLESS_PROMPT, tools=TOOLS), stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type.removeprefix("response.") for event in events]
    for opened in ("output_item", "content_part", "reasoning_summary_part"):
        assert kinds.count(f"{opened}.added") == kinds.count(f"{opened}.done"), opened
    assert {event.response.id for event in events if hasattr(event, "response")} == {"resp_client_tests"}
    ended = [event.item for event in events if event.type == "response.output_item.done"]
    assert [item.id for item in events[-1].response.output] == [item.id for item in ended]


def calls_of(events):
    return [event.item for event in events if event.type == "response.output_item.done" and event.item.type == "function_call"]


def test_an_unblocked_call_arrives_complete(rig):
    model = rig.model("responses", "unblocked-call")
    events = list(client_of(rig).responses.create(**request(model, HARMLESS_PROMPT, tools=TOOLS), stream=True))
    arguments = STORIES["unblocked-call"].text("call")
    assert [(call.name, call.arguments) for call in calls_of(events)] == [(TOOL_NAME, arguments)]
    assert rig.tally(model) == FINISHED


def test_a_call_with_blocked_arguments_never_arrives_not_even_in_part(rig):
    model = rig.model("responses", "blocked-call")
    seen = seen_events(list(client_of(rig).responses.create(**request(model, HARMLESS_PROMPT, tools=TOOLS), stream=True)))
    TestBlockingClient().assert_nothing_forbidden(seen)
    assert "function_call" not in repr(seen.raw)
    assert (seen.answer, seen.finish) == (NOTICE, "content_filter")
    assert rig.tally(model) == CANCELLED


def test_a_response_that_is_fetched_is_inspected(rig):
    model = rig.model("responses", "blocked-answer")
    seen = seen_response(client_of(rig).responses.retrieve(model))
    TestBlockingClient().assert_nothing_forbidden(seen)
    assert (seen.answer, seen.finish) == (NOTICE, "content_filter")
    events = list(client_of(rig).responses.retrieve(rig.model("responses", "blocked-answer"), stream=True))
    assert seen_events(events).answer == STORIES["blocked-answer"].text("answer")
    assert events[-1].type == "response.incomplete"
