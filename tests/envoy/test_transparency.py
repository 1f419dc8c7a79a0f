"""What passes, passes byte for byte."""

from __future__ import annotations

import http.client
import json

import pytest

from recordings import bodies
from scenarios import HARMLESS_PROMPT

RECORDED = sorted(bodies())


def steps(length: int) -> list[int]:
    """Small pieces, and the whole body in one; a long body in pieces that are not too many."""
    return [max(7, length // 2000), max(length, 1)]


def play(gateway, recorded, name, step):
    # Fields in an order and with spaces that no serializer would write, and a field that nobody knows.
    request = f'{{ "messages" :[{{"role":"user","content":{json.dumps(HARMLESS_PROMPT)}}}],  "odd":1e3,"model":"{name}","stream":true}}'
    connection = http.client.HTTPConnection(gateway.envoy, timeout=20)
    connection.request("POST", f"/{step}/chat/completions", request, {"content-type": "application/json", "accept-encoding": "gzip"})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    heard, headers = recorded.heard.pop(name)
    assert heard == request.encode()
    assert headers["accept-encoding"] == "identity"
    return response, body


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_body_comes_out_as_it_came_in_shadow(shadow, recorded, name):
    for step in steps(len(recorded.played[name])):
        before = len(shadow.thinkgate.lines())
        response, body = play(shadow, recorded, name, step)
        assert response.status == 200
        assert body == recorded.played[name]
        line = shadow.thinkgate.recorded(before + 1)[-1]
        assert (line["end"], line["mode"], line["action"]) == ("complete", "shadow", "forward")
        assert sum(line["bytes"]["released"].values()) > 0 or not line["choices"]


@pytest.mark.parametrize("name", RECORDED[::5])
def test_a_compressed_body_comes_out_compressed_in_shadow(shadow, recorded, name):
    response, body = play(shadow, recorded, f"{name}.gz", 100)
    assert response.headers["content-encoding"] == "gzip"
    assert body == recorded.played[f"{name}.gz"]


@pytest.mark.parametrize("coding", ["", ".gz"])
@pytest.mark.parametrize("name", ["deepseek.sse", "think_tags_split.sse"])
def test_a_harmless_stream_comes_out_decoded_and_unchanged_in_enforce(enforcing, recorded, name, coding):
    response, body = play(enforcing, recorded, name + coding, 7)
    assert response.headers["content-encoding"] is None
    assert body == recorded.played[name]


def test_paths_that_are_not_inspected_pass_unread(enforcing):
    """The scripted server knows no such path, and says so itself."""
    response = enforcing.post({"model": "x"}, "/v1/files")
    response.read()
    assert enforcing.thinkgate.recorded(1)[-1]["choices"] == []
