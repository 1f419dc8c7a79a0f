"""The scenarios as Ollama, Gemini and Cohere tell them on their own paths; a counterpart of `native_wires.py`.

Ollama and Gemini tell a tool call whole: it goes out with the first frame of its arguments.
"""

from __future__ import annotations

import json
from typing import Iterator

import scenarios
from native_wires import Wire, event
from scenarios import Piece

CREATED_AT = "2026-01-02T03:04:05.678Z"


def arguments_of(request: dict) -> dict:
    _, story = scenarios.parse_model(request["model"])
    text = story.text("call", whole=True)
    try:
        return json.loads(text)
    except ValueError:  # Not every story's call is complete.
        return {"bird": text}


def texts_of(request: dict) -> tuple[str, str, str]:
    _, story = scenarios.parse_model(request["model"])
    return tuple(story.text(channel, whole=True) for channel in ("thinking", "answer", "call"))


def compact(value: dict) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


# === Ollama ===

COUNTS = {"total_duration": 9, "load_duration": 1, "prompt_eval_count": 11, "prompt_eval_duration": 1, "eval_count": 22, "eval_duration": 7}


def ollama_line(request: dict, said: dict, done: bool = False) -> dict:
    end = {"done": True, "done_reason": "stop", **COUNTS} if done else {"done": False}
    return {"model": request["model"], "created_at": CREATED_AT, **said, **end}


def ollama_chat_said(thinking: str = "", answer: str = "", call: dict | None = None) -> dict:
    message: dict = {"role": "assistant", "content": answer}
    if thinking:
        message["thinking"] = thinking
    if call is not None:
        message["tool_calls"] = [{"id": "call_1", "function": {"index": 0, "name": scenarios.TOOL_NAME, "arguments": call}}]
    return {"message": message}


def ollama_generate_said(thinking: str = "", answer: str = "", call: dict | None = None) -> dict:
    return {"response": answer, **({"thinking": thinking} if thinking else {})}


def ollama(said, context: dict) -> Wire:
    def frames(request: dict, pieces: Iterator[Piece]) -> Iterator[bytes]:
        called = False
        for piece in pieces:
            told = said(thinking=piece.text) if piece.channel == "thinking" else said(answer=piece.text)
            if piece.channel == "call":
                told, called = said(call=None if called else arguments_of(request)), True
            yield compact(ollama_line(request, told)) + b"\n"
        yield compact({**ollama_line(request, said(), done=True), **context}) + b"\n"

    def whole(request: dict) -> dict:
        thinking, answer, call = texts_of(request)
        told = said(thinking, answer, arguments_of(request) if call else None)
        return {**ollama_line(request, told, done=True), **context}

    return Wire(frames, b"", whole, content_type="application/x-ndjson")


# === Gemini ===

GEMINI_USAGE = {"promptTokenCount": 11, "candidatesTokenCount": 15, "thoughtsTokenCount": 7, "totalTokenCount": 33}


def gemini_part(channel: str, text: str, request: dict) -> dict:
    if channel == "call":
        return {"functionCall": {"name": scenarios.TOOL_NAME, "args": arguments_of(request)}, "thoughtSignature": "c2ln"}
    return {"text": text, "thought": True} if channel == "thinking" else {"text": text}


def gemini_chunk(request: dict, parts: list[dict], **more: object) -> dict:
    candidate = {"content": {"parts": parts, "role": "model"}, "index": 0, **more}
    return {"candidates": [candidate], "usageMetadata": GEMINI_USAGE, "modelVersion": request["model"], "responseId": "gemini-client-tests"}


def gemini_chunks(request: dict, pieces: Iterator[Piece]) -> Iterator[dict]:
    called = False
    for piece in pieces:
        part = gemini_part(piece.channel, piece.text, request)
        if piece.channel == "call":
            part, called = {"text": ""} if called else part, True
        yield gemini_chunk(request, [part])
    yield gemini_chunk(request, [{"text": ""}], finishReason="STOP")


def gemini_events(request: dict, pieces: Iterator[Piece]) -> Iterator[bytes]:
    for chunk in gemini_chunks(request, pieces):
        yield b"data: " + compact(chunk) + b"\r\n\r\n"


def gemini_items(request: dict, pieces: Iterator[Piece]) -> Iterator[bytes]:
    before = b"["
    for chunk in gemini_chunks(request, pieces):
        yield before + json.dumps(chunk, indent=2).encode()
        before = b"\n,\r\n"


def gemini_whole(request: dict) -> dict:
    parts = [gemini_part(channel, text, request) for channel, text in zip(("thinking", "answer", "call"), texts_of(request)) if text]
    return gemini_chunk(request, parts, finishReason="STOP")


# === Cohere ===

COHERE_USAGE = {"billed_units": {"input_tokens": 11, "output_tokens": 22}, "tokens": {"input_tokens": 11, "output_tokens": 22}}
COHERE_KEYS = {"thinking": "thinking", "answer": "text"}


def cohere_finish(request: dict) -> str:
    _, story = scenarios.parse_model(request["model"])
    return "TOOL_CALL" if story.calls_a_tool else "COMPLETE"


def cohere_frames(request: dict, pieces: Iterator[Piece]) -> Iterator[bytes]:
    index, channel = -1, None

    def told(kind: str, message: dict, place: int) -> bytes:
        return event({"type": kind, "index": place, "delta": {"message": message}})

    def close() -> Iterator[bytes]:
        if channel == "call":
            yield event({"type": "tool-call-end", "index": 0})
        elif channel:
            yield event({"type": "content-end", "index": index})

    message = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    yield event({"id": "cohere-client-tests", "type": "message-start", "delta": {"message": message}})
    for piece in pieces:
        if channel != piece.channel:
            yield from close()
            channel = piece.channel
            if channel == "call":
                function = {"name": scenarios.TOOL_NAME, "arguments": ""}
                yield told("tool-call-start", {"tool_calls": {"id": "call_1", "type": "function", "function": function}}, 0)
            else:
                index += 1
                key = COHERE_KEYS[channel]
                yield told("content-start", {"content": {"type": key, key: ""}}, index)
        if channel == "call":
            yield told("tool-call-delta", {"tool_calls": {"function": {"arguments": piece.text}}}, 0)
        else:
            yield told("content-delta", {"content": {COHERE_KEYS[channel]: piece.text}}, index)
    yield from close()
    yield event({"type": "message-end", "delta": {"finish_reason": cohere_finish(request), "usage": COHERE_USAGE}})


def cohere_whole(request: dict) -> dict:
    thinking, answer, call = texts_of(request)
    content = [{"type": COHERE_KEYS[channel], COHERE_KEYS[channel]: text} for channel, text in (("thinking", thinking), ("answer", answer)) if text]
    message: dict = {"role": "assistant", "content": content}
    if call:
        message["tool_calls"] = [{"id": "call_1", "type": "function", "function": {"name": scenarios.TOOL_NAME, "arguments": call}}]
    return {"id": "cohere-client-tests", "finish_reason": cohere_finish(request), "message": message, "usage": COHERE_USAGE}


OLLAMA_CHAT = ollama(ollama_chat_said, {})
OLLAMA_GENERATE = ollama(ollama_generate_said, {"context": [1, 2, 3]})
GEMINI = Wire(gemini_events, b"", gemini_whole)
GEMINI_ARRAY = Wire(gemini_items, b"\n]\n", gemini_whole, content_type="application/json")
COHERE = Wire(cohere_frames, b"data: [DONE]\n\n", cohere_whole)


def wire_and_request(path: str, body: dict) -> tuple[Wire, dict] | None:
    """The wire at a path, and the request with its model and whether it streams, wherever it says so."""
    path, _, query = path.partition("?")
    if path.endswith("/api/chat"):
        return OLLAMA_CHAT, {"stream": True, **body}
    if path.endswith("/api/generate"):
        return OLLAMA_GENERATE, {"stream": True, **body}
    if path.endswith("/v2/chat"):
        return COHERE, body
    model, _, verb = path.rpartition("/")[2].partition(":")
    if verb == "generateContent":
        return GEMINI, {**body, "model": model}
    if verb == "streamGenerateContent":
        wire = GEMINI if "alt=sse" in query else GEMINI_ARRAY
        return wire, {**body, "model": model, "stream": True}
    return None
