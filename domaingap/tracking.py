"""Weights & Biases through Lightning's logger: online when logged in, offline otherwise, off by choice."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domaingap.config import WandbConfig, tags_of
from domaingap.errors import UserError
from domaingap.launch import be_first
from domaingap.progress import console, detail


def logged_in() -> bool:
    """Whether W&B has a key, from the environment or its login file. Asks no network.

    Raises:
        UserError: what it has is none, or its login file can't be read.
    """
    import wandb

    try:
        return bool(wandb.login(prompt=False, verify=False))
    except Exception as error:  # of W&B, of netrc, of the disk
        raise UserError(f"Weights & Biases: {_reason(error)}") from error


def effective_mode(mode: str) -> str:
    """``online``, ``offline`` or ``off`` for a configured mode; W&B's own WANDB_MODE wins over ``auto``.

    Raises:
        UserError: ``online`` without a usable login.
    """
    # Lightning's logger passes an option that W&B warns of; what matters is printed by us.
    os.environ.setdefault("WANDB_SILENT", "true")
    wanted = os.environ.get("WANDB_MODE")
    if wanted == "":
        del os.environ["WANDB_MODE"]  # set to nothing; W&B itself would fail on it
    elif wanted not in (None, "online", "offline", "shared", "disabled", "dryrun", "run"):
        raise UserError(f"WANDB_MODE is {wanted!r} in the environment; set it to online, offline or disabled")
    if mode == "auto":
        if wanted in ("disabled", "offline", "dryrun"):
            return "off" if wanted == "disabled" else "offline"
        try:
            return "online" if logged_in() else "offline"
        except UserError as error:
            console.print(f"{error}; this run is written offline", markup=False)
            return "offline"
    if mode == "online":
        advice = "run 'wandb login', or choose --wandb.mode offline or off"
        try:
            known = logged_in()
        except UserError as error:
            raise UserError(f"{error}; {advice}") from error
        if not known:
            raise UserError(f"Weights & Biases: not logged in; {advice}")
    return mode


def _reason(error: Exception) -> str:
    """What went wrong, in one line."""
    text = " ".join(str(getattr(error, "strerror", None) or error).split())
    return text[:300].rstrip(".") or type(error).__name__


def _not_started(error: Exception, mode: str, folder: Path) -> UserError:
    """What to raise where W&B starts no run; with what helps against it."""
    if isinstance(error, OSError) and not isinstance(error, ConnectionError | TimeoutError):
        return UserError(
            f"{folder}: Weights & Biases can't write its files ({_reason(error)}); --wandb.mode off writes none"
        )
    advice = "" if mode == "offline" else "look at --wandb.entity and --wandb.project and at the network, or "
    rest = "off" if mode == "offline" else "offline or off"
    return UserError(f"Weights & Biases: can't start a run ({_reason(error)}); {advice}choose --wandb.mode {rest}")


class Tracker:
    """One W&B run for one run of a recipe; does nothing when off.

    Args:
        settings: W&B settings.
        folder: the run's folder; W&B's files go below it.
        name: the run's name.
        key: the run's identity: the same run is one run in W&B, also after a kill or where its tests are scored later.
        recipe: becomes the job type.
        group: runs that belong together, unless the settings name a group.
        config: the resolved configuration.
    """

    def __init__(
        self, settings: WandbConfig, folder: Path, name: str, key: str, recipe: str, group: str, config: dict[str, Any]
    ) -> None:
        self.mode = effective_mode(settings.mode)
        self._logger: Any = None
        if self.mode == "off":
            return
        import wandb
        from pytorch_lightning.loggers import WandbLogger

        be_first()
        options: dict[str, Any] = {
            "entity": settings.entity,
            "id": key,
            "group": settings.group or group,
            "job_type": recipe,
            "tags": tags_of(settings.tags),
            "config": config,
            "settings": wandb.Settings(silent=True, init_timeout=60, x_disable_stats=True, console="off"),
        }

        def start(offline: bool) -> Any:
            # By mode, not the logger's own offline=True: that one sets an environment variable that W&B no longer
            # reads once it was asked for a login.
            mode = "offline" if offline else "online"
            logger = WandbLogger(name=name, project=settings.project, save_dir=folder, mode=mode, **options)
            _ = logger.experiment  # starts the run
            return logger

        try:
            wandb.setup(wandb.Settings(silent=True))
            self._logger = start(self.mode == "offline")
        except Exception as error:  # of W&B, of its settings in the environment, of the disk
            if self.mode == "offline" or settings.mode == "online":
                raise _not_started(error, self.mode, folder) from error
            console.print(f"Weights & Biases: {_reason(error)}; this run is written offline", markup=False)
            self.mode = "offline"
            try:
                self._logger = start(True)
            except Exception as error:
                raise _not_started(error, self.mode, folder) from error
        # Every curve over the optimiser steps of its own stage, not over the number of log calls.
        self._logger.experiment.define_metric("*", step_metric="trainer/global_step")
        if self.mode == "offline":
            written = shlex.quote(self._logger.experiment.dir.removesuffix("/files"))
            detail(f"Weights & Biases: offline; to upload it: wandb sync {written}")

    def curves(self, stage: str | None, point: dict[str, float]) -> None:
        """One row of a stage's history; the answering stage has no prefix, others their title."""
        prefix = f"{stage}/" if stage else ""
        values = {f"{prefix}{key}": value for key, value in point.items() if key not in ("step", "seconds")}
        self._tell(lambda logger: logger.log_metrics(values, step=int(point["step"])))

    def picture(self, name: str, image: NDArray[np.uint8], caption: str) -> None:
        """An RGB picture [H, W, 3]."""
        self._tell(lambda logger: logger.log_image(key=name, images=[image], caption=[caption]))

    def summary(self, values: dict[str, Any]) -> None:
        """Final figures under the contract's metric names."""
        self._tell(lambda logger: logger.experiment.summary.update(values))

    def finish(self, failed: bool = False) -> None:
        """Close the W&B run; a failed or interrupted one is marked so."""
        self._tell(lambda logger: logger.experiment.finish(exit_code=1 if failed else 0))
        self._logger = None

    def _tell(self, what: Callable[[Any], object]) -> None:
        """What goes wrong in W&B, whose files may find a full disk, ends the tracking and not the training."""
        if self._logger is None:
            return
        try:
            what(self._logger)
        except Exception as error:
            self._logger = None
            console.print(f"Weights & Biases: {_reason(error)}; going on without it", markup=False)
