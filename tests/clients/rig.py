"""Starts the fake upstream with thinkgate before it, and tells what the two saw."""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Callable, Iterator

HERE = Path(__file__).resolve().parent
DEADLINE_SECONDS = 20
_serial = itertools.count(1)


class Rig:
    """One upstream, one thinkgate."""

    def __init__(self, upstream: str, listening: str, admin: str) -> None:
        self.upstream = upstream
        self.admin = admin
        self.base_url = f"http://{listening}/v1"

    def asking_again(self) -> Rig:
        """The same on the route on which the model is asked again."""
        other = copy.copy(self)
        other.base_url = self.base_url.removesuffix("/v1") + "/asking-again/v1"
        return other

    def model(self, style: str, story: str) -> str:
        """A `model` value for this scenario that nobody has used before."""
        return f"{style}.{story}--{next(_serial)}"

    def tally(self, model: str) -> dict:
        """`{"requests", "finished", "cancelled"}` once no exchange of this model is open any more."""
        return json.loads(fetch(f"http://{self.upstream}/control/{model}"))

    def refusals(self) -> int:
        """How many requests thinkgate has answered with 400 up to now."""
        lines = fetch(f"http://{self.admin}/metrics").splitlines()
        counts = (re.match(r'thinkgate_requests_total\{.*code="400".*\} (\S+)', line) for line in lines)
        return sum(int(float(found[1])) for found in counts if found)


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=DEADLINE_SECONDS) as response:
        return response.read().decode()


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether the condition comes true before the deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return condition()


@contextlib.contextmanager
def process(*command: str | Path) -> Iterator[dict]:
    """A program that says on its first line of output where it listens, and that is ended with the block."""
    # thinkgate takes every variable of this prefix for a setting: neither ours nor the caller's are meant for it here.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("THINKGATE_")}
    child = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    try:
        first_line = child.stdout.readline()
        if not first_line:
            raise RuntimeError(f"{command[0]} ended with {child.wait()} before it listened")
        yield json.loads(first_line)
    finally:
        child.stdin.close()
        child.terminate()
        try:
            child.wait(DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextlib.contextmanager
def running_rig(config: Path = HERE / "thinkgate.yaml") -> Iterator[Rig]:
    """`config` is thinkgate's."""
    binary = os.environ["THINKGATE_BIN"]
    anywhere = "127.0.0.1:0"
    with process(sys.executable, HERE / "fake_upstream.py") as upstream:
        url = f"http://{upstream['listening']}"
        options = ["--listen", anywhere, "--admin-listen", anywhere, "--mode", "enforce"]
        rules = ["--config", config, "--rules", HERE / "pack.yaml", "--no-classifier"]
        with process(binary, "serve", "--upstream", url, *options, *rules) as guard:
            yield Rig(upstream["listening"], guard["listening"], guard["admin"])
