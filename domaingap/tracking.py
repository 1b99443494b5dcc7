"""Weights & Biases: online when logged in, offline otherwise, off by choice."""

from __future__ import annotations

import contextlib
import os
import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from domaingap.config import WandbConfig, tags_of
from domaingap.errors import UserError
from domaingap.hashing import link, write_json
from domaingap.progress import console, detail
from domaingap.tracking_media import for_wandb
from domaingap.tracking_places import INTERRUPTED, Entry, at, close_lost, note, place_of, reason, set_up, supersede

AXIS = "progress/step"
"""What every curve stands over: optimiser steps of all stages of a run, each counted on from the one before."""


def logged_in() -> bool:
    """Whether W&B has a key, from the environment or its login file. Asks no network.

    Raises:
        UserError: what it has is none, or its login file can't be read.
    """
    import wandb

    try:
        return bool(wandb.login(prompt=False, verify=False))
    except Exception as error:  # of W&B, of netrc, of the disk
        raise UserError(f"Weights & Biases: {reason(error)}") from error


def effective_mode(mode: str) -> str:
    """``online``, ``offline`` or ``off`` for a configured mode; W&B's own WANDB_MODE wins over ``auto``.

    Raises:
        UserError: ``online`` without a usable login.
    """
    # What matters is printed by us.
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
        require_login("run 'wandb login', or choose --wandb.mode offline or off")
    return mode


def require_login(advice: str) -> None:
    """UserError, with advice, where W&B has no usable key; see :func:`logged_in`."""
    try:
        known = logged_in()
    except UserError as error:
        raise UserError(f"{error}; {advice}") from error
    if not known:
        raise UserError(f"Weights & Biases: not logged in; {advice}")


def _not_started(error: Exception, mode: str, folder: Path) -> UserError:
    """What to raise where W&B starts no run; with what helps against it."""
    if isinstance(error, OSError) and not isinstance(error, ConnectionError | TimeoutError):
        return UserError(f"{folder}: Weights & Biases can't write its files ({reason(error)}); --wandb.mode off writes none")
    advice = "" if mode == "offline" else "look at --wandb.entity and --wandb.project and at the network, or "
    rest = "off" if mode == "offline" else "offline or off"
    return UserError(f"Weights & Biases: can't start a run ({reason(error)}); {advice}choose --wandb.mode {rest}")


class Tracker:
    """One W&B run for one run of a recipe; does nothing when off.

    A run keeps its W&B run: after a kill, where its tests are scored later, or where it was one of a W&B sweep. W&B's agent
    has made a run beforehand, which is then this one's.

    A context: an error ends the W&B run as failed, and what ends the process from outside as killed. Values are numbers,
    text, or what :mod:`domaingap.tracking_media` describes.

    Args:
        settings: W&B settings.
        folder: the run's folder; W&B's files go below it.
        name: the run's name.
        key: the run's identity; see :func:`domaingap.tracking_places.place_of`.
        recipe: becomes the job type.
        group: runs that belong together, unless the settings name a group or it had one before.
        config: the resolved configuration.
        tags: beside those of the settings.
    """

    def __init__(
        self,
        settings: WandbConfig,
        folder: Path,
        name: str,
        key: str,
        recipe: str,
        group: str,
        config: dict[str, Any],
        tags: Sequence[str] = (),
    ) -> None:
        self.mode = effective_mode(settings.mode)
        self._run: Any = None
        self._folder, self._requeued = folder, False
        self._points = self._before = self._since = 0
        if self.mode == "off":
            return
        import wandb

        from domaingap.launch import be_first

        be_first()
        self.place = place = place_of(settings, folder, key, group, self.mode)
        self._requeued = bool(place.sweep) and settings.preemptible
        close_lost(folder, unless=place.id)
        options: dict[str, Any] = {
            "id": place.id,
            "project": place.project,
            "entity": place.entity,
            "name": name,
            "group": place.group or group,
            "job_type": recipe,
            "tags": list(dict.fromkeys([*tags_of(settings.tags), *tags])),
            "config": config,
            "dir": folder,
            "reinit": "create_new",  # whatever run the caller's own code has
            "settings": wandb.Settings(silent=True, init_timeout=60, x_disable_stats=True, console="off"),
        }

        def start(offline: bool) -> Any:
            how: dict[str, Any] = {"mode": "offline"} if offline else {"mode": "online", "resume": "allow"}
            return wandb.init(**options, **how)

        with at(place):
            try:
                set_up()
                self._run = start(self.mode == "offline")
            except Exception as error:  # of W&B, of its settings in the environment, of the disk
                if self.mode == "offline" or settings.mode == "online":
                    raise _not_started(error, self.mode, folder) from error
                console.print(f"Weights & Biases: {reason(error)}; this run is written offline", markup=False)
                self.mode = "offline"
                try:
                    self._run = start(True)
                except Exception as error:
                    raise _not_started(error, self.mode, folder) from error
        supersede(folder, place)
        self._note(self._run, "running")
        self._before, self._since = _told_before(self._run)
        # Every curve over the steps of all stages, not over the number of log calls.
        self._tell(lambda run: run.define_metric("*", step_metric=AXIS))
        if self.mode == "offline":
            detail(f"Weights & Biases: offline; to upload it: wandb sync {shlex.quote(str(self._files()))}")

    @property
    def on(self) -> bool:
        """Whether anybody hears what it is told."""
        return self._run is not None

    def _files(self) -> Path:
        """The folder of W&B's own files of this run."""
        return Path(self._run.dir).parent

    def _note(self, run: Any, state: str) -> None:
        """Write down what has become of the W&B run; see :func:`close_lost`."""
        place = self.place
        own = replace(place, id=run.id, project=run.project or place.project, entity=run.entity or place.entity)
        note(self._folder, Entry(own, self.mode, Path(run.dir).parent.name, state))

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        interrupted = kind is not None and not issubclass(kind, Exception)
        if interrupted and self._requeued:
            self._tell(lambda run: run.mark_preempting())
        self.finish(INTERRUPTED if interrupted else int(kind is not None))

    def least(self, *names: str) -> None:
        """Have the summary keep the least of each of these values as ``<name>.min``."""

        def define(run: Any) -> None:
            for name in names:
                run.define_metric(name, step_metric=AXIS, summary="min")

        self._tell(define)

    def lacks(self, step: int) -> bool:
        """Whether the next point, at this step, is still to be told: of a W&B run that goes on the first ones are in its
        history."""
        return self._run is not None and self._points >= self._before and step >= self._since

    def point(self, step: int, values: Mapping[str, Any]) -> None:
        """One row of the history, at a step of the axis. Points come in the order of steps, after a kill from the first one
        on; those that the W&B run has are not told again."""

        def log(run: Any) -> None:
            # W&B's own step is this one, but where it has gone on already.
            own = max(step, run.step, run.starting_step)
            run.log({AXIS: step, **_made(values)}, step=own, commit=True)

        if self.lacks(step):
            self._tell(log)
        self._points += 1

    def end(self, step: int, values: Mapping[str, Any]) -> None:
        """The last row of the history; where there is one from before, it counts no longer."""
        self._tell(lambda run: run.log({AXIS: step, **_made(values)}, commit=True))

    def summary(self, values: Mapping[str, Any]) -> None:
        """Final figures under the contract's metric names."""
        self._tell(lambda run: run.summary.update(dict(values)))

    def uses(self, name: str, kind: str, content: Mapping[str, Any]) -> None:
        """A small artifact of JSON that goes into the run; of equal content it is the same version in all runs."""

        def log(run: Any) -> None:
            path = self._kept(name) / f"{kind}.json"
            write_json(path, content)
            # run.use_artifact() waits for the server, and offline it raises.
            run._log_artifact(_artifact(name, kind, {path.name: path}), is_user_created=True, use_after_commit=True)

        self._tell(log)

    def gives(self, name: str, kind: str, files: Mapping[str, Path]) -> None:
        """An artifact of files that come out of the run, by their names in it; they are linked and may change later."""

        def log(run: Any) -> None:
            kept = self._kept(name)
            links = {inside: kept / inside.replace("/", "-") for inside in files}
            for inside, path in files.items():
                link(path, links[inside])
            run.log_artifact(_artifact(name, kind, links))

        self._tell(log)

    def _kept(self, name: str) -> Path:
        """A folder beside W&B's files for what an artifact is made of: W&B reads it when it is sent."""
        folder = self._files() / "artifacts" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def finish(self, code: int = 0) -> None:
        """Close the W&B run with an exit code; 0 is success."""

        def end(run: Any) -> None:
            self._note(run, _state(code))
            run.finish(exit_code=code)

        self._tell(end)
        self._run = None

    def _tell(self, what: Callable[[Any], object]) -> None:
        if self._run is not None:
            with self.guarded():
                what(self._run)

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """What goes wrong in W&B, whose files may find a full disk, or in what is made for it, ends the tracking and not the
        training."""
        try:
            with _staged(self._files()) if self._run is not None else contextlib.nullcontext():
                yield
        except Exception as error:
            run, self._run = self._run, None
            console.print(f"Weights & Biases: {reason(error)}; going on without it", markup=False)
            if run is not None and not isinstance(error, OSError):
                # W&B itself may still be there, to be told that this was not all.
                with contextlib.suppress(Exception):
                    self._note(run, _state(1))
                    run.finish(exit_code=1)


def _told_before(run: Any) -> tuple[int, int]:
    """Of a W&B run that goes on: how many rows its history has, or else the step up to which it seems to have them.

    The rows are counted by the service. The step that W&B itself goes on from is the later one of history and summary: the
    two are sent apart, and a kill in between leaves a point in the summary alone.
    """
    if not run.resumed:
        return 0, 0
    import wandb

    try:
        # It makes a folder for what might be downloaded.
        with tempfile.TemporaryDirectory() as folder, _environment("WANDB_DIR", folder):
            return int(wandb.Api(timeout=20).run(f"{run.entity}/{run.project}/{run.id}").historyLineCount), 0
    except Exception as error:
        console.print(f"Weights & Biases: can't say how many points it has ({reason(error)})", markup=False)
        return 0, run.starting_step


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name, None)
        os.environ.update({name: before} if before is not None else {})


def _staged(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Have W&B keep what it makes artifacts of beside its other files of the run, and not in the user's home."""
    return contextlib.nullcontext() if "WANDB_DATA_DIR" in os.environ else _environment("WANDB_DATA_DIR", str(folder))


def _made(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: for_wandb(value) for name, value in values.items()}


def _artifact(name: str, kind: str, files: Mapping[str, Path]) -> Any:
    import wandb

    artifact = wandb.Artifact(name, kind)
    for inside, path in files.items():
        artifact.add_file(str(path), inside, skip_cache=True, policy="immutable")
    return artifact


def _state(code: int) -> str:
    return {0: "finished", INTERRUPTED: "killed"}.get(code, "failed")
