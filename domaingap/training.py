"""One stage of training: the Trainer owns the loop, :func:`fit_stage` owns the Trainer."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import math
import os
import pickle
import signal
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import timm
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, WeightAveraging
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import Tensor
from torch.utils.data import DataLoader

from domaingap import crew
from domaingap.config import FitConfig
from domaingap.data.faces import FaceDataset, MixedDataset
from domaingap.data.sampler import UpTo
from domaingap.errors import UserError
from domaingap.hashing import write_archive, write_json
from domaingap.launch import Place, lost_connection, several_processes, single_process
from domaingap.models.batch_norm import over_processes
from domaingap.models.regressor import LandmarkRegressor, read_checkpoint, save_network
from domaingap.parallel import available_cores, workers
from domaingap.predictions import Predictions
from domaingap.progress import bar, console, context, detail
from domaingap.provenance import Seen
from domaingap.watched import Kept, Looks, Watch, check_kept, looks, save_watched

Point = dict[str, float]
"""One row of a stage's history: step, seconds, train/loss and each validation set's nme and loss."""
OnPoint = Callable[[Point], None]
OnLook = Callable[[Looks], None]
"""Is told what a network answers on the watched faces, before the row of the same validation is told."""
WATCHED = "watched-{}.npz"
"""In a stage's folder: the answers on the watched faces of a validation set, see :mod:`domaingap.watched`."""


@dataclass(frozen=True)
class FitResult:
    """What a finished stage leaves behind.

    Attributes:
        history: a row per validation.
        best: for each validation set, the row whose checkpoint was kept.
        seconds: time spent training and validating, over all calls that it took.
    """

    history: list[Point]
    best: dict[str, Point]
    seconds: float


def resolve(fit: FitConfig, n_train: int, backbone: str) -> FitConfig:
    """The configuration with every ``auto`` and default replaced by its value for ``n_train`` faces and a backbone."""
    per_epoch = math.ceil(n_train / fit.batch_size)
    steps = fit.steps if fit.epochs is None else fit.epochs * per_epoch
    every = fit.val_every if fit.val_every is not None else _a_sixteenth(steps) if fit.epochs is None else per_epoch
    precision = fit.precision if fit.precision != "auto" else ("bf16" if gains_from_bf16(backbone) else "32")
    workers = default_workers(fit.devices) if fit.num_workers == "auto" else fit.num_workers
    return replace(fit, steps=steps, epochs=None, val_every=min(every, steps), precision=precision, num_workers=workers)


def _a_sixteenth(steps: int) -> int:
    """About a sixteenth of a stage: in equal parts where a number near 16 divides it."""
    parts = [n for n in sorted(range(12, 21), key=lambda n: (abs(n - 16), n)) if steps % n == 0]
    return steps // parts[0] if parts else math.ceil(steps / 16)


@functools.cache
def gains_from_bf16(backbone: str) -> bool:
    """Whether this machine trains this timm model faster in bf16: it multiplies in bf16 natively (emulation is slower
    than 32 bits), and on a processor the network has no grouped convolutions, which are twice as slow there."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    with contextlib.suppress(OSError):
        flags = Path("/proc/cpuinfo").read_text()
        if "avx512_bf16" in flags or "amx_bf16" in flags:
            with torch.device("meta"):
                network = timm.create_model(backbone)
            return not any(isinstance(m, torch.nn.Conv2d) and m.groups > 1 for m in network.modules())
    return False


def default_workers(processes: int = 1) -> int:
    """Loader processes of each of a machine's processes: none where training itself fills the few cores there are, several
    beside a GPU."""
    return max(0, min(8, available_cores() // processes - 1)) if torch.cuda.is_available() else 0


def train_loader(
    dataset: FaceDataset | MixedDataset,
    batch_size: int,
    seed: int,
    steps_per_epoch: int | None,
    num_workers: int,
    steps: tuple[int, int] | None = None,
    share: tuple[int, int] = (0, 1),
) -> DataLoader[Any]:
    """Seeded training batches: endless, or those of steps from one on up to another; see :mod:`domaingap.data.sampler`.

    ``share`` is (i, n): of each step's batch only the equal part of process i of n, with the same looks of the same faces.
    """
    assert steps is not None or share == (0, 1)
    sampler = dataset.sampler(batch_size, seed, steps_per_epoch)
    drawn = sampler if steps is None else UpTo(sampler, *steps, *share)
    return _loader(dataset, batch_size // share[1], num_workers, sampler=drawn)


def eval_loader(
    dataset: FaceDataset, batch_size: int = 64, num_workers: int = 0, share: tuple[int, int] = (0, 1)
) -> DataLoader[Any]:
    """All faces once, in order; or, of process i of n, every n-th from i on.

    No face is repeated to make shares equal: sums and counts over all processes are those of one. Where there are fewer
    faces than processes, each has them all, which leaves every mean what it is.
    """
    part = range(share[0], len(dataset), share[1]) if len(dataset) >= share[1] else range(len(dataset))
    return _loader(dataset, batch_size, num_workers, sampler=part)


def _as_is(batch: Any) -> Any:
    return batch  # the dataset returns whole batches


def _loader(dataset: FaceDataset | MixedDataset, batch_size: int, num_workers: int, **options: Any) -> DataLoader[Any]:
    return DataLoader(
        dataset,
        batch_size=batch_size,
        num_workers=num_workers,
        collate_fn=_as_is,
        persistent_workers=num_workers > 0,
        multiprocessing_context=workers() if num_workers > 0 else None,
        pin_memory=torch.cuda.is_available(),
        **options,
    )


class _WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints written as all other files are: beside their place, and an error names it. (Lightning's come from the
    folder for temporary files, which may be missing, full or on another disk.)"""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        write_archive(Path(path), lambda file: torch.save(checkpoint, file))


class _Keeper(Callback):
    """Keeps the history and, for each validation set, the weights that did best on it.

    Stands before the weight averaging in the list of callbacks: at the end of a validation its averaged weights are
    then still in place. (A ModelCheckpoint of weights alone would save the weights that are not averaged.)
    """

    def __init__(
        self,
        folder: Path,
        monitor: str,
        on_point: OnPoint | None,
        seen: Mapping[str, Seen],
        watch: Watch | None = None,
        on_look: OnLook | None = None,
    ) -> None:
        self.folder, self.monitor, self.on_point, self.seen = folder, monitor, on_point, seen
        self.watch, self.on_look = watch, on_look
        self.history: list[Point] = []
        self.watched: Kept = {}
        self.best: dict[str, Point] = {}
        self.seconds = 0.0
        self.trains = False
        self.writes = True
        self._since = 0.0
        self._validated: dict[str, Tensor] | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history, "best": self.best, "seconds": self.seconds, "watched": self.watched}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history, self.best, self.seconds = state_dict["history"], state_dict["best"], state_dict["seconds"]
        self.watched = check_kept(state_dict.get("watched", {}))  # none in checkpoints of before

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # From the beginning, also in a run that goes on: a tracker may have missed the last of it, or begin a new run.
        for point in self.history:
            self._tell(point)

    def _tell(self, point: Point) -> None:
        tell_point(point, self.watched, self.on_point, self.on_look)

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        self.trains = True

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._since = time.monotonic()
        assert isinstance(pl_module, LandmarkRegressor)
        # Lightning doesn't restore random state; seeding each epoch makes a continued run equal an uninterrupted one.
        # Of several processes each drops out other units.
        torch.manual_seed(trainer.current_epoch * 1_000_003 + pl_module.fit_seed + trainer.global_rank * 999_999_937)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, LandmarkRegressor)
        self._validated = {key: value.detach().clone() for key, value in pl_module.state_dict().items()}
        if self.watch is not None:
            self.watched[trainer.global_step] = self.watch.look(pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, LandmarkRegressor)
        point = {key: float(value) for key, value in trainer.callback_metrics.items()}
        if not all(math.isfinite(value) for value in point.values()):
            raise UserError(
                f"training diverged at step {trainer.global_step} (loss {point.get('train/loss')}); lower --fit.lr"
            )
        for name in pl_module.validation_names:
            if name not in self.best or point[f"{name}/{self.monitor}"] < self.best[name][f"{name}/{self.monitor}"]:
                self.best[name] = {**point, "step": trainer.global_step}
                if self.writes:
                    save_network(pl_module, self.folder / f"best-{name}.ckpt", self._validated, self.seen[name])
        now = time.monotonic()
        self.seconds, self._since = self.seconds + now - self._since, now
        point = {"step": trainer.global_step, "seconds": round(self.seconds, 2), **point}
        self.history.append(point)
        self._tell(point)


def tell_point(point: Point, watched: Kept, on_point: OnPoint | None, on_look: OnLook | None) -> None:
    """Tell of a row of the history, and before it of what the network answered then on the watched faces."""
    if on_look is not None and (kept := watched.get(int(point["step"]))):
        on_look(looks(kept))
    if on_point is not None:
        on_point(point)


class _Progress:
    """A bar over the stage's steps, and a line at each validation."""

    def __init__(self, title: str, steps: int) -> None:
        self.title, self.steps = title, steps
        self._bar = bar(training=True)
        self._task = self._bar.add_task(context() + title, total=steps, note="")

    def begin(self) -> None:
        self._bar.start()

    def reach(self, step: int) -> None:
        self._bar.update(self._task, completed=step)

    def validated(self, point: Point, kept: Mapping[str, Point]) -> None:
        texts = []
        for name, best in kept.items():
            mark = "best so far" if best["step"] == point["step"] else f"best {best[f'{name}/nme']:.2f}"
            texts.append(f"{name} NME {point[f'{name}/nme']:.2f}% ({mark})")
        left = point["seconds"] / point["step"] * (self.steps - point["step"])
        texts.append(f"{_clock(left)} left")
        detail(f"  {self.title}: step {int(point['step'])}/{self.steps}  loss {point['train/loss']:.4f}  {'  '.join(texts)}")

    def stop(self) -> None:
        self._bar.stop()


class _Told:
    """What there is to say of a stage in the process that writes, said in the one that started it."""

    def __init__(self, tell: crew.Tell) -> None:
        self._tell, self._last = tell, 0.0

    def begin(self) -> None:
        self._tell("begin")

    def reach(self, step: int) -> None:
        if (now := time.monotonic()) - self._last > TOLD_EVERY_S:
            self._last = now
            self._tell("reach", step)

    def validated(self, point: Point, kept: Mapping[str, Point]) -> None:
        self._tell("validated", point, dict(kept))

    def stop(self) -> None:
        pass


TOLD_EVERY_S = 0.1


class _Watch(Callback):
    """Says how far a stage is."""

    def __init__(self, progress: _Progress | _Told, keeper: _Keeper) -> None:
        self.progress, self.keeper = progress, keeper

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.progress.begin()

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        self.progress.reach(trainer.global_step)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.progress.validated(self.keeper.history[-1], self.keeper.best)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d}"


def _averaging(decay: float) -> WeightAveraging:
    def average(averaged: Tensor, current: Tensor, n_averaged: Tensor | int) -> Tensor:
        # Young averages forget faster, or they would hold on to the untrained network.
        n = int(n_averaged)
        return averaged + (current - averaged) * (1 - min(decay, (1 + n) / (10 + n)))

    return WeightAveraging(avg_fn=average)


def fit_stage(
    title: str,
    model: LandmarkRegressor,
    train: FaceDataset | MixedDataset,
    validation: Mapping[str, FaceDataset],
    fit: FitConfig,
    seed: int,
    folder: Path,
    on_point: OnPoint | None = None,
    seen: Mapping[str, Seen] | None = None,
    on_look: OnLook | None = None,
) -> FitResult:
    """Train a model, or go on where a killed call stopped; in this process, or in ``fit.processes`` others that share it.

    Several processes draw what one would draw, with the same looks, and their steps are its steps. What they end with
    differs in last digits, and more where the network drops out units. ``model`` itself isn't trained then.

    Leaves in ``folder`` a Lightning checkpoint of network weights for each validation set (``best-<name>.ckpt``) and
    of the last weights (``last.ckpt``), averaged where ``fit.ema`` is on; ``resume.ckpt`` exists while it runs, and
    ``done.json`` once it has ended. The answers on each set's watched faces are in ``watched-<name>.npz``.

    Args:
        title: what progress calls it.
        model: the network, with its initial weights; its ``validation_names`` are those of ``validation``.
        train: faces to train on, with their augmenter.
        validation: faces to validate on, by name; none leaves only the last weights.
        fit: resolved configuration, see :func:`resolve`.
        seed: seed of the order of faces.
        folder: where checkpoints go.
        on_point: called with each row of the history, those of a killed call included.
        seen: what stands behind the checkpoint of each validation set and behind ``last``.
        on_look: called before it with what the network answered on the watched faces.
    """
    folder.mkdir(parents=True, exist_ok=True)
    assert fit.val_every is not None and fit.num_workers != "auto"
    _set_damaged_aside(folder, fit, validation)
    done = folder / "done.json"
    if done.is_file():
        return _read_done(done, validation)
    seen = seen if seen is not None else dict.fromkeys([*validation, "last"], train.seen().trained(fit.steps))
    resume, first = folder / "resume.ckpt", 0
    if resume.is_file():
        first = _first_step(resume, fit, validation)
        detail(f"  {title}: going on from its last checkpoint")
    progress = _Progress(title, fit.steps)
    try:
        if first == fit.steps:
            _end(folder, model, seen["last"], validation, on_point, on_look)
        elif fit.processes == 1:
            _train(model, train, validation, fit, seed, folder, first, seen, progress, on_point, on_look)
        else:
            detail(f"  {title}: {fit.processes} processes, {fit.batch_size // fit.processes} faces of each step in each")

            def hear(what: str, *told: Any) -> None:
                listener: Any = {"point": on_point, "look": on_look}.get(what, getattr(progress, what, None))
                if listener is not None:
                    listener(*told)

            weights = {key: value.numpy() for key, value in model.state_dict().items()}
            job = (dict(model.hparams), weights, train, dict(validation), fit, seed, first, seen)
            crew.train_together(pickle.dumps(job), fit, folder, hear)
    finally:
        progress.stop()
    resume.unlink(missing_ok=True)
    return _read_done(done, validation)


def take_part(job: bytes, folder: Path, place: Place, tell: crew.Tell) -> None:
    """Train a share of a network in a process that :func:`fit_stage` has started; ``folder`` is that of the stage."""
    settings, weights, train, validation, fit, seed, first, seen = pickle.loads(job)
    model = LandmarkRegressor(**{**settings, "pretrained": False})
    model.load_state_dict({key: torch.from_numpy(value) for key, value in weights.items()})

    def on_point(point: Point) -> None:
        tell("point", point)

    def on_look(answers: Looks) -> None:
        tell("look", answers)

    with over_processes(model):
        _train(model, train, validation, fit, seed, folder, first, seen, _Told(tell), on_point, on_look, place)


def _train(
    model: LandmarkRegressor,
    train: FaceDataset | MixedDataset,
    validation: Mapping[str, FaceDataset],
    fit: FitConfig,
    seed: int,
    folder: Path,
    first: int,
    seen: Mapping[str, Seen],
    progress: _Progress | _Told,
    on_point: OnPoint | None,
    on_look: OnLook | None,
    place: Place | None = None,
) -> None:
    """Train in this process from the ``first`` step on: alone, or a share of it at a ``place`` among several.

    Of several, the first alone writes and tells of it.
    """
    assert fit.val_every is not None and fit.num_workers != "auto"
    model.fit_seed, model.total_steps = seed, fit.steps
    writes = place is None or place.rank == 0
    share = (0, 1) if place is None else (place.rank, place.processes)
    told = (on_point, on_look) if writes else (None, None)
    keeper = _Keeper(folder, fit.monitor, told[0], seen, Watch(validation) if writes else None, told[1])
    keeper.writes = writes
    callbacks: list[Callback] = [keeper]
    if fit.ema > 0:
        callbacks.append(_averaging(fit.ema))
    if writes:
        callbacks.append(_Watch(progress, keeper))
    callbacks.append(
        ModelCheckpoint(
            folder, "resume", save_top_k=1, save_on_train_epoch_end=True, every_n_epochs=1, enable_version_counter=False
        )
    )
    resume = folder / "resume.ckpt"
    with quiet_lightning(), _alone() if place is None else several_processes(place, fit) as options:
        options["plugins"].append(_WholeCheckpoints())
        trainer = pl.Trainer(
            accelerator="gpu" if torch.cuda.is_available() else "cpu",
            precision="bf16-mixed" if fit.precision == "bf16" else "32-true",
            # An epoch is what lies between two validations; the last may be shorter.
            # Not max_steps: Lightning would then resume from the end of an epoch without training or validating the next.
            max_epochs=math.ceil(fit.steps / fit.val_every),
            callbacks=callbacks,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            default_root_dir=folder,
            **options,
        )
        on_ctrl_c = signal.getsignal(signal.SIGINT)
        try:
            trainer.fit(
                model,
                train_loader(train, fit.batch_size, seed, fit.val_every, fit.num_workers, (first, fit.steps), share),
                [eval_loader(dataset, share=share) for dataset in validation.values()] or None,
                ckpt_path=resume if first else None,
                weights_only=True,
            )
        except SystemExit as exit:
            if isinstance(exit.__context__, KeyboardInterrupt):
                # Lightning turns Ctrl-C into exit code 1 and leaves it disabled.
                signal.signal(signal.SIGINT, on_ctrl_c)
                raise KeyboardInterrupt from exit
            if isinstance(exit, SIGTERMException):
                exit.code = 128 + signal.SIGTERM  # Lightning's has none, which would be success
            raise
        except (*MALFORMED, RuntimeError, AssertionError) as error:
            if "DataLoader worker" in str(error):
                raise UserError(
                    f"a loader process ended ({str(error).splitlines()[0]}); close other programs or give "
                    "--fit.num_workers 0, then the same command goes on"
                ) from error
            if first and not keeper.trains and not (place is not None and lost_connection(error)):
                # Lightning or PyTorch, at what they found in the checkpoint. Of several processes the first sets it aside.
                said = _aside(resume) if writes else f"{resume}: damaged"
                raise UserError(f"{said}; give the same command again to train this stage anew") from error
            raise
        if writes:
            save_network(model, folder / "last.ckpt", seen=seen["last"])
            for name in validation:
                save_watched(folder / WATCHED.format(name), keeper.watched, name)
            write_json(folder / "done.json", asdict(FitResult(keeper.history, keeper.best, round(keeper.seconds, 1))))


def _end(
    folder: Path,
    model: LandmarkRegressor,
    seen: Seen,
    validation: Iterable[str],
    on_point: OnPoint | None,
    on_look: OnLook | None,
) -> None:
    """Leave what a call that was killed after its last step had to leave. (Lightning, told to go on from there, ends at
    once, and with the weights of that step where ``fit.ema`` wants the averaged ones.)"""
    content = read_checkpoint(folder / "resume.ckpt")
    kept = content["callbacks"]["_Keeper"]
    result, answers = _checked(kept, validation), check_kept(kept.get("watched", {}))
    for point in result.history:
        tell_point(point, answers, on_point, on_look)
    model.load_state_dict(content["state_dict"])
    save_network(model, folder / "last.ckpt", seen=seen)
    for name in validation:
        save_watched(folder / WATCHED.format(name), answers, name)
    write_json(folder / "done.json", asdict(replace(result, seconds=round(result.seconds, 1))))


@contextlib.contextmanager
def _alone() -> Iterator[dict[str, Any]]:
    with single_process() as plugins:
        yield {"devices": 1, "plugins": plugins}


def _set_damaged_aside(folder: Path, fit: FitConfig, validation: Iterable[str]) -> None:
    """Move what a killed call left out of the way where it isn't whole, and say so: the stage is then trained anew."""
    for name, look in (("done.json", _read_done), ("resume.ckpt", lambda path, on: _first_step(path, fit, on))):
        if (path := folder / name).is_file():
            try:
                left = look(path, validation)
                for kept in (*(f"best-{of}" for of in validation), *(["last"] if isinstance(left, FitResult) else [])):
                    read_checkpoint(folder / f"{kept}.ckpt")
            except UserError as error:
                console.print(f"{error}; {_aside(path)}, and this stage is trained from its beginning", markup=False)


def _aside(path: Path) -> str:
    """Give a damaged file another name; says so."""
    kept = path.with_name(f"damaged-{path.name}")
    os.replace(path, kept)
    return f"{path}: damaged; it is now {kept.name}"


def _first_step(path: Path, fit: FitConfig, validation: Iterable[str]) -> int:
    """How many steps the checkpoint of a killed stage has behind it; UserError where it isn't one of this stage."""
    try:
        content = read_checkpoint(path)
        step, kept = content["global_step"], _checked(content["callbacks"]["_Keeper"], validation)
        check_kept(content["callbacks"]["_Keeper"].get("watched", {}))
        if type(step) is not int or not 0 < step <= fit.steps or step != kept.history[-1]["step"]:
            raise ValueError("global_step")
        if not isinstance(content["optimizer_states"], list) or not content["optimizer_states"]:
            raise ValueError("optimizer_states")  # Lightning would begin with a fresh one
    except MALFORMED as error:
        raise UserError(f"{path}: not of this stage ({error})") from error
    return step


def _read_done(path: Path, validation: Iterable[str]) -> FitResult:
    """What a stage that has ended left behind; UserError where that is damaged."""
    try:
        return _checked(json.loads(path.read_text(encoding="utf-8")), validation)
    except MALFORMED as error:
        raise UserError(f"{path}: not of this stage ({error})") from error


MALFORMED = (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError)
"""What comes of content that isn't what it should be."""


def _checked(content: Any, validation: Iterable[str]) -> FitResult:
    """A :class:`FitResult` of plain content; one of MALFORMED where it is none."""
    names = {"step", "seconds", "train/loss", *(f"{name}/{key}" for name in validation for key in ("nme", "loss"))}
    history, best, seconds = content["history"], content["best"], content["seconds"]
    if not isinstance(history, list) or not history or best.keys() != set(validation):
        raise ValueError("history")
    for row in (*history, *best.values(), {"seconds": seconds}):
        if not all(type(value) in (int, float) for value in row.values()):
            raise ValueError("a figure that is none")
    if not all(row.keys() == names for row in history):
        raise ValueError("figures are missing")
    if not {row["step"] for row in best.values()} <= {row["step"] for row in history}:
        raise ValueError("best")
    return FitResult(history, best, seconds)


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Hide what Lightning says of its own settings; warnings of our own code still show."""
    names = (
        "pytorch_lightning",
        "lightning.pytorch",
        "pytorch_lightning.utilities.rank_zero",
        "pytorch_lightning.accelerators.cuda",
    )
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric|torch|torchmetrics)\b.*")
        warnings.filterwarnings("ignore", message=r".*(num_workers|lr_scheduler\.step|litlogger|isinstance\(treespec).*")
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)


@torch.no_grad()
def predict(model: LandmarkRegressor, dataset: FaceDataset, batch_size: int = 64) -> Predictions:
    """A network's answers on a dataset's faces, in their order and computed in 32 bits."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.to(device).eval()
    points, sigmas = [np.empty((0, 68, 2))], []
    for start in range(0, len(dataset), batch_size):
        batch = dataset.__getitems__(range(start, min(start + batch_size, len(dataset))))
        batch = {key: value.to(device) for key, value in batch.items()}
        answer = model.predict_step(batch, 0)
        points.append(answer.points.cpu().numpy())
        if answer.sigma is not None:
            sigmas.append(answer.sigma.cpu().numpy())
    return Predictions.of(dataset, np.concatenate(points), np.concatenate(sigmas) if sigmas else None)
