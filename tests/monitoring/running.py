"""Starts what the tests need on free ports of the loopback, and ends by its own process id what it has started."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Callable, Iterator

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
ANYWHERE = "127.0.0.1:0"


def fetch(url: str, body: dict | None = None, seconds: float = 10) -> str:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=seconds) as response:
        return response.read().decode()


def wait_for(what: str, condition: Callable[[], object], seconds: float = 60) -> None:
    """Returns as soon as the condition gives nothing that is missing: it names what it still waits for."""
    deadline = time.monotonic() + seconds
    while missing := condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: after {seconds} s still {missing}")
        time.sleep(0.1)


def free_address() -> str:
    """Of a port that nobody uses now: Prometheus and Alertmanager do not tell which one they took for port 0."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


class Process:
    """A program that is ended with the block, if it has not ended before."""

    def __init__(self, command: list[str | Path], log: Path) -> None:
        # thinkgate takes every variable of this prefix for a setting: neither ours nor the caller's are meant for it here.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("THINKGATE_")}
        self.log = log
        with log.open("ab") as file:
            self.child = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=file, env=environment)

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.end()

    def first_line(self) -> str:
        line = self.child.stdout.readline().decode()
        if not line:
            raise RuntimeError(f"{self.child.args[0]} ended with {self.child.wait()}: {self.log.read_text()[-2000:]}")
        return line

    def is_running(self) -> bool:
        """An error if it has ended by itself."""
        if self.child.poll() is not None:
            raise RuntimeError(f"{self.child.args[0]} ended with {self.child.returncode}: {self.log.read_text()[-2000:]}")
        return True

    def signal(self, number: int) -> None:
        self.child.send_signal(number)

    def end(self) -> None:
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(20)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        self.child.stdout.close()


class Gate(Process):
    """One thinkgate with the tests' classifier and rules."""

    CONFIG = """
upstream: {upstream}
rules: [{rules}]
audit: {{file: {audit}}}
capture: {{folder: {captures}, mask: none}}
classifier: {{model: {model}, deadline: {deadline}}}
routes:
  - {{name: guarded, path: /guarded, mode: enforce}}
"""

    def __init__(self, folder: Path, upstream: str, *, deadline: str = "5s", listen: str = ANYWHERE, admin: str = ANYWHERE) -> None:
        folder.mkdir(exist_ok=True)
        self.audit, self.captures = folder / "audit.jsonl", folder / "captures"
        self.file = folder / "thinkgate.yaml"
        rules, model = HERE / "pack.yaml", ROOT / "tests/samples/classifier"
        files = {"audit": self.audit, "captures": self.captures}
        self.config = self.CONFIG.format(upstream=upstream, rules=rules, model=model, deadline=deadline, **files)
        self.file.write_text(self.config)
        command = [os.environ["THINKGATE_BIN"], "serve", "--config", self.file, "--listen", listen, "--admin-listen", admin]
        super().__init__(command, folder / "thinkgate.log")
        try:
            ready = json.loads(self.first_line())
        except BaseException:
            self.end()
            raise
        self.listening, self.admin = ready["listening"], ready["admin"]

    def metrics(self) -> str:
        return fetch(f"http://{self.admin}/metrics")

    def ask(self, model: str, prompt: str, route: str = "", stream: bool = False) -> None:
        """One exchange; how it ends is the metrics' affair."""
        request = {"model": model, "messages": [{"role": "user", "content": prompt}], "stream": stream}
        with contextlib.suppress(urllib.error.HTTPError):
            fetch(f"http://{self.listening}{route}/v1/chat/completions", request)

    def list_models(self) -> None:
        fetch(f"http://{self.listening}/v1/models")

    def read_again(self, config: str) -> None:
        self.file.write_text(config)
        self.signal(signal.SIGHUP)


class Webhook(ThreadingHTTPServer):
    """What Alertmanager has told, and to which of its receivers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), WebhookHandler)
        self.told: dict[str, tuple[str, str, str]] = {}

    def note(self, receiver: str, message: dict) -> None:
        for alert in message["alerts"]:
            labels = alert["labels"]
            assert labels["severity"] + "s" == receiver, (receiver, labels)
            assert alert["annotations"]["summary"] and alert["annotations"]["runbook_url"], alert
            self.told[alert["fingerprint"]] = (labels["alertname"], labels["severity"], alert["status"])

    def firing(self) -> set[tuple[str, str]]:
        """Name and severity of every alert of which the last word was that it fires."""
        return {(name, severity) for name, severity, status in list(self.told.values()) if status == "firing"}


class WebhookHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.note(self.path.strip("/"), message)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        pass


@contextlib.contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[str]:
    """The address of a server that answers on a thread of its own."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
