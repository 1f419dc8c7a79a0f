"""LangChain for Python: ChatOpenAI (chat completions and Responses), ChatDeepSeek and ChatAnthropic."""

from __future__ import annotations

import anthropic
import openai
from langchain_anthropic import ChatAnthropic
from langchain_deepseek import ChatDeepSeek
from langchain_openai import ChatOpenAI

from contract import ChatContract, Seen


def seen_message(message, raw) -> Seen:
    # ChatDeepSeek turns both fields into this one; ChatOpenAI drops them.
    thinking = message.additional_kwargs.get("reasoning_content", "")
    return Seen(message.text, thinking, message.response_metadata.get("finish_reason"), raw)


class LangChainContract(ChatContract):
    seen = staticmethod(seen_message)

    def stream(self, rig, model, prompt):
        chunks = list(self.chat(rig, model).stream(prompt))
        return self.seen(sum(chunks[1:], chunks[0]), chunks)

    def whole(self, rig, model, prompt):
        message = self.chat(rig, model).invoke(prompt)
        return self.seen(message, message)

    def assert_refusal(self, error):
        assert isinstance(error, openai.BadRequestError)
        assert error.code == "content_policy_violation"


class TestChatOpenAI(LangChainContract):
    shows_thinking = ()
    shows_whole_thinking = ()

    def chat(self, rig, model):
        return ChatOpenAI(model=model, base_url=rig.base_url, api_key="none")


class TestChatDeepSeek(LangChainContract):
    def chat(self, rig, model):
        return ChatDeepSeek(model=model, api_base=rig.base_url, api_key="none")


# === Other vendors' wires, whose thinking LangChain tells in content blocks of one form for all ===


def thinking_blocks(message):
    return "".join(block.get("reasoning", "") for block in message.content_blocks if block["type"] == "reasoning")


class TestChatOpenAIWithResponses(LangChainContract):
    styles = shows_thinking = shows_whole_thinking = ("responses",)

    def seen(self, message, raw):
        details = message.response_metadata
        incomplete = details.get("incomplete_details")
        finish = incomplete["reason"] if incomplete else {"completed": "stop"}.get(details["status"], details["status"])
        return Seen(message.text, thinking_blocks(message), finish, raw)

    def chat(self, rig, model):
        return ChatOpenAI(model=model, base_url=rig.base_url, api_key="none", use_responses_api=True)


class TestChatAnthropic(LangChainContract):
    styles = shows_thinking = shows_whole_thinking = ("messages",)
    finish_stop = "end_turn"
    finish_blocked = "refusal"

    def seen(self, message, raw):
        return Seen(message.text, thinking_blocks(message), message.response_metadata.get("stop_reason"), raw)

    def assert_refusal(self, error):
        assert isinstance(error, anthropic.BadRequestError)
        assert error.body["error"]["type"] == "invalid_request_error"

    def chat(self, rig, model):
        thinking = {"type": "enabled", "budget_tokens": 1024}
        url = rig.base_url.removesuffix("/v1")
        return ChatAnthropic(model=model, base_url=url, api_key="none", max_tokens=4096, thinking=thinking)
