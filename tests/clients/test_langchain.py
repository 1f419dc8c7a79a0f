"""LangChain for Python: ChatOpenAI and ChatDeepSeek."""

from __future__ import annotations

import openai
from langchain_deepseek import ChatDeepSeek
from langchain_openai import ChatOpenAI

from contract import ChatContract, Seen


def seen_message(message, raw) -> Seen:
    # ChatDeepSeek turns both fields into this one; ChatOpenAI drops them.
    thinking = message.additional_kwargs.get("reasoning_content", "")
    return Seen(message.text, thinking, message.response_metadata.get("finish_reason"), raw)


class LangChainContract(ChatContract):
    def stream(self, rig, model, prompt):
        chunks = list(self.chat(rig, model).stream(prompt))
        return seen_message(sum(chunks[1:], chunks[0]), chunks)

    def whole(self, rig, model, prompt):
        message = self.chat(rig, model).invoke(prompt)
        return seen_message(message, message)

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
