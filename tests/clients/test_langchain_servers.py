"""LangChain for Python on the servers' own wires: ChatOllama, ChatGoogleGenerativeAI, ChatCohere."""

from __future__ import annotations

import cohere
import langchain_google_genai
import ollama
from langchain_cohere import ChatCohere
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_ollama import ChatOllama

from contract import ChatContract, Seen


def seen_message(message, finish, raw) -> Seen:
    blocks = message.content if isinstance(message.content, list) else []
    thinking = "".join(block.get("thinking", "") for block in blocks if isinstance(block, dict))
    return Seen(message.text, thinking or message.additional_kwargs.get("reasoning_content", ""), finish, raw)


class LangChainContract(ChatContract):
    finish_key = "finish_reason"

    def stream(self, rig, model, prompt):
        chunks = list(self.chat(rig, model).stream(prompt))
        return self.seen(sum(chunks[1:], chunks[0]), chunks)

    def whole(self, rig, model, prompt):
        message = self.chat(rig, model).invoke(prompt)
        return self.seen(message, message)

    def seen(self, message, raw) -> Seen:
        return seen_message(message, message.response_metadata.get(self.finish_key), raw)


class TestChatOllama(LangChainContract):
    styles = shows_thinking = shows_whole_thinking = ("ollama",)
    finish_key = "done_reason"

    # It asks for a stream either way.
    test_gets_the_notice_instead_of_a_blocked_body = None

    def chat(self, rig, model):
        return ChatOllama(model=model, base_url=rig.base_url.removesuffix("/v1"), reasoning=True)

    def assert_refusal(self, error):
        assert type(error) is ollama.ResponseError
        assert error.status_code == 400


class TestChatGoogleGenerativeAI(LangChainContract):
    styles = shows_thinking = shows_whole_thinking = ("gemini",)
    finish_stop = "STOP"
    finish_blocked = "SAFETY"

    def chat(self, rig, model):
        url = rig.base_url.removesuffix("/v1")
        return ChatGoogleGenerativeAI(model=model, base_url=url, api_key="none", include_thoughts=True)

    def assert_refusal(self, error):
        assert isinstance(error, langchain_google_genai.chat_models.ChatGoogleGenerativeAIError)


class TestChatCohere(LangChainContract):
    """It shows no thinking."""

    styles = ("cohere",)
    shows_thinking = shows_whole_thinking = ()
    finish_stop = "COMPLETE"
    finish_blocked = "ERROR_TOXIC"

    def chat(self, rig, model):
        return ChatCohere(model=model, base_url=rig.base_url.removesuffix("/v1"), cohere_api_key="none")

    def assert_refusal(self, error):
        assert type(error) is cohere.BadRequestError
