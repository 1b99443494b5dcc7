"""The part of ``domaingap bench`` on memory: a training step in huge pages and in pages as usual."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from domaingap.config import CropConfig, FitConfig
from domaingap.landmarks import IBUG68
from domaingap.models.regressor import LandmarkRegressor
from domaingap.parallel import environment, start_following, workers
from domaingap.training import resolve
from experiments.process import HUGE_PAGES

BATCH = 32
Alternate = Callable[[Callable[[], None], Callable[[], None]], tuple[float, float]]
"""Median seconds of a call of each of two."""


def step_of(backbone: str, size: int, bf16: bool) -> Callable[[Mapping[str, torch.Tensor]], None]:
    """A step of training on a batch, as recipes make it."""
    torch.manual_seed(0)
    model = LandmarkRegressor(backbone, input_size=size, schedule="constant")
    optimizer = model.configure_optimizers()

    def step(batch: Mapping[str, torch.Tensor]) -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = model.batch_loss(dict(batch))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def memory_case(backbone: str, size: int, alternate: Alternate) -> dict[str, Any]:
    """The step in a process as ``domaingap run`` starts one, against the same without huge pages."""
    with _trains(backbone, size, HUGE_PAGES) as huge, _trains(backbone, size, dict.fromkeys(HUGE_PAGES, "")) as usual:
        ours, theirs = alternate(huge, usual)
    return {
        "case": f"training {backbone}, {size} px, one constant batch",
        "pipeline": "memory in huge pages",
        "against": "in pages as usual",
        "images_per_s": BATCH / ours,
        "images_per_s_against": BATCH / theirs,
        "ratio": theirs / ours,
    }


@contextlib.contextmanager
def _trains(backbone: str, size: int, variables: Mapping[str, str]) -> Iterator[Callable[[], None]]:
    """One step of training in a process of its own, which waits in between."""
    ours, theirs = multiprocessing.Pipe()
    process: Any = workers().Process(target=_steps, args=(theirs, backbone, size, torch.get_num_threads()), daemon=True)
    with environment(variables):
        process.start()
    theirs.close()

    def step() -> None:
        ours.send(True)
        ours.recv()

    try:
        yield step
    finally:
        ours.close()
        process.join()


def _steps(asked: Any, backbone: str, size: int, threads: int) -> None:
    """What such a process does, until nobody asks any more."""
    start_following()
    torch.set_num_threads(threads)
    step = step_of(backbone, size, resolve(FitConfig(), BATCH, backbone).precision == "bf16")
    generator = torch.Generator().manual_seed(0)
    pictures = (BATCH, CropConfig(size=size).n_channels, size, size)
    batch = {
        "image": torch.randint(0, 256, pictures, generator=generator, dtype=torch.uint8),
        "landmarks": torch.rand((BATCH, IBUG68.n_points, 2), generator=generator) * size,
    }
    with contextlib.suppress(EOFError, OSError):
        while asked.recv():
            step(batch)
            asked.send(True)
