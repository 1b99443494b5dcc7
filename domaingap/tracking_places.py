"""Which W&B runs a run's folder has: one for each project and group that it was asked for under, and those of agents.

The id of such a run follows from the run's key, project and group: asked for again under the same ones, also in another
folder or on another machine, it is the same W&B run, and under others it takes nobody else's place.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from domaingap.config import WandbConfig
from domaingap.hashing import content_key, write_json
from domaingap.progress import console

LEDGER = "wandb.json"
"""In a run's folder: which W&B runs are its own, and what became of them."""
INTERRUPTED = 255
"""Exit code of a W&B run that was ended from outside, which W&B shows as killed; what failed by itself has 1."""
SWEEP = ("WANDB_SWEEP_ID", "WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH", "WANDB_PROJECT", "WANDB_ENTITY")
"""What W&B's agent tells a trial through the environment."""
SERVICE = "WANDB_SERVICE"
"""Where W&B tells processes below this one of its process that sends."""
_apart = ContextVar("apart", default=False)
_read: dict[str, str | None] = {}
"""W&B's environment as W&B has read it in this process."""


def reason(error: Exception) -> str:
    """What went wrong, in one line."""
    text = " ".join(str(getattr(error, "strerror", None) or error).split())
    return text[:300].rstrip(".") or type(error).__name__


@dataclass(frozen=True)
class Place:
    """A W&B run.

    Attributes:
        id: its id.
        project: its project; None for the default of the login, likewise the entity.
        entity: its user or team.
        group: its group; empty where that isn't known.
        sweep: the W&B sweep that it is of; empty where it is of none.
        parameters: the file in which W&B's agent has left the sweep's values.
    """

    id: str
    project: str | None
    entity: str | None
    group: str = ""
    sweep: str = ""
    parameters: str = ""


@dataclass(frozen=True)
class Entry:
    """What a folder's ledger says of a W&B run.

    Attributes:
        place: it.
        mode: online or offline.
        files: the folder of W&B's files of it, below ``wandb``.
        state: running, finished, failed or killed.
    """

    place: Place
    mode: str
    files: str
    state: str

    def asked(self, settings: WandbConfig) -> bool:
        """Whether it is what is asked for. What isn't said may be anything: a group, and the project of a sweep's run, which
        only the sweep's file names."""
        own = self.place
        unsaid = bool(own.sweep) and settings.project == WandbConfig().project
        there = own.project == settings.project and settings.entity in (None, own.entity)
        return (there or unsaid) and settings.group in (None, own.group)


# What W&B's agents ask for


def agents() -> Place | None:
    """The W&B run that W&B's agent has made for this process; None without an agent."""
    sweep, run = os.environ.get("WANDB_SWEEP_ID"), os.environ.get("WANDB_RUN_ID")
    if _apart.get() or not sweep or not run:
        return None
    given = {name: os.environ.get(name) or None for name in SWEEP}
    parameters = given["WANDB_SWEEP_PARAM_PATH"] or ""
    return Place(run, given["WANDB_PROJECT"], given["WANDB_ENTITY"], sweep=sweep, parameters=parameters)


@contextlib.contextmanager
def apart_from_agent() -> Iterator[None]:
    """For another run than the one that W&B's agent has asked for, such as a rival whose test sets are scored."""
    token = _apart.set(True)
    try:
        yield
    finally:
        _apart.reset(token)


@contextlib.contextmanager
def at(place: Place) -> Iterator[None]:
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


def set_up(**settings: Any) -> None:
    """Have W&B, silent and with these of its settings, connect to its process that sends: the one that the environment
    names, or an own one where that is no more, as below a shell, notebook or job whose W&B has ended."""
    import wandb
    from wandb.sdk.lib.service.service_token import WandbServiceConnectionError

    wanted = wandb.Settings(silent=True, **settings)
    try:
        wandb.setup(wanted)
    except WandbServiceConnectionError:
        if os.environ.pop(SERVICE, None) is None:
            raise
        wandb.setup(wanted)


# Which one it is


def place_of(settings: WandbConfig, folder: Path, key: str, study: str, mode: str) -> Place:
    """The W&B run of a run: the agent's, or the one that it had before, or one of its own.

    Args:
        settings: what is asked for.
        folder: the run's folder.
        key: its identity.
        study: its group where the settings name none and it has had none.
        mode: online or offline; what was one of a W&B sweep is gone on with online alone.
    """
    group = settings.group or study
    if (asked := agents()) is not None:
        return replace(asked, group=group)
    for entry in reversed(entries(folder)):
        if entry.asked(settings) and (mode == entry.mode == "online" or not entry.place.sweep):
            return entry.place
    return Place(f"{key}-{content_key([settings.project, group], 6)}", settings.project, settings.entity, group)


def told(settings: WandbConfig, folder: Path) -> bool:
    """Whether a finished run is in W&B, or on its way there, as it is asked for now. What an agent asks for never is: it has
    made a W&B run for it that waits."""
    return agents() is None and any(e.state == "finished" and e.asked(settings) for e in entries(folder))


def close_lost(folder: Path, unless: str = "") -> int:
    """End the W&B runs that a process which died has left running; nothing where all have ended.

    To be called where nobody is at the run any more, or by whoever holds its lock (:func:`close_all_lost` looks for that).
    Online a W&B run is taken up and ended as killed. What was written offline needs nothing: ``wandb sync`` marks a run
    without an end as failed.

    Args:
        folder: the run's folder.
        unless: the id of a W&B run that is to go on.

    Returns:
        How many there were of which W&B now has the end.
    """
    closed = 0
    for entry in entries(folder):
        if entry.state == "running" and entry.place.id != unless and (entry.mode == "offline" or _ended(entry, folder)):
            note(folder, replace(entry, state="killed"))
            closed += 1
    return closed


def _ended(entry: Entry, folder: Path) -> bool:
    """End a W&B run online; says so where it can't be."""
    import wandb

    place = entry.place
    settings = wandb.Settings(silent=True, init_timeout=60, x_disable_stats=True, console="off")
    with at(place):
        try:
            set_up()
            run = wandb.init(
                id=place.id, project=place.project, entity=place.entity, resume="must", mode="online", dir=folder,
                settings=settings, reinit="create_new",
            )  # fmt: skip
            run.finish(exit_code=INTERRUPTED)
        except Exception as error:  # of W&B, of the network
            console.print(
                f"Weights & Biases: {place.id} was left running and can't be ended now ({reason(error)}); W&B itself "
                "calls it crashed some minutes after it has heard the last of it",
                markup=False,
            )
            return False
    return True


def close_all_lost(runs_dir: Path) -> int:
    """End the W&B runs below a folder that processes which died have left running, and that nobody is at; how many."""
    closed = 0
    for path in sorted(runs_dir.glob(f"*/{LEDGER}")):
        if all(entry.state != "running" for entry in entries(path.parent)):
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


# The ledger

FORM: dict[str, Any] = {
    **dict.fromkeys(("id", "group", "sweep", "mode", "files", "state"), str),
    **dict.fromkeys(("project", "entity"), (str, type(None))),
}


def entries(folder: Path) -> list[Entry]:
    """What a run's folder says of its W&B runs, the last one told last; what can't be read is left out."""
    try:
        content = json.loads((folder / LEDGER).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return []
    # Before a run could have several there was one, without its group.
    rows = content if isinstance(content, list) else [{"group": "", **content}] if isinstance(content, dict) else []
    return [_entry(row) for row in rows if _whole(row)]


def _whole(row: Any) -> bool:
    return isinstance(row, dict) and all(isinstance(row.get(key), kind) for key, kind in FORM.items())


def _entry(row: dict[str, Any]) -> Entry:
    place = Place(row["id"], row["project"], row["entity"], row["group"], row["sweep"])
    return Entry(place, row["mode"], row["files"], row["state"])


def note(folder: Path, entry: Entry) -> None:
    """Write down what has become of a W&B run."""
    rows = [*(other for other in entries(folder) if not _same(other.place, entry.place)), entry]
    content = [{**asdict(row.place), "mode": row.mode, "files": row.files, "state": row.state} for row in rows]
    for row in content:
        del row["parameters"]
    with contextlib.suppress(OSError):  # a full disk is named by what has something to write
        write_json(folder / LEDGER, content)


def _same(one: Place, other: Place) -> bool:
    return (one.id, one.project) == (other.id, other.project)


def supersede(folder: Path, place: Place) -> None:
    """Put aside what was written offline of a W&B run before: all of it is written again under the same id, and 'wandb
    sync' would send both."""
    for entry in entries(folder):
        if _same(entry.place, place) and entry.mode == "offline":
            before = folder / "wandb" / Path(entry.files).name
            why = "superseded" if entry.state == "finished" else "interrupted"
            with contextlib.suppress(OSError):
                before.rename(before.with_name(f"{why}-{before.name}"))
