"""A model server that plays recorded bodies, cut as the request says, with nothing but the standard library.

The request's path ends in `/STEP/chat/completions` and its `model` names the body: it is written in chunks of STEP bytes.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Iterator

SAMPLES = Path(__file__).resolve().parent.parent / "samples/streams"


def bodies() -> dict[str, bytes]:
    """The project's own recorded bodies by their names, and those of the folder that THINKGATE_STREAMS names."""
    read = {}
    for folder in {SAMPLES, Path(os.environ.get("THINKGATE_STREAMS") or SAMPLES)}:
        names = [json.loads(line)["file"] for line in (folder / "INDEX.jsonl").read_text().splitlines()]
        read |= {name: (folder / name).read_bytes() for name in names}
    return read


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.read_body()
        name, step = json.loads(body)["model"], int(self.path.split("/")[-3])
        self.server.heard[name] = (body, dict(self.headers))
        played = self.server.played[name]
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if ".sse" in name else "application/json")
        if name.endswith(".gz"):
            self.send_header("content-encoding", "gzip")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for at in range(0, len(played), step):
            self.write_chunk(played[at : at + step])
        self.write_chunk(b"")

    def read_body(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def write_chunk(self, bytes_: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(bytes_), bytes_))

    def log_message(self, *_arguments: object) -> None:
        pass


class Recorded(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.played = bodies()
        self.played |= {f"{name}.gz": gzip.compress(body) for name, body in self.played.items()}
        self.heard: dict[str, tuple[bytes, dict[str, str]]] = {}

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"


@contextlib.contextmanager
def serving(server: Recorded) -> Iterator[Recorded]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
