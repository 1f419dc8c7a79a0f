"""The model servers, one for each template, and a thinkgate for each of them and each mode, started when first asked for."""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import os
import re
import sys

from rig import eventually, fetch, process
from shapes import HERE

TIMEOUT_SECONDS = 60


class ModelServer:
    def __init__(self, address: str) -> None:
        self.address = address

    def metric(self, name: str) -> int:
        [value] = re.findall(rf"^llamacpp:{name} (\S+)$", fetch(f"http://{self.address}/metrics"), re.MULTILINE)
        return int(float(value))

    def is_idle(self) -> bool:
        return self.metric("requests_processing") == 0

    def decoded_tokens(self) -> int:
        """How many steps it has generated since it started, once it is idle."""
        assert eventually(self.is_idle)
        return self.metric("n_decode_total")


class Bench:
    """Everything that runs."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.stack = stack
        self.server = functools.cache(self._start_server)
        self.guard = functools.cache(self._start_guard)
        self.answers: dict[str, tuple[int, str, bytes]] = {}

    def ask_server(self, template: str, request: dict) -> tuple[int, str, bytes]:
        """What the server itself answers: the same every time, so it is asked once."""
        key = json.dumps([template, request])
        if key not in self.answers:
            self.answers[key] = ask(self.server(template).address, request)
        return self.answers[key]

    def _start_server(self, template: str) -> ModelServer:
        started = self.stack.enter_context(process(sys.executable, HERE / "model_server.py", HERE / template))
        return ModelServer(started["listening"])

    def _start_guard(self, template: str, mode: str) -> str:
        options = ["--upstream", f"http://{self.server(template).address}", "--mode", mode]
        listeners = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
        rules = ["--rules", HERE / "pack.yaml", "--no-classifier"]
        started = self.stack.enter_context(process(os.environ["THINKGATE_BIN"], "serve", *options, *listeners, *rules))
        return started["listening"]


@contextlib.contextmanager
def asking(address: str, request: dict, timeout: float = TIMEOUT_SECONDS):
    """A response whose body is still to be read; leaving the block hangs up."""
    connection = http.client.HTTPConnection(address, timeout=timeout)
    connection.request("POST", "/v1/chat/completions", json.dumps(request), {"Content-Type": "application/json"})
    response = None
    try:
        response = connection.getresponse()
        yield response
    finally:
        if response:
            response.close()
        connection.close()


def ask(address: str, request: dict) -> tuple[int, str, bytes]:
    """Status, content type and body."""
    with asking(address, request) as response:
        return response.status, response.headers["Content-Type"], response.read()
