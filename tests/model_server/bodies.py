"""Reads the text out of a chat response, streamed or not."""

from __future__ import annotations

import json


def parts_of(body: bytes) -> list[dict]:
    """The choices of every chunk, or of the whole body."""
    if not body.startswith(b"data: "):
        return json.loads(body)["choices"]
    frames = [frame.removeprefix("data: ") for frame in body.decode().split("\n\n") if frame]
    assert frames.pop() == "[DONE]"
    return [choice for frame in frames for choice in json.loads(frame)["choices"]]


def text_of(body: bytes, field: str) -> str:
    return "".join((part.get("delta") or part.get("message") or {}).get(field) or "" for part in parts_of(body))


def content_of(body: bytes) -> str:
    return text_of(body, "content")


def thinking_of(body: bytes) -> str:
    return text_of(body, "reasoning_content")


def finish_of(body: bytes) -> str:
    [finish] = [part["finish_reason"] for part in parts_of(body) if part["finish_reason"]]
    return finish
