"""Weights & Biases through Lightning's logger: online when logged in, offline otherwise, off by choice."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from domaingap.config import WandbConfig, tags_of
from domaingap.errors import UserError
from domaingap.hashing import write_json
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


LEDGER = "wandb.json"
"""In a run's folder: which W&B run is its own, and what became of it."""
INTERRUPTED = 255
"""Exit code of a W&B run that was ended from outside, which W&B shows as killed; what failed by itself has 1."""
SWEEP = ("WANDB_SWEEP_ID", "WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH", "WANDB_PROJECT", "WANDB_ENTITY")
"""What W&B's agent tells a trial through the environment."""
_apart = ContextVar("apart", default=False)
_read: dict[str, str | None] = {}
"""W&B's environment as W&B has read it in this process."""


@dataclass(frozen=True)
class Place:
    """A W&B run.

    Attributes:
        id: its id.
        project: its project; None for the default of the login, likewise the entity.
        entity: its user or team.
        sweep: the W&B sweep that it is of; empty where it is of none.
        parameters: the file in which W&B's agent has left the sweep's values.
    """

    id: str
    project: str | None
    entity: str | None
    sweep: str = ""
    parameters: str = ""


def agents() -> Place | None:
    """The W&B run that W&B's agent has made for this process; None without an agent."""
    sweep, run = os.environ.get("WANDB_SWEEP_ID"), os.environ.get("WANDB_RUN_ID")
    if _apart.get() or not sweep or not run:
        return None
    given = {name: os.environ.get(name) or None for name in SWEEP}
    return Place(run, given["WANDB_PROJECT"], given["WANDB_ENTITY"], sweep, given["WANDB_SWEEP_PARAM_PATH"] or "")


@contextlib.contextmanager
def apart_from_agent() -> Iterator[None]:
    """For another run than the one that W&B's agent has asked for, such as a rival whose test sets are scored."""
    token = _apart.set(True)
    try:
        yield
    finally:
        _apart.reset(token)


@contextlib.contextmanager
def _at(place: Place) -> Iterator[None]:
    """W&B's environment as it is for a run of a sweep, whose id it takes from there alone; W&B reads it once a process."""
    import wandb

    wanted = dict(zip(SWEEP, (place.sweep, place.id, place.parameters, place.project, place.entity), strict=True))
    before = {name: os.environ.pop(name, None) for name in SWEEP}
    if not _read:
        _read.update(before)
    os.environ.update(
        {name: value for name, value in wanted.items() if value}
        if place.sweep
        else {name: value for name in SWEEP[3:] if (value := before[name])}
    )
    try:
        now = {name: os.environ.get(name) for name in SWEEP}
        if now != _read:
            wandb.teardown()
            _read.update(now)
        yield
    finally:
        for name in SWEEP:
            os.environ.pop(name, None)
        os.environ.update({name: value for name, value in before.items() if value is not None})


class Tracker:
    """One W&B run for one run of a recipe; does nothing when off.

    A run keeps its W&B run: after a kill, where its tests are scored later, or where it was one of a W&B sweep. W&B's agent
    has made a run beforehand, which is then this one's.

    A context: an error ends the W&B run as failed, and what ends the process from outside as killed.

    Args:
        settings: W&B settings.
        folder: the run's folder; W&B's files go below it.
        name: the run's name.
        key: the run's identity, and the id of its W&B run where no agent gave another one.
        recipe: becomes the job type.
        group: runs that belong together, unless the settings name a group.
        config: the resolved configuration.
    """

    def __init__(
        self, settings: WandbConfig, folder: Path, name: str, key: str, recipe: str, group: str, config: dict[str, Any]
    ) -> None:
        self.mode = effective_mode(settings.mode)
        self._logger: Any = None
        self._folder, self._requeued = folder, False
        if self.mode == "off":
            return
        import wandb
        from pytorch_lightning.loggers import WandbLogger

        be_first()
        self.place = place = self._place(settings, key)
        self._requeued = bool(place.sweep) and settings.preemptible
        close_lost(folder, unless=place.id)
        options: dict[str, Any] = {
            "entity": place.entity,
            "id": place.id,
            "group": settings.group or group,
            "job_type": recipe,
            "tags": tags_of(settings.tags),
            "config": config,
            "settings": wandb.Settings(silent=True, init_timeout=60, x_disable_stats=True, console="off"),
        }

        def start(offline: bool) -> Any:
            # By mode, not the logger's own offline=True: that one sets an environment variable that W&B no longer
            # reads once it was asked for a login.
            how: dict[str, Any] = {"mode": "offline"} if offline else {"mode": "online", "resume": "allow"}
            logger = WandbLogger(name=name, project=place.project, save_dir=folder, **options, **how)
            _ = logger.experiment  # starts the run
            return logger

        if self.mode == "offline":
            self._supersede()
        with _at(place):
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
        self._note("running")
        # Every curve over the optimiser steps of its own stage, not over the number of log calls.
        self._logger.experiment.define_metric("*", step_metric="trainer/global_step")
        if self.mode == "offline":
            detail(f"Weights & Biases: offline; to upload it: wandb sync {shlex.quote(self._files())}")

    def _place(self, settings: WandbConfig, key: str) -> Place:
        """The agent's run; or the one that it had before, where that was online; or one of its own."""
        if (asked := agents()) is not None:
            return asked
        known = _ledger(self._folder)
        online = known is not None and known["mode"] == self.mode == "online"
        if known is not None and online and (known["sweep"] or known["project"] == settings.project):
            return Place(known["id"], known["project"], known["entity"], known["sweep"])
        return Place(key, settings.project, settings.entity)

    def _supersede(self) -> None:
        """Put aside what a process that was ended wrote offline: all of it is written again under the same id, and 'wandb
        sync' would send both."""
        known = _ledger(self._folder)
        if known is not None and known["mode"] == "offline" and known["state"] != "finished":
            before = self._folder / "wandb" / Path(known["files"]).name
            with contextlib.suppress(OSError):
                before.rename(before.with_name(f"interrupted-{before.name}"))

    def _files(self) -> str:
        """The folder of W&B's own files of this run."""
        return str(self._logger.experiment.dir).removesuffix("/files")

    def _note(self, state: str) -> None:
        """Write down what has become of the W&B run; see :func:`close_lost`."""
        run, place = self._logger.experiment, self.place
        entry = {
            "id": run.id, "project": run.project or place.project, "entity": run.entity or place.entity,
            "sweep": place.sweep, "mode": self.mode, "files": Path(self._files()).name, "state": state,
        }  # fmt: skip
        with contextlib.suppress(OSError):  # a full disk is named by what has something to write
            write_json(self._folder / LEDGER, entry)

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        interrupted = kind is not None and not issubclass(kind, Exception)
        if interrupted and self._requeued:
            self._tell(lambda logger: logger.experiment.mark_preempting())
        self.finish(INTERRUPTED if interrupted else int(kind is not None))

    def curves(self, stage: str | None, point: dict[str, float]) -> None:
        """One row of a stage's history; the answering stage has no prefix, others their title. A row that a run was told
        before it was killed is not told again."""
        prefix = f"{stage}/" if stage else ""
        values = {f"{prefix}{key}": value for key, value in point.items() if key != "seconds"}

        def log(logger: Any) -> None:
            run = logger.experiment
            told = run.summary.get(f"{prefix}step") if run.resumed else None
            if not isinstance(told, int | float) or point["step"] > told:
                logger.log_metrics(values, step=int(point["step"]))

        self._tell(log)

    def picture(self, name: str, image: NDArray[np.uint8], caption: str) -> None:
        """An RGB picture [H, W, 3]."""
        self._tell(lambda logger: logger.log_image(key=name, images=[image], caption=[caption]))

    def summary(self, values: dict[str, Any]) -> None:
        """Final figures under the contract's metric names."""
        self._tell(lambda logger: logger.experiment.summary.update(values))

    def finish(self, code: int = 0) -> None:
        """Close the W&B run with an exit code; 0 is success."""

        def end(logger: Any) -> None:
            self._note(_state(code))
            logger.experiment.finish(exit_code=code)

        self._tell(end)
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


def _state(code: int) -> str:
    return {0: "finished", INTERRUPTED: "killed"}.get(code, "failed")


LEDGER_FORM: dict[str, Any] = {
    **dict.fromkeys(("id", "sweep", "mode", "files", "state"), str),
    **dict.fromkeys(("project", "entity"), (str, type(None))),
}


def _ledger(folder: Path) -> dict[str, Any] | None:
    """What a run's folder says of its W&B run; None where it says nothing that can be read."""
    try:
        content = json.loads((folder / LEDGER).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    whole = isinstance(content, dict) and all(isinstance(content.get(key), kind) for key, kind in LEDGER_FORM.items())
    return content if whole else None


def close_lost(folder: Path, unless: str = "") -> bool:
    """End the W&B run that a process which died has left running; nothing where it has ended.

    To be called where nobody is at the run any more, or by whoever holds its lock (:func:`close_all_lost` looks for that).
    Online the W&B run is taken up and ended as killed. What was written offline needs nothing: ``wandb sync`` marks a run
    without an end as failed.

    Args:
        folder: the run's folder.
        unless: the id of a W&B run that is to go on.

    Returns:
        Whether there was one, and W&B now has its end.
    """
    entry = _ledger(folder)
    if entry is None or entry["state"] != "running" or entry["id"] == unless:
        return False
    if entry["mode"] == "online":
        import wandb

        place = Place(entry["id"], entry["project"], entry["entity"], entry["sweep"])
        settings = wandb.Settings(silent=True, init_timeout=60, x_disable_stats=True, console="off")
        with _at(place):
            try:
                wandb.setup(wandb.Settings(silent=True))
                run = wandb.init(
                    id=place.id, project=place.project, entity=place.entity, resume="must", mode="online", dir=folder,
                    settings=settings, reinit="create_new",
                )  # fmt: skip
                run.finish(exit_code=INTERRUPTED)
            except Exception as error:  # of W&B, of the network
                console.print(
                    f"Weights & Biases: {place.id} was left running and can't be ended now ({_reason(error)}); W&B itself "
                    "calls it crashed some minutes after it has heard the last of it",
                    markup=False,
                )
                return False
    with contextlib.suppress(OSError):
        write_json(folder / LEDGER, {**entry, "state": "killed"})
    return True


def close_all_lost(runs_dir: Path) -> int:
    """End the W&B runs below a folder that processes which died have left running, and that nobody is at; how many."""
    closed = 0
    for path in sorted(runs_dir.glob(f"*/{LEDGER}")):
        entry = _ledger(path.parent)
        if entry is None or entry["state"] != "running":
            continue
        lock = FileLock(runs_dir / ".locks" / f"run-{path.parent.name}.lock", thread_local=False)
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):
            continue
        try:
            closed += close_lost(path.parent)
        finally:
            lock.release()
    return closed


@dataclass(frozen=True)
class Tracked:
    """What a run's folder says of its W&B run; ``mode`` is online or offline."""

    id: str
    project: str | None
    entity: str | None
    mode: str


def tracked_as(folder: Path) -> Tracked | None:
    """A run's W&B run; None where it has none, or its folder doesn't say."""
    entry = _ledger(folder)
    return None if entry is None else Tracked(entry["id"], entry["project"], entry["entity"], entry["mode"])
