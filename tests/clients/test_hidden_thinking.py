"""Thinking that is read and not delivered: each client gets the answer alone, and a response that it takes for good."""

from __future__ import annotations

import pytest

import test_anthropic
import test_cohere
import test_google_genai
import test_langchain
import test_langchain_servers
import test_ollama
import test_openai
import test_openai_responses
import test_pydantic_ai
from contract import FINISHED
from rig import HERE, running_rig
from scenarios import HARMLESS_PROMPT, STORIES

CLIENTS = [
    test_openai.TestBlockingClient,
    test_openai_responses.TestBlockingClient,
    test_openai_responses.TestStreamHelper,
    test_anthropic.TestBlockingClient,
    test_anthropic.TestStreamHelper,
    test_cohere.TestBlockingClient,
    test_google_genai.TestArray,
    test_google_genai.TestBlockingClient,
    test_google_genai.TestChat,
    test_ollama.TestChat,
    test_ollama.TestGenerate,
    test_langchain.TestChatOpenAIWithResponses,
    test_langchain.TestChatAnthropic,
    test_langchain_servers.TestChatCohere,
    test_langchain_servers.TestChatGoogleGenerativeAI,
    test_langchain_servers.TestChatOllama,
    test_pydantic_ai.TestRunStreamOfResponses,
    test_pydantic_ai.TestRunStreamOfMessages,
]


@pytest.fixture(scope="module")
def hiding():
    with running_rig(HERE / "hiding.yaml") as rig:
        yield rig


@pytest.mark.parametrize("how", ["stream", "whole"])
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: f"{client.__module__}.{client.__name__}")
def test_the_answer_arrives_without_the_thinking(hiding, client, how):
    model = hiding.model(client.styles[0], "unblocked")
    seen = getattr(client(), how)(hiding, model, HARMLESS_PROMPT)
    assert (seen.answer, seen.thinking) == (STORIES["unblocked"].text("answer"), "")
    assert seen.finish == client.finish_stop
    assert "no forbidden" not in repr(seen.raw)
    assert hiding.tally(model) == FINISHED


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: f"{client.__module__}.{client.__name__}")
def test_a_block_in_the_hidden_thinking_is_told_like_any_other(hiding, client):
    model = hiding.model(client.styles[0], "blocked-thinking")
    seen = client().stream(hiding, model, HARMLESS_PROMPT)
    client().assert_nothing_forbidden(seen)
    assert seen.thinking == ""
    assert "stopped by a safety policy" in seen.answer
    client().assert_stream_filtered(seen)
