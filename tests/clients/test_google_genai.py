"""google-genai: the blocking and the asynchronous client, chats, tool calls; and the array that no client asks for."""

from __future__ import annotations

import asyncio
import functools
import json
import urllib.request

import pytest
from google import genai
from google.genai import errors, types

from contract import CANCELLED, FINISHED, ChatContract, Seen
from scenarios import HARMLESS_PROMPT, NOTICE, STORIES, TOOL

CONFIG = types.GenerateContentConfig(thinking_config=types.ThinkingConfig(include_thoughts=True))


def new_client(rig):
    options = types.HttpOptions(base_url=rig.base_url.removesuffix("/v1"))
    return genai.Client(api_key="none", http_options=options)


client_of = functools.cache(new_client)
"""A client that nobody holds any more is closed, and its streams with it; but one belongs to one event loop."""


def seen_chunks(chunks) -> Seen:
    candidates = [candidate for chunk in chunks for candidate in chunk.candidates or []]
    parts = [part for candidate in candidates for part in candidate.content.parts or []]
    return Seen(
        answer="".join(part.text or "" for part in parts if not part.thought),
        thinking="".join(part.text or "" for part in parts if part.thought),
        finish=next((candidate.finish_reason.value for candidate in candidates if candidate.finish_reason), None),
        raw=chunks,
    )


class GeminiContract(ChatContract):
    styles = shows_thinking = shows_whole_thinking = ("gemini",)
    finish_stop = "STOP"
    finish_blocked = "SAFETY"

    def assert_refusal(self, error):
        assert type(error) is errors.ClientError
        assert (error.code, error.status, error.message) == (400, "INVALID_ARGUMENT", NOTICE)


class TestBlockingClient(GeminiContract):
    def stream(self, rig, model, prompt):
        return seen_chunks(list(client_of(rig).models.generate_content_stream(model=model, contents=prompt, config=CONFIG)))

    def whole(self, rig, model, prompt):
        return seen_chunks([client_of(rig).models.generate_content(model=model, contents=prompt, config=CONFIG)])


class TestAsyncClient(GeminiContract):
    def stream(self, rig, model, prompt):
        async def chunks():
            client = new_client(rig)
            stream = await client.aio.models.generate_content_stream(model=model, contents=prompt, config=CONFIG)
            return [chunk async for chunk in stream]

        return seen_chunks(asyncio.run(chunks()))

    def whole(self, rig, model, prompt):
        async def chunk():
            client = new_client(rig)
            return await client.aio.models.generate_content(model=model, contents=prompt, config=CONFIG)

        return seen_chunks([asyncio.run(chunk())])


class TestChat(GeminiContract):
    """It keeps the turns, and judges whether they are valid."""

    def stream(self, rig, model, prompt):
        return seen_chunks(list(client_of(rig).chats.create(model=model, config=CONFIG).send_message_stream(prompt)))

    def whole(self, rig, model, prompt):
        return seen_chunks([client_of(rig).chats.create(model=model, config=CONFIG).send_message(prompt)])


class TestArray(GeminiContract):
    """Without `alt=sse` the stream is a JSON array; the client libraries do not ask for it."""

    def stream(self, rig, model, prompt):
        return self.ask(rig, model, prompt, "streamGenerateContent")

    def whole(self, rig, model, prompt):
        return self.ask(rig, model, prompt, "generateContent")

    def ask(self, rig, model, prompt, verb):
        url = f"{rig.base_url.removesuffix('/v1')}/v1beta/models/{model}:{verb}"
        body = json.dumps({"contents": [{"role": "user", "parts": [{"text": prompt}]}]}).encode()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as response:
            chunks = json.load(response)
        chunks = chunks if isinstance(chunks, list) else [chunks]
        return seen_chunks([types.GenerateContentResponse.model_validate(chunk) for chunk in chunks])

    def assert_refusal(self, error):
        assert (error.code, json.load(error)["error"]["message"]) == (400, NOTICE)


TOOLS = types.GenerateContentConfig(
    tools=[types.Tool(function_declarations=[{"name": TOOL["function"]["name"], "parameters": TOOL["function"]["parameters"]}])],
    automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
)


@pytest.mark.parametrize("story", ["unblocked-call", "blocked-call"])
def test_a_call_arrives_complete_or_not_at_all(rig, story):
    model = rig.model("gemini", story)
    chunks = list(client_of(rig).models.generate_content_stream(model=model, contents=HARMLESS_PROMPT, config=TOOLS))
    calls = [call for chunk in chunks for call in chunk.function_calls or []]
    if story == "unblocked-call":
        assert [call.args for call in calls] == [json.loads(STORIES[story].text("call"))]
        assert rig.tally(model) == FINISHED
    else:
        seen = seen_chunks(chunks)
        TestBlockingClient().assert_nothing_forbidden(seen)
        assert (calls, seen.answer, seen.finish) == ([], NOTICE, "SAFETY")
        assert rig.tally(model) == CANCELLED
