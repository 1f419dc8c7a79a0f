"""LiteLLM: `completion` by two of its providers, and its Router with a fallback."""

from __future__ import annotations

import litellm
import pytest

from contract import CANCELLED, FINISHED, ChatContract, Seen
from rig import eventually
from scenarios import BLOCKED_PROMPT, HARMLESS_PROMPT, NOTICE, STYLES

litellm.telemetry = False


def messages(prompt):
    return [{"role": "user", "content": prompt}]


def thinking_of(part):
    return getattr(part, "reasoning_content", None) or ""


def seen_chunks(chunks) -> Seen:
    choices = [choice for chunk in chunks for choice in chunk.choices]
    return Seen(
        answer="".join(choice.delta.content or "" for choice in choices),
        thinking="".join(thinking_of(choice.delta) for choice in choices),
        finish=next((choice.finish_reason for choice in choices if choice.finish_reason), None),
        raw=chunks,
    )


class LiteLLMContract(ChatContract):
    provider = ""
    shows_whole_thinking = STYLES  # It takes tags out of a whole body, and leaves them in a stream.

    def ask(self, rig, model, prompt, **more):
        return litellm.completion(f"{self.provider}/{model}", messages(prompt), api_base=rig.base_url, api_key="none", **more)

    def stream(self, rig, model, prompt):
        return seen_chunks(list(self.ask(rig, model, prompt, stream=True)))

    def whole(self, rig, model, prompt):
        body = self.ask(rig, model, prompt)
        choice = body.choices[0]
        return Seen(choice.message.content, thinking_of(choice.message), choice.finish_reason, body)

    def assert_refusal(self, error):
        assert type(error) is litellm.ContentPolicyViolationError
        assert error.status_code == 400


class TestOpenAIProvider(LiteLLMContract):
    provider = "openai"


class TestDeepSeekProvider(LiteLLMContract):
    provider = "deepseek"


# === Router ===


def router(rig, first, second, fallback="fallbacks"):
    """Two deployments; what goes wrong with the first may be tried on the second."""

    def deployment(name, model):
        return {"model_name": name, "litellm_params": {"model": f"openai/{model}", "api_base": rig.base_url, "api_key": "none"}}

    return litellm.Router(model_list=[deployment("first", first), deployment("second", second)], **{fallback: [{"first": ["second"]}]})


@pytest.mark.parametrize("fallback", ["fallbacks", "content_policy_fallbacks"])
@pytest.mark.parametrize("story", ["blocked-thinking", "blocked-answer"])
def test_the_router_does_not_fall_back_in_the_middle_of_a_blocked_stream(rig, story, fallback):
    first, second = rig.model("deepseek", story), rig.model("deepseek", "unblocked")
    seen = seen_chunks(list(router(rig, first, second, fallback).completion("first", messages(HARMLESS_PROMPT), stream=True)))
    TestOpenAIProvider().assert_nothing_forbidden(seen)
    assert seen.answer.endswith(NOTICE) == (story == "blocked-thinking")
    assert seen.finish == "content_filter"
    assert rig.tally(first) == CANCELLED
    assert rig.tally(second)["requests"] == 0


def test_the_router_does_not_fall_back_on_a_blocked_body(rig):
    first, second = rig.model("deepseek", "blocked-answer"), rig.model("deepseek", "unblocked")
    body = router(rig, first, second).completion("first", messages(HARMLESS_PROMPT))
    assert (body.choices[0].message.content, body.choices[0].finish_reason) == (NOTICE, "content_filter")
    assert rig.tally(first) == FINISHED
    assert rig.tally(second)["requests"] == 0


def test_the_router_with_fallbacks_for_content_policy_does_fall_back_on_a_blocked_body(rig):
    """What its operator asked for: the second deployment's answer is delivered, so it must stand behind the guard too."""
    first, second = rig.model("deepseek", "blocked-answer"), rig.model("deepseek", "unblocked")
    body = router(rig, first, second, "content_policy_fallbacks").completion("first", messages(HARMLESS_PROMPT))
    assert body.choices[0].finish_reason == "stop"
    assert [rig.tally(model) for model in (first, second)] == [FINISHED, FINISHED]


def test_the_router_falls_back_on_a_blocked_prompt_so_every_deployment_must_stand_behind_the_guard(rig):
    """The prompt is refused by each deployment in turn: the guard before the second one is what keeps it out."""
    first, second = rig.model("deepseek", "unblocked"), rig.model("deepseek", "unblocked")
    refusals = rig.refusals()
    with pytest.raises(litellm.ContentPolicyViolationError):
        router(rig, first, second).completion("first", messages(BLOCKED_PROMPT), stream=True)
    assert eventually(lambda: rig.refusals() == refusals + 2)
    assert [rig.tally(model)["requests"] for model in (first, second)] == [0, 0]
