"""A model server that plays the scenarios of `scenarios.py`, with nothing but the standard library.

Started as a program it binds a free loopback port, prints `{"listening": "127.0.0.1:PORT"}`, and serves until its
standard input is closed, so that it cannot outlive whoever started it. Beside `POST …/chat/completions` and the paths of `native_wires.py` and
`server_wires.py` it answers

* `GET /control/MODEL`: `{"requests", "finished", "cancelled"}` for one `model` value. It waits until no exchange of that
  model is open any more, so a test asks once and needs no sleep.
* `GET /scenario/STYLE.STORY`: the texts that a test compares with, for tests that are not written in Python.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Iterator

import scenarios
from native_wires import WIRES, Wire
from scenarios import Piece, Story
from server_wires import wire_and_request

FRAME_SECONDS = 0.008
"""The pause after each frame: long enough that a guard can cut between two of them."""

FILLER_FRAMES = 1000
"""How many frames follow a match at most, if nobody hangs up."""

DONE = b"data: [DONE]\n\n"
CREATED = 1_700_000_000
THINKING_FIELDS = {"deepseek": "reasoning_content", "vllm": "reasoning"}
USAGE = {"prompt_tokens": 11, "completion_tokens": 22, "total_tokens": 33}


@dataclass
class Tally:
    """What became of the requests for one model."""

    requests: int = 0
    finished: int = 0
    cancelled: int = 0


class FakeUpstream:
    def __init__(self) -> None:
        self.tallies: defaultdict[str, Tally] = defaultdict(Tally)
        self.changed = asyncio.Condition()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one exchange."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            method, path, body = await read_request(reader)
            if method == "GET" and "/responses/" in path:
                name, _, query = path.rpartition("/")[2].partition("?")
                stored = {"model": name, "stream": "stream=true" in query}
                await self.answer(reader, writer, WIRES["/responses"], stored)
            elif method == "GET":
                await self.answer_question(writer, path)
            elif method == "POST" and (found := wire_and_request(path, asked := json.loads(body))):
                await self.answer(reader, writer, *found)
            elif method == "POST" and (wire := wire_at(path)):
                await self.answer(reader, writer, wire, asked)
            else:
                await write_json(writer, 404, {"error": {"message": f"no such path: {path}"}})
        writer.close()

    async def answer_question(self, writer: asyncio.StreamWriter, path: str) -> None:
        kind, _, name = path.lstrip("/").partition("/")
        if kind == "control":
            async with self.changed:
                tally = self.tallies[name]
                await self.changed.wait_for(lambda: tally.requests == tally.finished + tally.cancelled)
            await write_json(writer, 200, asdict(tally))
        elif kind == "scenario":
            await write_json(writer, 200, texts_of(name))
        else:
            await write_json(writer, 404, {"error": {"message": f"no such path: {path}"}})

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire, request: dict) -> None:
        model = request["model"]
        tally = self.tallies[model]
        tally.requests += 1
        # A byte after the request would be a pipelined one, which no client of this server sends: this ends at the
        # peer's hang-up and at nothing else.
        hang_up = asyncio.ensure_future(reader.read(1))
        finished = False
        try:
            if request.get("stream"):
                finished = await stream_story(writer, wire, request, hang_up)
            else:
                await write_json(writer, 200, wire.whole(request))
                finished = True
        finally:
            hang_up.cancel()
            async with self.changed:
                if finished:
                    tally.finished += 1
                else:
                    tally.cancelled += 1
                self.changed.notify_all()


# === HTTP/1.1 ===


async def read_request(reader: asyncio.StreamReader) -> tuple[str, str, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    else:
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    return method, path, body


async def write_json(writer: asyncio.StreamWriter, status: int, value: object) -> None:
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()


async def stream_story(writer: asyncio.StreamWriter, wire: Wire, request: dict, hang_up: asyncio.Future) -> bool:
    """Writes one frame after another; whether the last one was written before the peer hung up.

    Clients hang up as soon as they have read the last one, so the end of the body goes out with it.
    """
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {wire.content_type}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    writer.write(head.encode())
    _, story = scenarios.told_story(request)
    # The last frame is known only once there is none behind it.
    last = None
    for frame in wire.frames(request, pieces(story)):
        if last is not None:
            writer.write(b"%x\r\n%b\r\n" % (len(last), last))
            try:
                await writer.drain()
            except ConnectionError:
                return False
            await asyncio.wait([hang_up], timeout=FRAME_SECONDS)
            if hang_up.done():
                return False
        last = frame
    last += wire.end
    writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(last), last))
    return True


# === Chat completions ===


def chat_frames(request: dict, pieces: Iterator[Piece]) -> Iterator[bytes]:
    style, story = scenarios.told_story(request)
    steered = "" if story is scenarios.parse_model(request["model"])[1] else "-steered"
    envelope = {"id": f"chatcmpl-client-tests{steered}", "object": "chat.completion.chunk", "created": CREATED, "model": request["model"]}
    wants_usage = (request.get("stream_options") or {}).get("include_usage", False)

    def chunk(choice: int, delta: dict, **more: object) -> bytes:
        return sse({**envelope, "choices": [{"index": choice, "delta": delta, "logprobs": None, "finish_reason": None, **more}]})

    for choice in range(story.choices):
        yield chunk(choice, {"role": "assistant", "content": ""})
    writer = DeltaWriter(style)
    for piece in pieces:
        for delta in writer.deltas(piece):
            yield chunk(piece.choice, delta)
    for choice in range(story.choices):
        finish = chunk(choice, {}, finish_reason=finish_reason(story))
        if style == "deepseek" and choice == story.choices - 1:  # DeepSeek puts the usage on the last finish chunk.
            finish = sse({**json.loads(finish.removeprefix(b"data: ")), "usage": USAGE})
        yield finish
    if style != "deepseek" and wants_usage:
        yield sse({**envelope, "choices": [], "usage": USAGE})


def pieces(story: Story) -> Iterator[Piece]:
    yield from story.before
    yield from story.match
    for i in range(FILLER_FRAMES if story.filler else 0):
        yield story.filler[i % len(story.filler)]


class DeltaWriter:
    """Turns pieces into the deltas of one style."""

    def __init__(self, style: str) -> None:
        self.style = style
        self.thinking: set[int] = set()
        """The choices whose thinking tag is open."""
        self.calling: set[int] = set()
        """The choices that have begun a tool call."""

    def deltas(self, piece: Piece) -> Iterator[dict]:
        if self.style == "tags":
            yield from self.tags(piece)
        if piece.channel == "thinking" and self.style != "tags":
            field = THINKING_FIELDS[self.style]
            # DeepSeek writes the other field as null, vLLM leaves it out.
            yield {"content": None, field: piece.text} if self.style == "deepseek" else {field: piece.text}
        elif piece.channel == "call":
            yield from self.call(piece)
        else:
            yield {"content": piece.text}

    def tags(self, piece: Piece) -> Iterator[dict]:
        """An opening or a closing tag arrives as a frame of its own: it is one token."""
        if piece.channel == "thinking" and piece.choice not in self.thinking:
            self.thinking.add(piece.choice)
            yield {"content": "<think>"}
        elif piece.channel != "thinking" and piece.choice in self.thinking:
            self.thinking.remove(piece.choice)
            yield {"content": "</think>"}

    def call(self, piece: Piece) -> Iterator[dict]:
        if piece.choice not in self.calling:
            self.calling.add(piece.choice)
            function = {"name": scenarios.TOOL_NAME, "arguments": ""}
            yield {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]}
        yield {"tool_calls": [{"index": 0, "function": {"arguments": piece.text}}]}


def chat_body(request: dict) -> dict:
    style, story = scenarios.told_story(request)
    choices = []
    for choice in range(story.choices):
        message: dict = {"role": "assistant", "content": story.content(style, choice, whole=True)}
        if style != "tags":
            message[THINKING_FIELDS[style]] = story.text("thinking", choice, whole=True)
        if story.calls_a_tool:
            function = {"name": scenarios.TOOL_NAME, "arguments": story.text("call", choice, whole=True)}
            message["tool_calls"] = [{"id": "call_1", "type": "function", "function": function}]
        choices.append({"index": choice, "message": message, "logprobs": None, "finish_reason": finish_reason(story)})
    envelope = {"id": "chatcmpl-client-tests", "object": "chat.completion", "created": CREATED, "model": request["model"]}
    return {**envelope, "choices": choices, "usage": USAGE}


def wire_at(path: str) -> Wire | None:
    path = path.partition("?")[0]
    if path.endswith("/chat/completions"):
        return Wire(chat_frames, DONE, chat_body)
    return next((wire for end, wire in WIRES.items() if path.endswith(end)), None)


def finish_reason(story: Story) -> str:
    return "tool_calls" if story.calls_a_tool else "stop"


def sse(value: dict) -> bytes:
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


def texts_of(model: str) -> dict:
    """What a Node test needs to know of one scenario."""
    style, story = scenarios.parse_model(model)
    story = story.delivered
    per_choice = range(story.choices)
    return {
        "thinking": [story.text("thinking", choice) for choice in per_choice],
        "answer": [story.text("answer", choice) for choice in per_choice],
        "content": [story.content(style, choice) for choice in per_choice],
        "call": story.text("call"),
        "notice": scenarios.NOTICE,
        "harmlessPrompt": scenarios.HARMLESS_PROMPT,
        "blockedPrompt": scenarios.BLOCKED_PROMPT,
        "tool": scenarios.TOOL,
        "usage": USAGE,
    }


async def main() -> None:
    server = await asyncio.start_server(FakeUpstream().handle, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    print(json.dumps({"listening": f"{host}:{port}"}), flush=True)
    async with server:
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
