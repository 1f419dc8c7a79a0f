"""Starts Envoy with the bootstrap of deploy/envoy, thinkgate beside it and a model server behind it, all on free ports."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Iterator

from rig import DEADLINE_SECONDS, HERE as CLIENTS, eventually, fetch, process

ROOT = Path(__file__).resolve().parent.parent.parent
BOOTSTRAP = ROOT / "deploy/envoy/envoy.yaml"
ANYWHERE = "127.0.0.1:0"


class Thinkgate:
    """One `thinkgate ext-proc`, ended with the block if it has not ended before."""

    def __init__(self, folder: Path, mode: str, listen: str = ANYWHERE) -> None:
        self.folder, self.mode = folder, mode
        self.audit = folder / "audit.jsonl"
        self.child: subprocess.Popen | None = None
        self.start(listen)

    def start(self, listen: str = ANYWHERE) -> None:
        rules = CLIENTS / "pack.yaml"
        command = [os.environ["THINKGATE_BIN"], "ext-proc", "--listen", listen, "--admin-listen", ANYWHERE]
        command += ["--mode", self.mode, "--rules", str(rules), "--no-classifier", "--audit", str(self.audit)]
        # Every variable of this prefix is a setting: the caller's are not meant for it.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("THINKGATE_")}
        log = (self.folder / "thinkgate.log").open("ab")
        with log:
            self.child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment)
        ready = json.loads(self.child.stdout.readline())
        self.listening, self.admin = ready["listening"], ready["admin"]

    def end(self, number: int = signal.SIGTERM) -> int:
        if self.child.poll() is None:
            self.child.send_signal(number)
        code = self.child.wait(DEADLINE_SECONDS)
        self.child.stdout.close()
        return code

    def lines(self) -> list[dict]:
        """The audit lines so far."""
        text = self.audit.read_text() if self.audit.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def recorded(self, count: int) -> list[dict]:
        """The audit lines, once there are `count` of them."""
        assert eventually(lambda: len(self.lines()) >= count), (count, self.lines())
        return self.lines()


class Gateway:
    """An Envoy and its thinkgate."""

    def __init__(self, envoy: str, thinkgate: Thinkgate, upstream: str) -> None:
        self.envoy, self.thinkgate, self.upstream = envoy, thinkgate, upstream

    def post(self, request: dict, path: str = "/v1/chat/completions", headers: dict | None = None) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(self.envoy, timeout=DEADLINE_SECONDS)
        connection.request("POST", path, json.dumps(request), {"content-type": "application/json", **(headers or {})})
        return connection.getresponse()

    def chat(self, model: str, prompt: str = "Which bird lives in the tower?", stream: bool = True) -> http.client.HTTPResponse:
        messages = [{"role": "user", "content": prompt}]
        return self.post({"model": model, "stream": stream, "messages": messages})

    def tally(self, model: str) -> dict:
        """What the scripted model server has seen of this model, once nothing of it is open any more."""
        return json.loads(fetch(f"http://{self.upstream}/control/{model}"))


def port(address: str) -> str:
    return address.rpartition(":")[2]


def bootstrap(thinkgate: str, upstream: str, changes: dict[str, str]) -> str:
    """The shipped bootstrap with free ports, and with what else a test changes in it."""
    text = BOOTSTRAP.read_text()
    ports = {"9901": "0", "10000": "0", "9002": port(thinkgate), "8000": port(upstream)}
    changes = {f"port_value: {old} ": f"port_value: {new} " for old, new in ports.items()} | changes
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


@contextlib.contextmanager
def running_envoy(folder: Path, thinkgate: str, upstream: str, changes: dict[str, str]) -> Iterator[str]:
    """Where callers connect."""
    config, told, log = folder / "envoy.yaml", folder / "envoy.admin", folder / "envoy.log"
    config.write_text(bootstrap(thinkgate, upstream, changes))
    command = [os.environ["ENVOY_BIN"], "-c", str(config), "--admin-address-path", str(told), "--use-dynamic-base-id"]
    child = subprocess.Popen([*command, "--concurrency", "1", "--log-path", str(log)], stderr=subprocess.DEVNULL)

    def listener() -> str | None:
        assert child.poll() is None, log.read_text()[-2000:]
        with contextlib.suppress(OSError, ValueError):
            admin = told.read_text()
            with urllib.request.urlopen(f"http://{admin}/ready", timeout=5):
                statuses = json.loads(fetch(f"http://{admin}/listeners?format=json"))["listener_statuses"]
            address = statuses[0]["local_address"]["socket_address"]
            return f"{address['address']}:{address['port_value']}"
        return None

    try:
        assert eventually(lambda: listener() is not None), log.read_text()[-2000:]
        yield listener()
    finally:
        child.terminate()
        child.wait(DEADLINE_SECONDS)


@contextlib.contextmanager
def running_gateway(folder: Path, *, upstream: str | None = None, mode: str = "shadow", changes: dict[str, str] | None = None) -> Iterator[Gateway]:
    with contextlib.ExitStack() as stack:
        if upstream is None:
            upstream = stack.enter_context(process(sys.executable, CLIENTS / "fake_upstream.py"))["listening"]
        thinkgate = Thinkgate(folder, mode)
        stack.callback(lambda: thinkgate.end())
        envoy = stack.enter_context(running_envoy(folder, thinkgate.listening, upstream, changes or {}))
        yield Gateway(envoy, thinkgate, upstream)
