"""ollama's own client: chat and generate, the blocking and the asynchronous one, tool calls."""

from __future__ import annotations

import asyncio

import ollama

from contract import CANCELLED, FINISHED, ChatContract, Seen
from scenarios import HARMLESS_PROMPT, NOTICE, TOOL


def host_of(rig):
    return rig.base_url.removesuffix("/v1")


def client_of(rig):
    return ollama.Client(host=host_of(rig))


def asked(model, prompt, **more):
    return {"model": model, "messages": [{"role": "user", "content": prompt}], "think": True, **more}


def seen_chat(parts) -> Seen:
    return Seen(
        answer="".join(part.message.content or "" for part in parts),
        thinking="".join(part.message.thinking or "" for part in parts),
        finish=parts[-1].done_reason if parts[-1].done else None,
        raw=parts,
    )


def seen_generate(parts) -> Seen:
    return Seen(
        answer="".join(part.response or "" for part in parts),
        thinking="".join(part.thinking or "" for part in parts),
        finish=parts[-1].done_reason if parts[-1].done else None,
        raw=parts,
    )


class OllamaContract(ChatContract):
    styles = shows_thinking = shows_whole_thinking = ("ollama",)

    def assert_refusal(self, error):
        assert type(error) is ollama.ResponseError
        assert (error.status_code, error.error) == (400, NOTICE)


class TestChat(OllamaContract):
    def stream(self, rig, model, prompt):
        return seen_chat(list(client_of(rig).chat(**asked(model, prompt), stream=True)))

    def whole(self, rig, model, prompt):
        return seen_chat([client_of(rig).chat(**asked(model, prompt))])


class TestAsyncChat(OllamaContract):
    def stream(self, rig, model, prompt):
        async def parts():
            client = ollama.AsyncClient(host=host_of(rig))
            return [part async for part in await client.chat(**asked(model, prompt), stream=True)]

        return seen_chat(asyncio.run(parts()))

    def whole(self, rig, model, prompt):
        return seen_chat([asyncio.run(ollama.AsyncClient(host=host_of(rig)).chat(**asked(model, prompt)))])


class TestGenerate(OllamaContract):
    def stream(self, rig, model, prompt):
        return seen_generate(list(client_of(rig).generate(model=model, prompt=prompt, think=True, stream=True)))

    def whole(self, rig, model, prompt):
        return seen_generate([client_of(rig).generate(model=model, prompt=prompt, think=True)])


def test_an_unblocked_call_arrives_complete(rig):
    model = rig.model("ollama", "unblocked-call")
    parts = list(client_of(rig).chat(**asked(model, HARMLESS_PROMPT, tools=[TOOL]), stream=True))
    calls = [call for part in parts for call in part.message.tool_calls or []]
    assert [call.function.arguments for call in calls] == [{"bird": "kestrel"}]
    assert rig.tally(model) == FINISHED


def test_a_call_with_blocked_arguments_never_arrives(rig):
    model = rig.model("ollama", "blocked-call")
    seen = seen_chat(list(client_of(rig).chat(**asked(model, HARMLESS_PROMPT, tools=[TOOL]), stream=True)))
    TestChat().assert_nothing_forbidden(seen)
    assert not any(part.message.tool_calls for part in seen.raw)
    assert (seen.answer, seen.finish) == (NOTICE, "content_filter")
    assert rig.tally(model) == CANCELLED
