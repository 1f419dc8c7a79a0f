"""What the fake upstream says: every scenario as data, and what of it may reach a client.

A request names its scenario in its `model` field: `STYLE.STORY`, and behind `--` anything that makes it unique to one
test, so that requests are counted test by test. The Node suite reads this file through `GET /scenario/STYLE.STORY`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

FORBIDDEN = "forbidden falcon"
MASKED = "hidden magpie"
MASK = "[redacted]"
NOTICE = "This response was stopped by a safety policy."

HARMLESS_PROMPT = "Which bird lives in the tower?"
BLOCKED_PROMPT = f"Where does the {FORBIDDEN} live?"

STYLES = ("deepseek", "vllm", "tags")
"""The styles of chat completions."""

NATIVE_STYLES = ("responses", "messages", "ollama", "gemini", "cohere")
"""Other vendors' APIs, each at its own path (`native_wires.py`, `server_wires.py`)."""

SAFETY_RULES = "Safety rules."
"""How the guard's rules begin, by which the upstream knows a request that it has steered."""


@dataclass(frozen=True)
class Piece:
    """What one SSE frame adds to one choice."""

    channel: str  # thinking | answer | call
    text: str
    choice: int = 0


def thinking(*texts: str, choice: int = 0) -> list[Piece]:
    return [Piece("thinking", text, choice) for text in texts]


def answer(*texts: str, choice: int = 0) -> list[Piece]:
    return [Piece("answer", text, choice) for text in texts]


def call(*texts: str) -> list[Piece]:
    return [Piece("call", text) for text in texts]


@dataclass(frozen=True)
class Story:
    """The frames of one stream, in order.

    `before` holds the frames that carry nothing of a match, so all of them must reach the client. `match` holds the
    frames in which the forbidden words stand: the first of them also carries innocent text, which may not leave because
    a frame is released whole or not at all. A story with a match has no end of its own: the upstream goes on with
    `filler` frames until its peer hangs up.
    """

    before: list[Piece]
    match: list[Piece]
    filler: list[Piece]
    again: list[Piece] = field(default_factory=list)
    """What the model says instead, whole, where it is asked with safety rules."""

    @property
    def choices(self) -> int:
        return 1 + max(piece.choice for piece in self.before + self.match)

    @property
    def calls_a_tool(self) -> bool:
        return any(piece.channel == "call" for piece in self.before + self.match)

    @property
    def delivered(self) -> Story:
        """What a client gets of it where the model is asked again: the new answer follows what had been sent."""
        return Story(before=self.before + self.again, match=[], filler=[]) if self.again else self

    def text(self, channel: str, choice: int = 0, whole: bool = False) -> str:
        """One channel's text: what lies before the match, or `whole`, as a non-streamed body carries it."""
        pieces = self.before + (self.match if whole else [])
        return "".join(p.text for p in pieces if (p.channel, p.choice) == (channel, choice))

    def content(self, style: str, choice: int = 0, whole: bool = False) -> str:
        """What stands in `content`: the answer and, in the style with tags, the thinking too."""
        thought, said = (self.text(channel, choice, whole) for channel in ("thinking", "answer"))
        if style != "tags":
            return said
        closed = any(p.channel != "thinking" for p in self.before + self.match if p.choice == choice)
        return f"<think>{thought}</think>{said}" if closed else f"<think>{thought}"


STORIES = {
    # The thinking and the answer both hold a part of the forbidden words, which must be let go in the end.
    "unblocked": Story(
        before=thinking("The tower ", "is no forbidden ", "place.\n")
        + answer("A kestrel ", "is a small ", "falcon; it is not for", "bidden."),
        match=[],
        filler=[],
    ),
    # Nothing is blocked, and the answer is masked where the words stand, wherever it is told.
    "masked": Story(
        before=thinking("A short ", "thought.\n") + answer("There lives a hid", "den mag", "pie, the ", "Hidden Magpie of old."),
        match=[],
        filler=[],
    ),
    "blocked-thinking": Story(
        before=thinking("The user ", "asks about ", "the tower. "),
        match=thinking("So the forb", "idden fal", "con lives there."),
        filler=thinking(" And it nests."),
    ),
    "asked-again": Story(
        before=thinking("The user ", "asks about ", "the tower. "),
        match=thinking("So the forb", "idden fal", "con lives there."),
        filler=thinking(" And it nests."),
        again=thinking("Better ", "stay with the bird.\n") + answer("A kestrel ", "lives there."),
    ),
    "blocked-answer": Story(
        before=thinking("A short ", "thought.\n") + answer("In the tower ", "lives a bird. "),
        match=answer("It is the Forbid", "den fal", "con of old."),
        filler=answer(" It nests there."),
    ),
    "blocked-one-of-two": Story(
        before=thinking("Quick.", choice=0)
        + thinking("Slow ", choice=1)
        + answer("In the tower ", choice=0)
        + thinking("thought. ", choice=1)
        + answer("lives a bird. ", choice=0),
        match=thinking("So the forbidden ", "falcon ", "lives there.", choice=1),
        filler=answer("It sings. ", choice=0) + thinking(" And it nests.", choice=1),
    ),
    "unblocked-call": Story(
        before=thinking("I shall ", "look it up.\n") + call('{"bird": ', '"kestrel"', "}"),
        match=[],
        filler=[],
    ),
    "blocked-call": Story(
        before=thinking("I shall ", "look it up.\n"),
        match=call('{"bird": ', '"forbidden ', "falcon", '", "notes": "'),
        filler=call("it nests "),
    ),
}

TOOL_NAME = "look_up_bird"
TOOL = {
    "type": "function",
    "function": {
        "name": TOOL_NAME,
        "description": "Looks up one bird.",
        "parameters": {"type": "object", "properties": {"bird": {"type": "string"}}, "required": ["bird"]},
    },
}


def parse_model(model: str) -> tuple[str, Story]:
    """The style and the story that a request's `model` names."""
    style, _, story = model.partition("--")[0].partition(".")
    if style not in STYLES + NATIVE_STYLES:
        raise KeyError(f"no style {style!r}")
    return style, STORIES[story]


def told_story(request: dict) -> tuple[str, Story]:
    """The style and the story that a request is answered with."""
    style, story = parse_model(request["model"])
    first = next(iter(request.get("messages", [])), {})
    if story.again and first.get("role") == "system" and first["content"].startswith(SAFETY_RULES):
        return style, Story(before=story.again, match=[], filler=[])
    return style, story
