"""AUROC and recall at a false positive rate."""

from __future__ import annotations

import numpy as np


def auroc(scores: np.ndarray, labels: np.ndarray) -> float:
    """The chance that an unsafe text scores above a safe one; ties count half. NaN with one class only."""
    positive, negative = int((labels == 1).sum()), int((labels == 0).sum())
    if not positive or not negative:
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[labels == 1].sum() - positive * (positive + 1) / 2) / (positive * negative))


def threshold_at(safe: np.ndarray, rate: float) -> float:
    """The lowest threshold that at most `rate` of the safe scores reach."""
    ordered = np.sort(safe)[::-1]
    allowed = int(np.floor(rate * len(ordered)))
    return float(np.nextafter(np.float32(ordered[allowed]), np.float32(2.0))) if len(ordered) else 1.0


def recall_at(scores: np.ndarray, labels: np.ndarray, rate: float) -> float:
    """The share of unsafe texts at or above the threshold that `rate` of the safe ones reach."""
    if not (labels == 1).any() or not (labels == 0).any():
        return float("nan")
    return float((scores[labels == 1] >= threshold_at(scores[labels == 0], rate)).mean())
