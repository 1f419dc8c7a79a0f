"""What every client must see, whichever way it calls.

A test file derives one class from `ChatContract` for each way in which its client asks (`stream`, `whole`), and states as
class attributes where the client shows less or names things differently.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

import scenarios
from rig import Rig, eventually
from scenarios import BLOCKED_PROMPT, HARMLESS_PROMPT, MASK, NOTICE, STORIES, STYLES

FINISHED = {"requests": 1, "finished": 1, "cancelled": 0}
CANCELLED = {"requests": 1, "finished": 0, "cancelled": 1}
ASKED_AGAIN = {"requests": 2, "finished": 1, "cancelled": 1}


@dataclass
class Seen:
    """What a client made of one response."""

    answer: str
    thinking: str
    finish: str | None
    raw: Any
    """Everything the client was given, in its own types."""


class ChatContract:
    styles: tuple[str, ...] = STYLES
    """The wires that the client speaks; conftest.py runs the tests with each of them."""

    finish_stop = "stop"
    finish_blocked = "content_filter"
    finish_blocked_stream: str | None = "as finish_blocked"
    """Where the client tells another finish for a stream."""

    shows_thinking: tuple[str, ...] = STYLES[:2]
    """The styles whose thinking the client tells apart and gives to its caller, while streaming. A client that is not
    said to tell `tags` apart leaves them in the content."""

    shows_whole_thinking: tuple[str, ...] = STYLES[:2]
    """The same for bodies that are not streamed."""

    def stream(self, rig: Rig, model: str, prompt: str) -> Seen:
        raise NotImplementedError

    def whole(self, rig: Rig, model: str, prompt: str) -> Seen:
        raise NotImplementedError

    def assert_refusal(self, error: BaseException) -> None:
        """That this is the client's own typed error for a blocked prompt."""
        raise NotImplementedError

    # === Streamed ===

    def test_delivers_an_unblocked_stream_whole(self, rig, style):
        model = rig.model(style, "unblocked")
        seen = self.stream(rig, model, HARMLESS_PROMPT)
        self.assert_text(seen, style, "unblocked")
        assert seen.finish == self.finish_stop
        assert rig.tally(model) == FINISHED

    def test_ends_a_stream_blocked_in_its_thinking_with_the_notice(self, rig, style):
        model = rig.model(style, "blocked-thinking")
        seen = self.stream(rig, model, HARMLESS_PROMPT)
        self.assert_nothing_forbidden(seen)
        self.assert_text(seen, style, "blocked-thinking", notice=NOTICE)
        self.assert_stream_filtered(seen)
        assert rig.tally(model) == CANCELLED

    def test_cuts_a_stream_blocked_in_its_answer_just_before_the_match(self, rig, style):
        model = rig.model(style, "blocked-answer")
        seen = self.stream(rig, model, HARMLESS_PROMPT)
        self.assert_nothing_forbidden(seen)
        self.assert_text(seen, style, "blocked-answer")
        self.assert_stream_filtered(seen)
        assert rig.tally(model) == CANCELLED

    def test_takes_a_stream_that_was_asked_again_for_one_response(self, rig, style):
        model = rig.model(style, "asked-again")
        seen = self.stream(rig.asking_again(), model, HARMLESS_PROMPT)
        self.assert_nothing_forbidden(seen)
        if style in STYLES:
            self.assert_text(seen, style, "asked-again")
            assert seen.finish == self.finish_stop
            assert rig.tally(model) == ASKED_AGAIN
        else:
            # Only completions can be gone on with: elsewhere a refusal stands.
            self.assert_stream_filtered(seen)
            assert rig.tally(model) == CANCELLED

    def test_raises_for_a_blocked_prompt_before_the_stream_and_does_not_retry(self, rig):
        self.check_blocked_prompt(rig, self.stream)

    def test_shows_a_mask_in_a_stream(self, rig, style):
        model = rig.model(style, "masked")
        self.assert_masked(rig, model, self.stream(rig, model, HARMLESS_PROMPT))

    # === Not streamed ===

    def test_shows_a_mask_in_a_body(self, rig, style):
        model = rig.model(style, "masked")
        self.assert_masked(rig, model, self.whole(rig, model, HARMLESS_PROMPT))

    def test_delivers_an_unblocked_body_whole(self, rig, style):
        model = rig.model(style, "unblocked")
        seen = self.whole(rig, model, HARMLESS_PROMPT)
        self.assert_text(seen, style, "unblocked", shows_thinking=self.shows_whole_thinking)
        assert seen.finish == self.finish_stop
        assert rig.tally(model) == FINISHED

    @pytest.mark.parametrize("story", ["blocked-thinking", "blocked-answer"])
    def test_gets_the_notice_instead_of_a_blocked_body(self, rig, style, story):
        model = rig.model(style, story)
        seen = self.whole(rig, model, HARMLESS_PROMPT)
        self.assert_nothing_forbidden(seen)
        assert seen.answer == NOTICE
        assert seen.finish == self.finish_blocked
        assert rig.tally(model) == FINISHED

    def test_raises_for_a_blocked_prompt_of_a_whole_body_and_does_not_retry(self, rig):
        self.check_blocked_prompt(rig, self.whole)

    # === Shared checks ===

    def check_blocked_prompt(self, rig, ask):
        model = rig.model(self.styles[0], "unblocked")
        refusals = rig.refusals()
        with pytest.raises(Exception) as caught:
            ask(rig, model, BLOCKED_PROMPT)
        self.assert_refusal(caught.value)
        assert rig.tally(model)["requests"] == 0
        # A request is counted when its response has ended, which may be later than its last byte's arrival here.
        assert eventually(lambda: rig.refusals() > refusals)
        assert rig.refusals() == refusals + 1

    def assert_masked(self, rig, model, seen):
        assert "magpie" not in repr(seen.raw).lower()
        assert seen.answer.endswith(f"There lives a {MASK}, the {MASK} of old.")
        assert seen.finish == self.finish_stop
        assert rig.tally(model) == FINISHED

    def assert_stream_filtered(self, seen):
        own = self.finish_blocked_stream
        assert seen.finish == (self.finish_blocked if own == "as finish_blocked" else own)

    def assert_text(self, seen, style, story_name, notice="", shows_thinking=None):
        shows_thinking = self.shows_thinking if shows_thinking is None else shows_thinking
        story = STORIES[story_name].delivered
        # Where thinking between tags is cut, the guard may close it, with or without a blank line, before the notice.
        expected = story.text("answer") if style in shows_thinking or style != "tags" else story.content(style)
        if style == "tags" and notice:
            assert seen.answer.startswith(expected)
            assert seen.answer.removeprefix(expected).removeprefix("</think>").lstrip() == notice
        else:
            assert seen.answer == expected + notice
        if style in shows_thinking:
            assert seen.thinking == story.text("thinking")

    def assert_nothing_forbidden(self, seen):
        everything = repr(seen.raw).lower()
        for word in scenarios.FORBIDDEN.split():
            assert word[:4] not in everything
