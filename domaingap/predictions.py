"""Shim."""

from __future__ import annotations
from domaingap.results import Predictions as P, save_predictions, load_predictions


class Predictions(P):
    @classmethod
    def of(cls, dataset, points, sigma=None):
        return P.of(dataset, points)
