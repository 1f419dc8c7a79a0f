"""Traffic goes bad, the alerts reach a webhook; traffic recovers, they are resolved: with the real Prometheus and Alertmanager.

The shipped files are used as they are but for addresses and times: windows of minutes become seconds.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import threading
import urllib.parse
from pathlib import Path
from typing import Iterator

from conftest import PROMETHEUS
from dashboard import filled, queries
from runbooks import runbook_queries
from running import Gate, Process, Webhook, fetch, free_address, serving, wait_for
from upstream import CALM, STORIES, Upstream

WINDOWS = {"5m": "8s", "15m": "10s", "1h": "14s"}

GOOD = ["benign"] * 8 + ["safety_aware"]

BAD = [*["benign"] * 4, *["leaky_thinking"] * 10, *["self_jailbreak"] * 3, *["superficial"] * 4, "attack", "unsafe", "over_sensitive", "gibberish", "error", "error", "error", "error"]

NOT_PROVOKED = {"ThinkgateClassifierFailing", "ThinkgateScorerQueue"}
"""A model that fails, and one that is too slow for the machine: nothing from outside brings them about in seconds."""

UPSTREAM_ERRORS = ("ThinkgateUpstreamErrors", "page")
SERVER_ERRORS = ("ThinkgateServerErrors", "page")
INSTANCE_DOWN = ("ThinkgateInstanceDown", "ticket")
DOWN = ("ThinkgateDown", "page")

SAFETY = {
    ("ThinkgateUnsafeThinking", "page"),
    ("ThinkgateUnsafeAnswers", "page"),
    ("ThinkgateUnsafeAnswers", "ticket"),  # of the route that enforces
    ("ThinkgateSelfJailbreak", "page"),
    ("ThinkgateLeakyThinking", "ticket"),
    ("ThinkgateSuperficialSafety", "ticket"),
}
COVERAGE = {("ThinkgateUnscannedBytes", "page"), ("ThinkgateUninspectedPaths", "ticket"), ("ThinkgateClassifierLate", "ticket")}
OPERATION = {SERVER_ERRORS, ("ThinkgateReloadFailed", "ticket"), ("ThinkgateAuditDropped", "page"), ("ThinkgateCapturesDropped", "ticket")}

INHIBITED = {
    ("ThinkgateUnsafeThinking", "ticket"),
    ("ThinkgateUnscannedBytes", "ticket"),
    ("ThinkgateAuditDropped", "ticket"),
    ("ThinkgateUnjudged", "ticket"),
}
"""These fire beside another that says the same."""


def replaced(text: str, replacements: dict[str, str]) -> str:
    for old, new in replacements.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


class Traffic:
    """Callers who ask for one story after another until the block ends."""

    def __init__(self, gate: Gate, late: Gate) -> None:
        self.gate, self.late = gate, late
        self.stories = GOOD
        self.stopping = threading.Event()
        self.failures: list[BaseException] = []

    def run(self) -> None:
        try:
            while not self.stopping.is_set():
                for name in self.stories:
                    self.gate.ask(name, STORIES[name].prompt)
                self.gate.ask("benign", CALM, stream=True)
                self.gate.ask("benign", CALM, "/guarded", stream=True)
                if self.stories is not GOOD:
                    self.gate.list_models()
                    for _ in range(4):
                        self.gate.ask("stopped", CALM, "/guarded", stream=True)
                        self.late.ask("benign", CALM)
                self.stopping.wait(0.2)
        except BaseException as failure:
            self.failures.append(failure)

    @contextlib.contextmanager
    def flowing(self) -> Iterator[None]:
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            yield
        finally:
            self.stopping.set()
            thread.join()
        assert not self.failures


class Monitoring:
    """Prometheus, Alertmanager and the webhook behind them."""

    def __init__(self, prometheus: str, alertmanager: str, webhook: Webhook) -> None:
        self.prometheus, self.alertmanager, self.webhook = prometheus, alertmanager, webhook

    def ask(self, path: str, **query: str) -> dict:
        answer = json.loads(fetch(f"http://{self.prometheus}/api/v1/{path}?{urllib.parse.urlencode(query)}"))
        assert answer["status"] == "success", answer
        return answer["data"]

    def values(self, expression: str) -> list[float]:
        return [float(series["value"][1]) for series in self.ask("query", query=expression)["result"]]

    def active(self) -> set[tuple[str, ...]]:
        """Every alert that fires in Prometheus, or waits to."""
        return {(alert["labels"]["alertname"], alert["labels"]["severity"]) for alert in self.ask("alerts")["alerts"]}

    def inhibited(self) -> set[tuple[str, ...]]:
        alerts = json.loads(fetch(f"http://{self.alertmanager}/api/v2/alerts"))
        return {(alert["labels"]["alertname"], alert["labels"]["severity"]) for alert in alerts if alert["status"]["inhibitedBy"]}


@contextlib.contextmanager
def monitoring(folder: Path, targets: list[str]) -> Iterator[Monitoring]:
    webhook, prometheus, alertmanager = Webhook(), free_address(), free_address()
    with contextlib.ExitStack() as stack:
        receiver = stack.enter_context(serving(webhook))

        times = {"group_wait: 30s": "group_wait: 1s", "group_interval: 5m": "group_interval: 1s"}
        config = (PROMETHEUS / "alertmanager.yml").read_text()
        (folder / "alertmanager.yml").write_text(replaced(config, {**times, "127.0.0.1:9095": receiver}))
        command = ["alertmanager", "--config.file", folder / "alertmanager.yml", "--storage.path", folder / "alertmanager"]
        command += ["--web.listen-address", alertmanager, "--cluster.listen-address="]
        servers = {alertmanager: stack.enter_context(Process(command, folder / "alertmanager.log"))}

        rules = (PROMETHEUS / "thinkgate.rules.yml").read_text()
        rules = replaced(rules, {f"[{window}]": f"[{seconds}]" for window, seconds in WINDOWS.items()})
        (folder / "thinkgate.rules.yml").write_text(re.sub(r"for: \d+m$", "for: 1s", rules, flags=re.M))
        addresses = {"127.0.0.1:9090": ", ".join(targets), "127.0.0.1:9093": alertmanager, "_interval: 15s": "_interval: 1s"}
        config = (PROMETHEUS / "prometheus.yml").read_text()
        (folder / "prometheus.yml").write_text(replaced(config, addresses))
        command = ["prometheus", "--config.file", folder / "prometheus.yml", "--storage.tsdb.path", folder / "prometheus"]
        command += ["--web.listen-address", prometheus]
        servers[prometheus] = stack.enter_context(Process(command, folder / "prometheus.log"))

        for address, process in servers.items():
            wait_for(f"readiness of {address}", lambda: process.is_running() and not answers(f"http://{address}/-/ready"))
        yield Monitoring(prometheus, alertmanager, webhook)


def answers(url: str) -> bool:
    with contextlib.suppress(OSError):
        return bool(fetch(url))
    return False


def assert_every_rule_and_query_answers(told: Monitoring) -> None:
    rules = [rule for group in told.ask("rules")["groups"] for rule in group["rules"]]
    assert {rule["health"] for rule in rules} == {"ok"}
    recorded = [rule["name"] for rule in rules if rule["type"] == "recording"]
    assert not [name for name in recorded if not told.values(name)]
    asked = {(query.panel, query.expression): told.values(filled(query.expression, "10s")) for query in queries()}
    assert not [query for query, values in asked.items() if not values]
    for expression in runbook_queries():
        told.values(expression)


def test_every_alert_is_provoked_here_or_said_not_to_be(rules):
    provoked = SAFETY | COVERAGE | OPERATION | INHIBITED | {UPSTREAM_ERRORS, INSTANCE_DOWN, DOWN}
    assert {name for name, _ in provoked} | NOT_PROVOKED == {rule["alert"] for rule in rules if "alert" in rule}


def test_bad_traffic_reaches_the_webhook_and_recovery_resolves_it(tmp_path):
    with contextlib.ExitStack() as stack:
        upstream = f"http://{stack.enter_context(serving(Upstream()))}"
        gate = stack.enter_context(Gate(tmp_path / "gate", upstream))
        late = stack.enter_context(Gate(tmp_path / "late", upstream, deadline="0s"))
        told = stack.enter_context(monitoring(tmp_path, [gate.admin, late.admin]))
        firing = told.webhook.firing
        traffic = Traffic(gate, late)
        with traffic.flowing():
            # Ordinary traffic alerts nobody.
            ordinary = 'job_route_mode_outcome:thinkgate_traces:ratio1h{route="default",outcome="benign"} > 0.8'
            wait_for("ordinary traffic", lambda: not told.values(ordinary))
            assert told.active() == set()

            # Everything goes bad at once.
            traffic.stories = BAD
            gate.audit.unlink()
            gate.audit.symlink_to("/dev/full")
            shutil.rmtree(gate.captures)
            gate.captures.touch()
            gate.read_again(gate.config + "no_such_key: 1\n")
            wait_for("alerts", lambda: (SAFETY | COVERAGE | OPERATION) - firing())
            wait_for("inhibition", lambda: INHIBITED - told.inhibited())

            # An upstream that hangs up is why callers get errors: then that is told instead.
            traffic.stories = [*BAD, *["hang_up"] * 5]
            wait_for("upstream errors", lambda: {UPSTREAM_ERRORS} - firing())
            wait_for("inhibition", lambda: {SERVER_ERRORS} - told.inhibited())
            assert_every_rule_and_query_answers(told)

            # All is well again.
            traffic.stories = GOOD
            gate.audit.unlink()
            gate.captures.unlink()
            gate.captures.mkdir()
            gate.read_again(gate.config)
            wait_for("resolution", firing)
            wait_for("silence", told.active)

        # One instance goes, then the other: while none answers, only that is told.
        late.end()
        wait_for("an instance down", lambda: {INSTANCE_DOWN} - firing())
        gate.end()
        wait_for("all instances down", lambda: {DOWN} - firing())
        wait_for("inhibition", lambda: {INSTANCE_DOWN} - told.inhibited())
        for before in (gate, late):
            stack.enter_context(Gate(tmp_path / "gate", upstream, admin=before.admin))
        wait_for("resolution", firing)
        wait_for("silence", told.active)
