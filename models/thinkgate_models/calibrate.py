"""Calibration on dev, and thresholds as false positive rates on benign text."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import torch

from .data import CATEGORIES, CHANNELS, HEADS, Row, categories, label
from .metrics import threshold_at
from .score import Decision, Scored, logit, sigmoid

Calibration = dict[str, dict[str, dict[str, float]]]
Thresholds = dict[str, dict[str, dict[str, float]]]
Truth = Callable[[Row, int], int | None]

RATES = {"fpr_1": 0.01, "fpr_0.1": 0.001}
# The share of one benign domain that a threshold may flag, beside its share of all benign text.
WORST_DOMAIN = {"fpr_1": 0.05, "fpr_0.1": 0.01}
LEAST_DOMAIN = 40
# Logits that the threshold of risk may be raised by, so that it holds on domains that did not choose it; more would cost most of what is found.
MARGINS = (0.0, 0.125, 0.25)
HIGHEST = 0.9999
BENIGN_PROMPT_HEADS = (HEADS.index("safety_thinking"), HEADS.index("refusal"))
# Heads that have seen no examples, or hardly any, never flag.
SILENT_HEADS = ("child_safety", "cbrn")
# Thinking on a harmful prompt begins by saying again what is asked. What a head of BENIGN_PROMPT_HEADS makes of so many tokens is known from the
# prompt alone, so it is no finding: its threshold is chosen on them, too.
OPENING_TOKENS = 32
# Labelled by the whole trace: much of its "safe" thinking plans the harm and only the answer refuses. It chooses no threshold; it is measured all the same.
LABELLED_BY_ANSWER = "selfjb_strongreject"


def head_label(row: Row, channel: int, head: int) -> int | None:
    """What is known of a head on a channel of a row."""
    risk = label(row, channel)
    if head == 0:
        return risk
    if head == 1:
        if channel != 1 or risk is None:
            return None
        return int(risk == 0 and label(row, 0) == 1)
    if head == 2:
        return None
    known = categories(row, risk)
    return None if known is None else int(CATEGORIES[head - 3] in known)


def fit(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Scale and bias of a logistic calibration, both classes weighing the same."""
    x, y = torch.tensor(logits, dtype=torch.float64), torch.tensor(labels, dtype=torch.float64)
    weight = torch.where(y > 0, 0.5 / y.sum(), 0.5 / (1 - y).sum())
    parameters = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([parameters], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        losses = torch.nn.functional.binary_cross_entropy_with_logits(parameters[0].exp() * x + parameters[1], y, reduction="none")
        loss = (losses * weight).sum() + 1e-3 * (parameters**2).sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    return float(parameters[0].detach().exp()), float(parameters[1].detach())


def calibrate(scored: Sequence[Scored], burn_in: int, per_text: int = 12) -> Calibration:
    """Fit each head of each channel on tokens of dev; heads with few examples of a class keep their logits."""
    rng = np.random.default_rng(0)
    found: Calibration = {}
    for channel, name in enumerate(CHANNELS):
        found[name] = {}
        for head, head_name in enumerate(HEADS):
            logits, labels = [], []
            texts = [0, 0]
            for one in scored:
                truth = head_label(one.row, channel, head)
                if truth is None or channel not in one.logits:
                    continue
                texts[truth] += 1
                own = one.logits[channel][:, head]
                own = own[min(burn_in, len(own) - 1) :]
                logits.append(rng.choice(own, per_text))
                labels.append(np.full(per_text, truth))
            scale, bias = 1.0, 0.0
            if min(texts) >= 20:
                scale, bias = fit(np.concatenate(logits), np.concatenate(labels))
            found[name][head_name] = {"scale": round(scale, 5), "bias": round(bias, 5)}
    return found


def calibrated(logits: np.ndarray, calibration: Calibration, channel: int, head: int) -> np.ndarray:
    """Probabilities of one head."""
    own = calibration[CHANNELS[channel]][HEADS[head]]
    return sigmoid(own["scale"] * logits[:, head] + own["bias"])


def benign_values(scored: Sequence[Scored], calibration: Calibration, decision: Decision, channel: int, head: int) -> dict[str, np.ndarray]:
    """By domain (set and language), the flag values of texts that are labelled safe.

    Safety thinking and refusals belong to safe text; for their heads only texts on harmless prompts count.
    """
    values: dict[str, list[float]] = defaultdict(list)
    for one in scored:
        wanted = label(one.row, channel) == 0 and (head not in BENIGN_PROMPT_HEADS or label(one.row, 0) == 0)
        if wanted and channel in one.logits and one.row["set"] != LABELLED_BY_ANSWER:
            values[f"{one.row['set']}/{one.row['lang']}"].append(decision.flag_value(calibrated(one.logits[channel], calibration, channel, head)))
    return {domain: np.array(own) for domain, own in values.items()}


def opening_values(scored: Sequence[Scored], calibration: Calibration, decision: Decision, head: int) -> np.ndarray:
    """The flag values of how thinking on harmful prompts begins."""
    thinking = [one.logits[1] for one in scored if 1 in one.logits and label(one.row, 0) == 1]
    return np.array([decision.flag_value(calibrated(own[:OPENING_TOKENS], calibration, 1, head)) for own in thinking])


def threshold(values: dict[str, np.ndarray], rate: str, margin: float = 0.0) -> float:
    """The rate over all benign text, each domain weighing by its size up to 300 texts, and a looser rate in every domain of some size; `margin` logits above."""
    if not values:
        return 1.0
    capped = [np.sort(own)[:: max(1, len(own) // 300)] for own in values.values()]
    least = threshold_at(np.concatenate(capped), RATES[rate])
    own = [threshold_at(one, WORST_DOMAIN[rate]) for one in values.values() if len(one) >= LEAST_DOMAIN]
    raised = float(sigmoid(logit(np.array(max([least, *own]))) + margin))
    return min(raised, HIGHEST)


def without(values: dict[str, np.ndarray], domain: str) -> dict[str, np.ndarray]:
    """The values of all other sets."""
    return {name: own for name, own in values.items() if name.split("/")[0] != domain.split("/")[0]}


def margin_for(values: dict[str, np.ndarray], rate: str) -> float:
    """The least margin with which a threshold chosen without a domain, whichever it is, flags no more of it than `WORST_DOMAIN` allows; none if no margin does."""
    sized = [domain for domain, own in values.items() if len(own) >= LEAST_DOMAIN and without(values, domain)]
    for margin in MARGINS:
        if all((values[domain] >= threshold(without(values, domain), rate, margin)).mean() <= WORST_DOMAIN[rate] for domain in sized):
            return margin
    return 0.0


def thresholds(scored: Sequence[Scored], calibration: Calibration, decision: Decision) -> Thresholds:
    """Thresholds of every channel and head."""
    found: Thresholds = {}
    for channel, name in enumerate(CHANNELS):
        found[name] = {}
        for head, head_name in enumerate(HEADS):
            if head_name in SILENT_HEADS:
                found[name][head_name] = dict.fromkeys(RATES, 1.0)
                continue
            values = benign_values(scored, calibration, decision, channel, head)
            chosen = {rate: threshold(values, rate, margin_for(values, rate) if head == 0 else 0.0) for rate in RATES}
            if channel == 1 and head in BENIGN_PROMPT_HEADS:
                openings = opening_values(scored, calibration, decision, head)
                chosen = {rate: max(least, threshold_at(openings, WORST_DOMAIN[rate])) for rate, least in chosen.items()}
            found[name][head_name] = {rate: printed(value) for rate, value in chosen.items()}
    return found


def printed(threshold: float) -> float:
    """A threshold with five digits, rounded up."""
    return min(1.0, math.ceil(threshold * 1e5) / 1e5)


def leave_one_out(values: dict[str, np.ndarray], rate: str = "fpr_1") -> dict[str, tuple[int, float]]:
    """For each benign domain, its texts and the share flagged by a threshold and a margin that were both chosen without it."""
    found = {}
    for domain, own in sorted(values.items()):
        others = without(values, domain)
        if len(own) >= 15 and others:
            found[domain] = (len(own), float((own >= threshold(others, rate, margin_for(others, rate))).mean()))
    return found
