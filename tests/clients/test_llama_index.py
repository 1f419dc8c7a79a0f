"""LlamaIndex: llama-index-llms-openai."""

from __future__ import annotations

import openai
from llama_index.core.base.llms.types import ChatMessage, ThinkingBlock
from llama_index.llms.openai import OpenAI

from contract import ChatContract, Seen


def chat(rig, model):
    # It takes only model names of OpenAI's own, whose context lengths it knows; the name on the wire is set apart.
    return OpenAI(model="gpt-4o-mini", api_base=rig.base_url, api_key="none", additional_kwargs={"model": model})


def messages(prompt):
    return [ChatMessage(role="user", content=prompt)]


def thinking_of(message):
    return "".join(block.content for block in message.blocks if isinstance(block, ThinkingBlock))


class TestOpenAI(ChatContract):
    def stream(self, rig, model, prompt):
        responses = list(chat(rig, model).stream_chat(messages(prompt)))
        finishes = [choice.finish_reason for response in responses for choice in response.raw.choices if choice.finish_reason]
        message = responses[-1].message
        return Seen(message.content, thinking_of(message), finishes[-1], responses)

    def whole(self, rig, model, prompt):
        response = chat(rig, model).chat(messages(prompt))
        return Seen(response.message.content, thinking_of(response.message), response.raw.choices[0].finish_reason, response)

    def assert_refusal(self, error):
        assert type(error) is openai.BadRequestError
        assert error.code == "content_policy_violation"
