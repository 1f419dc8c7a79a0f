"""What becomes of exchanges when thinkgate, the client or the model server goes."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import threading
import time

import pytest

from gateway import running_envoy, running_gateway
from rig import eventually
from test_enforcement import frames, model, said

ALLOW = {"failure_mode_allow: false": "failure_mode_allow: true"}
BUFFERED = {
    "request_body_mode: FULL_DUPLEX_STREAMED": "request_body_mode: BUFFERED",
    "request_trailer_mode: SEND": "request_trailer_mode: SKIP",
}
LONG = "blocked-thinking"
"""In shadow mode, a stream that lasts for seconds."""


def first_frame(response: http.client.HTTPResponse) -> bytes:
    lines = b""
    while not lines.endswith(b"\n\n"):
        lines += response.readline()
    return lines


def test_without_thinkgate_nothing_passes(tmp_path):
    with running_gateway(tmp_path) as gateway:
        gateway.thinkgate.end()
        name = model("deepseek", "unblocked")
        assert gateway.chat(name).status == 500
        assert gateway.tally(name)["requests"] == 0


def test_without_thinkgate_everything_passes_unread_where_envoy_is_told_so(tmp_path):
    """It has to have kept the request for that: what it has handed over in full duplex is lost."""
    with running_gateway(tmp_path, mode="enforce", changes=ALLOW | BUFFERED) as gateway:
        assert gateway.chat(model("deepseek", "unblocked"), "the forbidden falcon").status == 400
        gateway.thinkgate.end(signal.SIGKILL)
        for _ in range(5):
            text = said(frames(gateway.chat(model("deepseek", "unblocked"), "the forbidden falcon").read()))
            assert "kestrel" in text


@pytest.mark.parametrize("changes", [{}, ALLOW])
def test_a_stream_that_loses_its_thinkgate_is_seen_to_be_broken(tmp_path, changes):
    """Envoy does not have what it has handed over: it cannot let the rest pass, whatever it is told."""
    with running_gateway(tmp_path, changes=changes) as gateway:
        name = model("deepseek", LONG)
        response = gateway.chat(name)
        first_frame(response)
        gateway.thinkgate.end(signal.SIGKILL)
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            response.read()


def test_a_client_that_leaves_cancels_the_generation_and_is_recorded(tmp_path):
    with running_gateway(tmp_path) as gateway:
        name = model("deepseek", LONG)
        response = gateway.chat(name)
        first_frame(response)
        response.close()
        assert gateway.tally(name) == {"requests": 1, "finished": 0, "cancelled": 1}
        line = gateway.thinkgate.recorded(1)[-1]
        assert (line["end"], line["status"]) == ("client_gone", 200)


def test_a_model_server_that_breaks_off_is_seen_and_recorded(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with running_gateway(tmp_path, upstream=address) as gateway:
            connection = http.client.HTTPConnection(gateway.envoy, timeout=20)
            body = json.dumps({"messages": []})
            connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
            peer, _ = listener.accept()
            peer.recv(65536)
            frame = b'data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n'
            head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            peer.sendall(head + b"%x\r\n%b\r\n" % (len(frame), frame))
            response = connection.getresponse()
            assert first_frame(response) == frame
            peer.close()
            with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                response.read()
            # Envoy ends its conversation and does not say why.
            assert gateway.thinkgate.recorded(1)[-1]["end"] == "client_gone"


def test_a_model_server_that_is_not_there_is_envoys_to_tell(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    with running_gateway(tmp_path, upstream=address, mode="enforce") as gateway:
        response = gateway.chat("any")
        assert response.status == 503
        line = gateway.thinkgate.recorded(1)[-1]
        assert (line["status"], line["upstream_error"], line["end"]) == (503, True, "complete")


def test_a_client_may_be_slower_than_a_message_may_take(tmp_path):
    """Envoy's clock for a reply does not run while it streams a body in full duplex."""
    with running_gateway(tmp_path, changes={"message_timeout: 10s": "message_timeout: 0.3s"}) as gateway:
        body = json.dumps({"model": model("deepseek", "unblocked"), "stream": True, "messages": []}).encode()
        host, port = gateway.envoy.split(":")
        with socket.create_connection((host, int(port)), timeout=20) as client:
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
            client.sendall(head.encode() + body[:10])
            time.sleep(1)
            client.sendall(body[10:])
            assert client.recv(65536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(("changes", "status"), [({}, 200), (BUFFERED, 504)])
def test_a_late_judgement_is_waited_for_in_full_duplex_and_not_where_the_request_is_buffered(tmp_path, changes, status):
    with running_gateway(tmp_path, changes={"message_timeout: 10s": "message_timeout: 0.3s"} | changes) as gateway:
        assert gateway.chat(model("deepseek", "unblocked")).read()
        gateway.thinkgate.child.send_signal(signal.SIGSTOP)
        waking = threading.Timer(1, lambda: gateway.thinkgate.child.send_signal(signal.SIGCONT))
        waking.start()
        assert gateway.chat(model("deepseek", "unblocked")).status == status
        waking.join()


def test_a_drain_lets_open_streams_come_to_their_end(tmp_path):
    with running_gateway(tmp_path) as gateway:
        response = gateway.chat(model("deepseek", "unblocked"))
        first_frame(response)
        gateway.thinkgate.child.send_signal(signal.SIGTERM)
        assert b"[DONE]" in response.read()
        assert gateway.thinkgate.end() == 143
        # Another one takes over where the first was.
        gateway.thinkgate.start(gateway.thinkgate.listening)
        assert eventually(lambda: gateway.chat(model("deepseek", "unblocked")).status == 200)


def test_a_request_may_be_buffered_by_envoy(tmp_path):
    with running_gateway(tmp_path, mode="enforce", changes=BUFFERED) as gateway:
        assert "kestrel" in said(frames(gateway.chat(model("deepseek", "unblocked")).read()))
        assert gateway.chat("any", "the forbidden falcon").status == 400


def test_an_envoy_that_only_shows_delays_nothing_and_is_recorded(tmp_path):
    changes = {
        "failure_mode_allow: false": "observability_mode: true",
        "request_body_mode: FULL_DUPLEX_STREAMED": "request_body_mode: STREAMED",
        "response_body_mode: FULL_DUPLEX_STREAMED": "response_body_mode: STREAMED",
    }
    with running_gateway(tmp_path, changes=changes) as gateway:
        assert "kestrel" in said(frames(gateway.chat(model("deepseek", "unblocked")).read()))
        line = gateway.thinkgate.recorded(1)[-1]
        assert line["end"] == "complete" and line["bytes"]["scanned"]["answer"] > 0


def test_two_envoys_may_share_a_thinkgate(tmp_path):
    with running_gateway(tmp_path) as gateway:
        (tmp_path / "second").mkdir()
        with running_envoy(tmp_path / "second", gateway.thinkgate.listening, gateway.upstream, {}) as envoy:
            first, gateway.envoy = gateway.envoy, envoy
            assert gateway.chat(model("deepseek", "unblocked")).status == 200
            gateway.envoy = first
            assert gateway.chat(model("deepseek", "unblocked")).status == 200
        assert len(gateway.thinkgate.recorded(2)) == 2
