"""How long training would take here: a few optimiser steps of each kind of network, measured."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from domaingap.study.orders import Order

STEPS = 4
"""Measured of each kind of network, after one that warms up."""


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
        measured: dict[Any, float] = {}
        total = 0.0
        for order in orders:
            s = order.settings
            kind = (s.model, s.crop.size, s.crop.n_channels, s.fit.batch_size, order.precision)
            if order.steps and kind not in measured:
                measured[kind] = _seconds_a_step(order)
            total += order.steps * measured.get(kind, 0.0)
        return total
    finally:
        torch.set_num_threads(before)


def _seconds_a_step(order: Order) -> float:
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
    batch = {
        "image": torch.zeros(s.fit.batch_size, s.crop.n_channels, s.crop.size, s.crop.size, device=device),
        "landmarks": torch.rand(s.fit.batch_size, 68, 2, device=device) * s.crop.size,
    }
    times = []
    for _ in range(1 + STEPS):
        began = time.perf_counter()
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=order.precision == "bf16"):
            loss = model.batch_loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return min(times[1:])
