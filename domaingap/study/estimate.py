"""How long training would take here: a few optimiser steps of each kind of network, measured."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

from domaingap.study.orders import Order

STEPS = 4
"""Measured of each kind of network at most."""
SECONDS = 5.0
"""That measuring may take over all kinds of networks, so that a plan is told at once on a slow machine too."""
PART = 8
"""Images of a step that warms up and tells whether whole batches fit into the time; normalisation needs more than one."""


def seconds_of(orders: Iterable[Order], threads: int | None = None) -> float:
    """Seconds that the networks of orders train, one after the other, without validation, scores and adapters.

    Args:
        orders: what is to be done.
        threads: of PyTorch while it is measured; those of this process by default.
    """
    import torch

    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        kinds: dict[Any, Order] = {}
        steps: Counter[Any] = Counter()
        for order in orders:
            if order.steps:
                s = order.settings
                kind = (s.model.backbone, s.model.head, s.crop.size, s.crop.n_channels, s.fit.batch_size, order.precision)
                kinds.setdefault(kind, order)
                steps[kind] += order.steps
        return sum(steps[kind] * _seconds_a_step(order, SECONDS / len(kinds)) for kind, order in kinds.items())
    finally:
        torch.set_num_threads(before)


def _seconds_a_step(order: Order, within: float) -> float:
    """Measured on whole batches as far as they fit into ``within`` seconds, else in proportion from a few images."""
    import torch

    from domaingap.models.regressor import LandmarkRegressor, network_settings

    s = order.settings
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = LandmarkRegressor(
        input_size=s.crop.size,
        in_channels=s.crop.n_channels,
        schedule="constant",
        **{**network_settings(s.model), "pretrained": False},
    ).to(device)
    optimizer: Any = model.configure_optimizers()

    def step(n: int) -> float:
        batch = {
            "image": torch.zeros(n, s.crop.n_channels, s.crop.size, s.crop.size, device=device),
            "landmarks": torch.rand(n, 68, 2, device=device) * s.crop.size,
        }
        began = time.perf_counter()
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=order.precision == "bf16"):
            loss = model.batch_loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    part = min(PART, s.fit.batch_size)
    began = time.perf_counter()
    step(part)  # warms up
    seconds = step(part) * s.fit.batch_size / part
    times: list[float] = []
    while len(times) < STEPS and time.perf_counter() - began + seconds < within:
        times.append(step(s.fit.batch_size))
        seconds = min(times)
    return seconds
