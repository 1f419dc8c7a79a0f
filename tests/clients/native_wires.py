"""The scenarios as other vendors' APIs tell them: OpenAI Responses and Anthropic Messages.

A wire gives the frames of a stream in order, its last bytes (which clients may hang up after), and a whole body.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Callable, Iterator

import scenarios
from scenarios import Piece

CREATED = 1_700_000_000


@dataclass(frozen=True)
class Wire:
    frames: Callable[[dict, Iterator[Piece]], Iterator[bytes]]
    end: bytes
    whole: Callable[[dict], dict]
    content_type: str = "text/event-stream"


def event(value: dict) -> bytes:
    return f"event: {value['type']}\n".encode() + b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


# === OpenAI Responses ===

RESPONSES_USAGE = {
    "input_tokens": 11,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 22,
    "output_tokens_details": {"reasoning_tokens": 7},
    "total_tokens": 33,
}

ITEMS = {
    "thinking": {"type": "reasoning", "id": "rs_1", "summary": []},
    "answer": {"type": "message", "id": "msg_1", "role": "assistant", "status": "in_progress", "content": []},
    "call": {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "call_1",
        "name": scenarios.TOOL_NAME,
        "arguments": "",
        "status": "in_progress",
    },
}


def part_of(channel: str, text: str) -> dict:
    if channel == "thinking":
        return {"type": "summary_text", "text": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def whole_item(channel: str, text: str) -> dict:
    item = dict(ITEMS[channel])
    if channel == "thinking":
        return {**item, "summary": [part_of(channel, text)]}
    if channel == "answer":
        return {**item, "status": "completed", "content": [part_of(channel, text)]}
    return {**item, "status": "completed", "arguments": text}


def response_of(request: dict, status: str, output: list[dict]) -> dict:
    usage = RESPONSES_USAGE if status == "completed" else None
    fixed = {"object": "response", "error": None, "incomplete_details": None, "instructions": None, "metadata": {}}
    options = {"parallel_tool_calls": True, "temperature": 1.0, "tool_choice": "auto", "tools": [], "top_p": 1.0}
    told = {"id": "resp_client_tests", "created_at": CREATED, "model": request["model"], "status": status}
    return {**told, **fixed, **options, "output": output, "usage": usage}


@dataclass
class ResponsesWriter:
    number: int = 0
    output: list[dict] = field(default_factory=list)
    channel: str | None = None
    text: str = ""

    def event(self, kind: str, **fields: object) -> bytes:
        self.number += 1
        return event({"type": f"response.{kind}", "sequence_number": self.number - 1, **fields})

    def about(self) -> dict:
        place = {"thinking": {"summary_index": 0}, "answer": {"content_index": 0}}.get(self.channel, {})
        return {"item_id": ITEMS[self.channel]["id"], "output_index": len(self.output), **place}

    def names(self) -> tuple[str, str | None]:
        return {
            "thinking": ("reasoning_summary_text", "reasoning_summary_part"),
            "answer": ("output_text", "content_part"),
            "call": ("function_call_arguments", None),
        }[self.channel]

    def piece(self, piece: Piece) -> Iterator[bytes]:
        if self.channel != piece.channel:
            yield from self.close()
            self.channel, self.text = piece.channel, ""
            yield self.event("output_item.added", output_index=len(self.output), item=ITEMS[piece.channel])
            if part := self.names()[1]:
                yield self.event(f"{part}.added", **self.about(), part=part_of(piece.channel, ""))
        self.text += piece.text
        yield self.event(f"{self.names()[0]}.delta", **self.about(), delta=piece.text)

    def close(self) -> Iterator[bytes]:
        if self.channel is None:
            return
        text, part = self.names()
        key = "arguments" if part is None else "text"
        yield self.event(f"{text}.done", **self.about(), **{key: self.text})
        if part:
            yield self.event(f"{part}.done", **self.about(), part=part_of(self.channel, self.text))
        item = whole_item(self.channel, self.text)
        yield self.event("output_item.done", output_index=len(self.output), item=item)
        self.output.append(item)
        self.channel = None


def responses_frames(request: dict, pieces: Iterator[Piece]) -> Iterator[bytes]:
    writer = ResponsesWriter()
    for kind in ("created", "in_progress"):
        yield writer.event(kind, response=response_of(request, "in_progress", []))
    for piece in pieces:
        yield from writer.piece(piece)
    yield from writer.close()
    yield writer.event("completed", response=response_of(request, "completed", writer.output))


def responses_whole(request: dict) -> dict:
    _, story = scenarios.parse_model(request["model"])
    texts = [(channel, story.text(channel, whole=True)) for channel in ITEMS]
    return response_of(request, "completed", [whole_item(channel, text) for channel, text in texts if text])


# === Anthropic Messages ===

BLOCKS = {
    "thinking": ({"type": "thinking", "thinking": "", "signature": ""}, "thinking_delta", "thinking"),
    "answer": ({"type": "text", "text": ""}, "text_delta", "text"),
    "call": ({"type": "tool_use", "id": "toolu_1", "name": scenarios.TOOL_NAME, "input": {}}, "input_json_delta", "partial_json"),
}
SIGNATURE = "c2lnbmF0dXJl"


def message_of(request: dict, content: list[dict], stop_reason: str | None) -> dict:
    told = {"id": "msg_client_tests", "type": "message", "role": "assistant", "model": request["model"]}
    usage = {"input_tokens": 11, "output_tokens": 22 if stop_reason else 1}
    return {**told, "content": content, "stop_reason": stop_reason, "stop_sequence": None, "usage": usage}


def stop_reason_of(request: dict) -> str:
    _, story = scenarios.parse_model(request["model"])
    return "tool_use" if story.calls_a_tool else "end_turn"


def messages_frames(request: dict, pieces: Iterator[Piece]) -> Iterator[bytes]:
    yield event({"type": "message_start", "message": message_of(request, [], None)})
    yield event({"type": "ping"})
    index, channel = -1, None

    def close() -> Iterator[bytes]:
        if channel == "thinking":
            delta = {"type": "signature_delta", "signature": SIGNATURE}
            yield event({"type": "content_block_delta", "index": index, "delta": delta})
        if channel:
            yield event({"type": "content_block_stop", "index": index})

    for piece in pieces:
        block, delta, key = BLOCKS[piece.channel]
        if channel != piece.channel:
            yield from close()
            index, channel = index + 1, piece.channel
            yield event({"type": "content_block_start", "index": index, "content_block": block})
        yield event({"type": "content_block_delta", "index": index, "delta": {"type": delta, key: piece.text}})
    yield from close()
    delta = {"stop_reason": stop_reason_of(request), "stop_sequence": None}
    yield event({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 22}})


def messages_whole(request: dict) -> dict:
    _, story = scenarios.parse_model(request["model"])
    content = []
    if text := story.text("thinking", whole=True):
        content.append({"type": "thinking", "thinking": text, "signature": SIGNATURE})
    if text := story.text("answer", whole=True):
        content.append({"type": "text", "text": text})
    if text := story.text("call", whole=True):
        block, *_ = BLOCKS["call"]
        # Not every story's call is complete.
        content.append({**block, "input": {"bird": text}})
    return message_of(request, content, stop_reason_of(request))


WIRES = {
    "/responses": Wire(responses_frames, b"", responses_whole),
    "/messages": Wire(messages_frames, event({"type": "message_stop"}), messages_whole),
}
