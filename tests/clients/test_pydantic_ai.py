"""pydantic-ai: an agent run as a stream and at once. What matters most here is that it never asks the model again."""

from __future__ import annotations

import asyncio

import pytest
from anthropic import AsyncAnthropic
from pydantic_ai import Agent
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.messages import TextPart, ThinkingPart
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

from contract import CANCELLED, ChatContract, Seen
from scenarios import HARMLESS_PROMPT, NOTICE, STYLES, TOOL_NAME


def agent(rig, model):
    if model.startswith("responses."):
        return Agent(OpenAIResponsesModel(model, provider=OpenAIProvider(base_url=rig.base_url, api_key="none")))
    if model.startswith("messages."):
        client = AsyncAnthropic(base_url=rig.base_url.removesuffix("/v1"), api_key="none")
        return Agent(AnthropicModel(model, provider=AnthropicProvider(anthropic_client=client)))
    return Agent(OpenAIChatModel(model, provider=OpenAIProvider(base_url=rig.base_url, api_key="none")))


def seen_response(response, raw) -> Seen:
    def text_of(kind):
        return "".join(part.content for part in response.parts if isinstance(part, kind))

    return Seen(text_of(TextPart), text_of(ThinkingPart), response.finish_reason, raw)


class PydanticAIContract(ChatContract):
    # While streaming it knows a tag only where it is the whole of a delta (not even a line end beside it). So a guard that stops inside of `<think>` must
    # write the closing tag as a delta of its own before the notice: in `</think>notice`, or without a closing tag, the
    # notice counts as thinking, the response as empty, and the agent asks the model again.
    shows_thinking = STYLES
    shows_whole_thinking = STYLES

    def whole(self, rig, model, prompt):
        result = agent(rig, model).run_sync(prompt)
        return seen_response(result.response, result.all_messages())

    def assert_refusal(self, error):
        assert type(error) is ModelHTTPError
        assert error.status_code == 400
        assert error.body["code"] == "content_policy_violation"


class TestRunStream(PydanticAIContract):
    def stream(self, rig, model, prompt):
        async def run():
            async with agent(rig, model).run_stream(prompt) as result:
                texts = [text async for text in result.stream_text(debounce_by=None)]
                return seen_response(result.response, [texts, result.all_messages()])

        return asyncio.run(run())


class TestRunWithEventHandler(PydanticAIContract):
    """A plain run that streams from the model because somebody listens to its events."""

    def stream(self, rig, model, prompt):
        events = []

        async def listen(_context, stream):
            events.extend([event async for event in stream])

        async def run():
            result = await agent(rig, model).run(prompt, event_stream_handler=listen)
            return seen_response(result.response, [events, result.all_messages()])

        return asyncio.run(run())


class ResponsesContract(PydanticAIContract):
    styles = shows_thinking = shows_whole_thinking = ("responses",)
    finish_blocked_stream = None  # It takes no finish from a stream that is incomplete.


class MessagesContract(PydanticAIContract):
    styles = shows_thinking = shows_whole_thinking = ("messages",)

    def assert_refusal(self, error):
        assert type(error) is ModelHTTPError
        assert (error.status_code, error.body["error"]["type"]) == (400, "invalid_request_error")


class TestRunStreamOfResponses(ResponsesContract, TestRunStream):
    pass


class TestRunWithEventHandlerOfResponses(ResponsesContract, TestRunWithEventHandler):
    pass


class TestRunStreamOfMessages(MessagesContract, TestRunStream):
    pass


class TestRunWithEventHandlerOfMessages(MessagesContract, TestRunWithEventHandler):
    pass


@pytest.mark.parametrize("style", (*STYLES, "responses", "messages"))
def test_an_agent_neither_runs_a_blocked_call_nor_asks_again(rig, style):
    model, runs = rig.model(style, "blocked-call"), []
    guarded = agent(rig, model)
    guarded.tool_plain(lambda bird: runs.append(bird), name=TOOL_NAME)

    async def listen(_context, stream):
        async for _ in stream:
            pass

    result = asyncio.run(guarded.run(HARMLESS_PROMPT, event_stream_handler=listen))
    assert result.output.endswith(NOTICE)
    assert runs == []
    assert rig.tally(model) == CANCELLED
