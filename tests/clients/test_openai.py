"""openai-python: the blocking and the asynchronous client, the `.stream()` helper, several choices, tool calls."""

from __future__ import annotations

import asyncio

import openai
import pytest

from contract import CANCELLED, FINISHED, ChatContract, Seen
from scenarios import HARMLESS_PROMPT, NOTICE, STORIES, STYLES, TOOL, TOOL_NAME

USAGE = {"stream_options": {"include_usage": True}}


def request(model, prompt, **more):
    return {"model": model, "messages": [{"role": "user", "content": prompt}], **more}


def client_of(rig):
    return openai.OpenAI(base_url=rig.base_url, api_key="none")


def thinking_of(part):
    """The client knows neither field, and hands both on as extra attributes."""
    return getattr(part, "reasoning_content", None) or getattr(part, "reasoning", None) or ""


def seen_chunks(chunks, index=0) -> Seen:
    choices = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
    return Seen(
        answer="".join(choice.delta.content or "" for choice in choices),
        thinking="".join(thinking_of(choice.delta) for choice in choices),
        finish=next((choice.finish_reason for choice in choices if choice.finish_reason), None),
        raw=chunks,
    )


def seen_body(body) -> Seen:
    choice = body.choices[0]
    return Seen(choice.message.content, thinking_of(choice.message), choice.finish_reason, body)


class OpenAIContract(ChatContract):
    def assert_refusal(self, error):
        assert type(error) is openai.BadRequestError
        assert error.status_code == 400
        assert (error.code, error.type, error.param) == ("content_policy_violation", "invalid_request_error", "messages")


class TestBlockingClient(OpenAIContract):
    def stream(self, rig, model, prompt):
        return seen_chunks(list(client_of(rig).chat.completions.create(**request(model, prompt), stream=True)))

    def whole(self, rig, model, prompt):
        return seen_body(client_of(rig).chat.completions.create(**request(model, prompt)))

    @pytest.mark.parametrize("style", STYLES)
    def test_gets_the_usage_of_an_unblocked_stream(self, rig, style):
        chunks = list(client_of(rig).chat.completions.create(**request(rig.model(style, "unblocked"), HARMLESS_PROMPT), stream=True, **USAGE))
        assert [chunk.usage.total_tokens for chunk in chunks if chunk.usage] == [33]

    @pytest.mark.parametrize("style", STYLES)
    def test_gets_no_usage_that_the_upstream_never_sent(self, rig, style):
        model = rig.model(style, "blocked-answer")
        chunks = list(client_of(rig).chat.completions.create(**request(model, HARMLESS_PROMPT), stream=True, **USAGE))
        assert [chunk.usage for chunk in chunks if chunk.usage] == []

    @pytest.mark.parametrize("story", ["blocked-thinking", "blocked-answer"])
    def test_sees_one_response_under_one_id_and_the_role_first(self, rig, story):
        model = rig.model("deepseek", story)
        chunks = list(client_of(rig).chat.completions.create(**request(model, HARMLESS_PROMPT), stream=True))
        assert {(chunk.id, chunk.object, chunk.model) for chunk in chunks} == {("chatcmpl-client-tests", "chat.completion.chunk", model)}
        assert chunks[0].choices[0].delta.role == "assistant"
        assert [c.finish_reason for chunk in chunks for c in chunk.choices if c.finish_reason] == ["content_filter"]


class TestAsyncClient(OpenAIContract):
    def stream(self, rig, model, prompt):
        async def chunks():
            async with openai.AsyncOpenAI(base_url=rig.base_url, api_key="none") as client:
                return [chunk async for chunk in await client.chat.completions.create(**request(model, prompt), stream=True)]

        return seen_chunks(asyncio.run(chunks()))

    def whole(self, rig, model, prompt):
        async def body():
            async with openai.AsyncOpenAI(base_url=rig.base_url, api_key="none") as client:
                return await client.chat.completions.create(**request(model, prompt))

        return seen_body(asyncio.run(body()))


# === The .stream() helper ===


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("story", ["blocked-thinking", "blocked-answer"])
def test_the_stream_helper_iterates_to_the_end_of_a_blocked_stream(rig, style, story):
    model = rig.model(style, story)
    with client_of(rig).chat.completions.stream(**request(model, HARMLESS_PROMPT)) as stream:
        seen = seen_chunks([event.chunk for event in stream if event.type == "chunk"])
        # Iterating raises nothing; asking for the parsed completion of a filtered stream always does.
        with pytest.raises(openai.ContentFilterFinishReasonError):
            stream.get_final_completion()
    assert seen.finish == "content_filter"
    assert seen.answer.endswith(NOTICE) == (story == "blocked-thinking")
    assert rig.tally(model) == CANCELLED


# === Several choices ===


@pytest.mark.parametrize("style", STYLES)
def test_a_match_in_one_choice_ends_both_and_only_the_silent_one_gets_the_notice(rig, style):
    model = rig.model(style, "blocked-one-of-two")
    chunks = list(client_of(rig).chat.completions.create(**request(model, HARMLESS_PROMPT, n=2), stream=True))
    contract, story = TestBlockingClient(), STORIES["blocked-one-of-two"]
    talking, silent = (seen_chunks(chunks, index) for index in (0, 1))
    contract.assert_nothing_forbidden(talking)
    assert talking.answer == story.content(style, 0)
    assert silent.answer.startswith(story.content(style, 1)) and silent.answer.endswith(NOTICE)
    assert (talking.finish, silent.finish) == ("content_filter", "content_filter")
    assert rig.tally(model) == CANCELLED


# === Tool calls ===


def calls_of(chunks):
    return [call for chunk in chunks for choice in chunk.choices for call in choice.delta.tool_calls or []]


@pytest.mark.parametrize("style", STYLES)
def test_an_unblocked_call_arrives_complete(rig, style):
    model = rig.model(style, "unblocked-call")
    chunks = list(client_of(rig).chat.completions.create(**request(model, HARMLESS_PROMPT, tools=[TOOL]), stream=True))
    calls = calls_of(chunks)
    assert [call.function.name for call in calls if call.function.name] == [TOOL_NAME]
    assert "".join(call.function.arguments for call in calls) == STORIES["unblocked-call"].text("call")
    assert seen_chunks(chunks).finish == "tool_calls"
    assert rig.tally(model) == FINISHED


@pytest.mark.parametrize("style", STYLES)
def test_a_call_with_blocked_arguments_never_arrives_not_even_in_part(rig, style):
    model = rig.model(style, "blocked-call")
    chunks = list(client_of(rig).chat.completions.create(**request(model, HARMLESS_PROMPT, tools=[TOOL]), stream=True))
    seen = seen_chunks(chunks)
    TestBlockingClient().assert_nothing_forbidden(seen)
    assert calls_of(chunks) == []
    assert seen.answer.endswith(NOTICE)
    assert seen.finish == "content_filter"
    assert rig.tally(model) == CANCELLED


@pytest.mark.parametrize("style", STYLES)
def test_a_whole_body_with_blocked_arguments_has_no_call(rig, style):
    body = client_of(rig).chat.completions.create(**request(rig.model(style, "blocked-call"), HARMLESS_PROMPT, tools=[TOOL]))
    TestBlockingClient().assert_nothing_forbidden(seen_body(body))
    assert not body.choices[0].message.tool_calls
    assert (body.choices[0].message.content, body.choices[0].finish_reason) == (NOTICE, "content_filter")


# === The model asked again ===


@pytest.mark.parametrize("style", STYLES)
def test_a_stream_that_was_asked_again_has_one_name_one_end_and_one_message(rig, style):
    model = rig.model(style, "asked-again")
    asked = {**request(model, HARMLESS_PROMPT), **USAGE}
    with client_of(rig.asking_again()).chat.completions.stream(**asked) as stream:
        chunks = [event.chunk for event in stream if event.type == "chunk"]
        message = stream.get_final_completion().choices[0].message
    assert {(chunk.id, chunk.model) for chunk in chunks} == {("chatcmpl-client-tests", model)}
    assert [c.finish_reason for chunk in chunks for c in chunk.choices if c.finish_reason] == ["stop"]
    assert [chunk.usage.total_tokens for chunk in chunks if chunk.usage] == [33]
    told = [chunk.model_extra["thinkgate"] for chunk in chunks if "thinkgate" in (chunk.model_extra or {})]
    assert told == [{"outcomes": [{"index": 0, "outcome": "benign"}]}]
    assert (message.role, message.content) == ("assistant", STORIES["asked-again"].delivered.content(style))


@pytest.mark.parametrize("style", STYLES)
def test_a_whole_body_that_was_asked_again_is_the_second_with_both_usages(rig, style):
    model = rig.model(style, "asked-again")
    client = client_of(rig.asking_again())
    response = client.chat.completions.with_raw_response.create(**request(model, HARMLESS_PROMPT))
    body = response.parse()
    TestBlockingClient().assert_nothing_forbidden(seen_body(body))
    assert body.choices[0].finish_reason == "stop"
    assert body.choices[0].message.content.endswith("A kestrel lives there.")
    assert STORIES["asked-again"].text("thinking") not in repr(body)
    assert body.usage.total_tokens == 66
    assert response.headers["x-thinkgate-outcome"] == "benign"
    assert rig.tally(model) == {"requests": 2, "finished": 2, "cancelled": 0}
