"""One run of a recipe: its folder, its stages, its score, its ``result.json``."""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from numpy.typing import NDArray

from domaingap.config import PEOPLE_READ_FROM, FitConfig, Precision, RealConfig, RunSettings, determining
from domaingap.data.datamodules import MixedDataModule, RealDataModule, SyntheticDataModule
from domaingap.data.faces import FaceDataset
from domaingap.data.prepare import FORMAT as PARTS_FORMAT
from domaingap.domain_distance import domain_distance
from domaingap.errors import UserError
from domaingap.hashing import content_key, finite, link, plain, remove_temporary, write_atomically, write_json
from domaingap.metrics import RootMeanSquareZ
from domaingap.models.adapter_diagnosis import mean_movement
from domaingap.models.label_adapter import LabelAdapter
from domaingap.models.regressor import LandmarkRegressor, copy_with, load_network
from domaingap.pictures import draw_movement, prediction_sheet, save_picture, sheet
from domaingap.predictions import Predictions, load_predictions, save_predictions
from domaingap.progress import console, detail
from domaingap.stages import (
    ADAPTER_FORMAT,
    DIFFERENCE_FORMAT,
    NETWORK_FORMAT,
    VALIDATED_ON,
    AdapterStage,
    Stage,
    StageStore,
    Use,
    checkpoint_seen,
)
from domaingap.store import Store, file_digest
from domaingap.study.describe import Module, describe, describe_data, describe_set, describe_split
from domaingap.study.environment import git_commit, hardware, versions
from domaingap.study.outline import Outline
from domaingap.study.preflight import check_run, real_module, settled, synthetic_module
from domaingap.study.recipe import Answer, Recipe
from domaingap.study.record import (
    SCHEMA,
    AdapterRecord,
    AdapterStageRecord,
    RunRecord,
    StageRecord,
    StartRecord,
    appearance_of,
    read_record,
    request_key,
    set_key,
    typed,
)
from domaingap.study.showing import FACES, MOVEMENT, Showing, called, configuration, study, tags
from domaingap.study.thumbnails import keep_pictures
from domaingap.tracking import Tracker, effective_mode
from domaingap.tracking_places import agents, told
from domaingap.training import Point, predict, resolve

CHECKPOINT = "checkpoints/answering.ckpt"


class _EnoughError(Exception):
    """All is made that was asked for."""


class Finished(NamedTuple):
    """A finished run, and whether it had been finished before."""

    record: RunRecord
    reused: bool


@dataclass(frozen=True)
class Used:
    """A stage as a recipe has it: what to train a second one like, and which rule picks its checkpoint."""

    stage: Stage
    how: FitConfig
    picked_by: str


class Run:
    """The frame around a recipe's stages; :func:`execute` runs one.

    Args:
        recipe: the recipe.
        settings: its settings.
        alongside: the real faces of other runs that are planned: where this run trains a synthetic network, theirs are
            validated on as well, so that they find it.
        precision: what ``fit.precision auto`` is; what this machine gains from by default.
    """

    def __init__(
        self, recipe: Recipe, settings: RunSettings, alongside: Sequence[RealConfig] = (), precision: Precision | None = None
    ) -> None:
        self.recipe, self.asked, self.alongside = recipe, settings, alongside
        self._began = time.monotonic()
        check_run(settings)
        self.settings = s = settled(settings, precision)
        self.synthetic: Any = open_synthetic(s) if hasattr(s, "synthetic") else None
        self.real = open_real(s)
        self.modules: dict[str, Module] = {"real": self.real}
        if self.synthetic is not None:
            self.modules["synthetic"] = self.synthetic
        self.data = {name: describe_data(module) for name, module in self.modules.items()}
        self.split = {name: describe_split(module) for name, module in self.modules.items()}
        self.start = None if s.model.init_from is None else checkpoint_seen(s.model.init_from)
        self.identity = self._identity()
        splits = {name: {side: of["fingerprint"] for side, of in split.items()} for name, split in self.split.items()}
        self.key = content_key([recipe.name, self.identity, s.seed, splits])
        parts = [recipe.name, *([str(self.synthetic.source)] if self.synthetic is not None else [])]
        if look := appearance_of(s):
            parts.append(look)
        if s.fits_real:
            parts.append(f"n{s.n_real if s.n_real is not None else 'all'}")
        if hasattr(s, "alpha"):
            parts.append(f"a{s.alpha:g}")
        self.name = "-".join([*parts, f"s{s.seed}", self.key[:8]])
        self.folder = Path(s.runs_dir) / self.name
        self.store = StageStore(Path(s.runs_dir) if s.reuse else self.folder)
        self._outline = Outline(recipe, s)
        self._stages: list[Used] = []
        self._fits: list[AdapterStage] = []
        self._showing: Showing | None = None
        self._upto: int | None = None

    def _identity(self) -> dict[str, Any]:
        """All that determines the figures but for seed and splits."""
        s: Any = self.settings
        first = self.synthetic if self.synthetic is not None else self.real
        fit = resolve(s.fit, len(first.train_positions), s.model.backbone).values() | {"epochs": s.fit.epochs}
        formats = {"parts": PARTS_FORMAT, "network": NETWORK_FORMAT}
        if hasattr(s, "adapter"):
            formats |= {"adapter": ADAPTER_FORMAT, **({"difference": DIFFERENCE_FORMAT} if s.adapter.difference else {})}
        return {
            **{key: value for key, value in determining(s, by_content=False).items() if key != "seed"},
            "init_from": None if s.model.init_from is None else file_digest(s.model.init_from),
            "fit": {key: value for key, value in fit.items() if key != "num_workers"},
            "formats": formats,
            "faces": {name: data.fingerprint for name, data in self.data.items()},
        }

    # What recipes do

    def train(
        self,
        title: str,
        faces: Any,
        on: tuple[str, ...] = ("val",),
        fit: FitConfig | None = None,
        start: Used | None = None,
    ) -> Used:
        """See :class:`domaingap.study.recipe.Steps`."""
        s = self.settings
        how = fit if fit is not None else s.fit
        validation = {name: self.synthetic if name == "source_val" else self.real for name in on}
        began_at: Any = None if start is None else (start.stage, start.picked_by)
        if start is None and not self._stages:
            began_at = s.model.init_from
        showing, number, before = self._showing, len(self._stages), sum(used.how.steps for used in self._stages)

        def on_point(point: Point) -> None:
            if showing is not None:
                showing.point(number, before, point)

        on_look = showing.look if showing is not None else None
        also = self._alongside if faces is self.synthetic else list
        stage = self.store.fit(title, s.model, faces, validation, how, s.seed, began_at, on_point, also, on_look)
        # A run without the 300 that pick checkpoints has the synthetic hold-out, where a network was validated on it.
        picked_by = "source_val" if s.selection == "budget" and "source_val" in on else s.selection
        # As many processes may be on other machines than those that have trained it.
        resolved = replace(FitConfig(**stage.fit), devices=how.devices, nodes=how.nodes)
        used = Used(stage, resolved, picked_by)
        self._stages.append(used)
        self._made()
        return used

    def _alongside(self) -> list[Any]:
        return [open_real(self.settings, real) for real in self.alongside if real != self.settings.real]

    def fit_adapter(self, network: Used) -> AdapterStage:
        """See :class:`domaingap.study.recipe.Steps`."""
        s: Any = self.settings
        stage = self.store.fit_adapter(
            network.stage, network.picked_by, self.synthetic, self.real, s.adapter, s.selection, s.seed, s.mirror_test
        )
        self._fits.append(stage)
        self._made()
        return stage

    def _made(self) -> None:
        if self._upto == len(self._stages) + len(self._fits):
            raise _EnoughError

    def adapted(self, adapter: AdapterStage) -> SyntheticDataModule:
        """See :class:`domaingap.study.recipe.Steps`."""
        module: SyntheticDataModule = self.synthetic.adapted(adapter.load("labels").adapt, adapter.entry.key, adapter.seen)
        return module

    def mixed(self, synthetic: SyntheticDataModule, alpha: float) -> MixedDataModule:
        """See :class:`domaingap.study.recipe.Steps`."""
        return MixedDataModule(synthetic, self.real, alpha)

    # From the recipe's answer to the record

    def prepare(self, upto: int) -> None:
        """Have the first ``upto`` of the recipe's networks and adapters made, for other runs, too; there is no result."""
        self._upto = upto
        with contextlib.suppress(_EnoughError):
            self.recipe.body(self, self.settings)

    def execute(self) -> Finished:
        """Run the recipe, or find it finished; in one process at a time."""
        store = Store(Path(self.settings.runs_dir))
        with store.lock(f"run-{self.name}", self.name), store.named(self.folder):
            for folder in (self.folder, self.folder / "checkpoints"):
                remove_temporary(folder)
            if (found := self._finished()) is not None:
                self._keep_pictures(found)
                scored = not self.settings.score_test or self._tests().keys() <= found.counts.keys()
                if scored:
                    detail(f"{self.name}: finished before; delete {self.folder} to run it again")
                untold = effective_mode(self.settings.wandb.mode) != "off" and not told(self.settings.wandb, self.folder)
                if not scored or untold:
                    with self._track() as tracker:
                        showing = self._show(tracker)
                        found = found if scored else self._score_tests(found)
                        self._show_again(found, showing)
                return Finished(found, reused=True)
            self._announce()
            with self._track() as tracker:
                self._showing = self._show(tracker)
                record = self._finish(self.recipe.body(self, self.settings), self._showing)
            return Finished(record, reused=False)

    def _finished(self) -> RunRecord | None:
        """The run's record where it was finished before and its files are what it says."""
        path = self.folder / "result.json"
        if not path.is_file():
            return None
        try:
            record = read_record(path)
            problem = damaged(record) if record.key == self.key else "of another run"
        except UserError as error:
            problem = str(error)
        if problem is None:
            return record
        console.print(f"{self.folder}: finished once more ({problem})", markup=False)
        return None

    def _announce(self) -> None:
        Store(Path(self.settings.runs_dir)).make(self.folder / "checkpoints")
        write_atomically(self.folder / "config.yaml", yaml.safe_dump(plain(self.settings), sort_keys=False))
        write_json(self.folder / "split.json", self.split)
        detail(f"{self.name}")
        for name, data in self.data.items():
            detail(f"  {name}: {describe(data)}")
        if look := appearance_of(self.settings):
            n = len(self.real.train_positions)
            detail(f"  synthetic training pictures: {look}, with the look of {n} real faces, whose labels aren't read")

    def _track(self) -> Tracker:
        recipe, s = self.recipe.name, self.settings
        config = configuration(recipe, s, [stage.title for stage in self._outline.stages])
        return Tracker(s.wandb, self.folder, called(recipe, s), self.key, recipe, study(s.runs_dir), config, tags(s))

    def _show(self, tracker: Tracker) -> Showing:
        stages, answering = [stage.title for stage in self._outline.stages], self._outline.answering
        showing = Showing(tracker, self.real, stages, answering, self.settings.pictures)
        showing.lineage(self.data, self.split)
        return showing

    def _tests(self) -> dict[str, FaceDataset]:
        """The test sets by their names in front of metrics."""
        return {f"test/{name}": self.real.test_set(name) for name in self.real.test_positions}

    def _finish(self, answer: Answer, showing: Showing) -> RunRecord:
        """Score the answering network on the validation faces and, once, on every test set; write the result."""
        used: Used = answer.network
        picked_by, stage = used.picked_by, used.stage
        network = stage.load(picked_by)
        network.mirror_test = self.settings.mirror_test
        sets = {"val": self.real.val_set()}
        if self.synthetic is not None:
            sets["source_val"] = self.synthetic.val_set()
        if self.settings.score_test:
            sets |= self._tests()
        adapter: AdapterStage | None = answer.adapter
        h = None
        if adapter is not None:
            use: Use = answer.use  # type: ignore[assignment]
            link(adapter.checkpoint(use), self.folder / "checkpoints" / adapter_file(use))
            h = adapter.load(use) if use == "predictions" else None
        answers = {name: predict(network, dataset) for name, dataset in sets.items()}
        scored = answers if h is None else moved(answers, h)
        # Of the faces that picked the checkpoint: a budget of real images pays for no further ones.
        on = VALIDATED_ON.get(picked_by, "")
        factor = sigma_factor(scored[on]) if on in scored else None
        said: dict[str, Any] = {} if factor is None else {"sigma_factor": factor}
        said |= {"mirror_test": True} if network.mirror_test else {}
        if said:
            copy_with(stage.checkpoint(picked_by), self.folder / CHECKPOINT, **said)
        else:
            link(stage.checkpoint(picked_by), self.folder / CHECKPOINT)
        if factor is not None:
            scored = {name: replace(p, sigma=factor * p.sigma) for name, p in scored.items() if p.sigma is not None}
        if adapter is not None:
            self._draw_adapter(adapter, use, answers["val"].prediction)
        if self.settings.pictures:
            save_picture(self.folder / FACES, prediction_sheet(sets["val"], scored["val"]))
        seen = [s.stage.seen(s.picked_by) for s in self._stages] + [fit.seen for fit in self._fits]
        everything = seen[0]
        for more in seen[1:]:
            everything |= more
        inherited = self.start.steps if self.start is not None else 0
        record = RunRecord(
            schema=SCHEMA,
            key=self.key,
            request=request_key(self.recipe.name, self.asked),
            recipe=self.recipe.name,
            name=self.name,
            seed=self.settings.seed,
            alpha=getattr(self.settings, "alpha", None),
            n_real_train=len(everything.real),
            n_real_selection=max(len(everything.selected_on), self._labels_read_from()),
            selection=self.settings.selection,
            n_synthetic=len(self.synthetic.train_positions) if self.synthetic is not None else 0,
            n_synthetic_selection=len(self.synthetic.val_positions) if self.synthetic is not None else 0,
            adapter=typed(AdapterRecord, {"use": use, **adapter.entry.record[use]}, "adapter")
            if adapter is not None
            else None,
            steps_answering=stage.seen(picked_by).steps,
            steps_total=inherited + sum(s.how.steps for s in self._stages),
            start=self._start_record(),
            licences=everything.named(),
            non_commercial=everything.non_commercial,
            metrics={},
            intervals={},
            interval_rule="95%, bootstrap over photographs",
            counts={},
            data=self.data,
            box_rule=self._box_rule(),
            stages=[_describe_stage(s) for s in self._stages],
            adapter_stages=[
                AdapterStageRecord(f.entry.key, f.entry.reused, f.entry.record["n_pairs"], f.entry.record["seconds"])
                for f in self._fits
            ],
            identity=plain(self.identity),
            config=plain(self.settings),
            git_commit=git_commit(),
            wall_time_s=round(time.monotonic() - self._began, 1),
            wandb=showing.tracker.mode,
            hardware=hardware(),
            versions=versions(),
            files={},
            domain_distance=domain_distance(network, sets["source_val"], sets["val"]) if "source_val" in sets else None,
            sigma_factor=factor,
            folder=self.folder,
        )
        record = self._write(record, scored, sets)
        showing.result(record, scored, sets, self.settings.wandb.checkpoints)
        return record

    def _score_tests(self, record: RunRecord) -> RunRecord:
        """Score the test sets of a run that was finished without."""
        detail(f"{self.name}: finished before without its test sets, scored now")
        sets = self._tests()
        scored = score_sets(self.folder, load_network(self.folder / CHECKPOINT), sets)
        return self._write(record, scored, sets)

    def _show_again(self, record: RunRecord, showing: Showing) -> None:
        """Log a run that was finished before to a W&B run that lacks it, or lacks its tests: as while it trained."""
        if not showing.tracker.on:
            return
        agent, group = "the run of W&B's agent", f"Weights & Biases, group {showing.tracker.place.group}"
        detail(f"{self.name}: logged to {group if agents() is None else agent}")
        before = 0
        for number, stage in enumerate(record.stages):
            modules: dict[str, Any] = {"val": self.real, "source_val": self.synthetic}
            on = {name: modules[name] for name in stage.best}
            if (trained := self.store.trained(stage.key, on, stage.fit["monitor"])) is not None:
                trained.told(functools.partial(showing.point, number, before), showing.look)
            before += stage.steps
        sets = {"val": self.real.val_set(), **self._tests()}
        answers = {set_key(name): answer for name, answer in load_predictions(self.folder / "predictions.npz").items()}
        showing.result(
            record, {name: answers[name] for name in sets if name in answers}, sets, self.settings.wandb.checkpoints
        )

    def _write(self, record: RunRecord, scored: Mapping[str, Predictions], sets: Mapping[str, FaceDataset]) -> RunRecord:
        """Add scored sets to a record and write both, the record last."""
        path = self.folder / "predictions.npz"
        modules = {name: self.synthetic if name == "source_val" else self.real for name in scored}
        scored = {name: replace(p, conditions=modules[name].conditions(sets[name].positions)) for name, p in scored.items()}
        # npz members are named by set alone; "test/" only tells metrics apart.
        known = load_predictions(path) if record.counts else {}
        save_predictions(path, known | {name.removeprefix("test/"): p for name, p in scored.items()})
        metrics, intervals, counts = dict(record.metrics), dict(record.intervals), dict(record.counts)
        for name, predictions in scored.items():
            values, ranges = predictions.metrics()
            metrics |= {f"{name}/{key}": finite(value) for key, value in values.items()}
            intervals |= {f"{name}/{key}": value for key, value in ranges.items()}
            pictures = keep_pictures(Path(self.settings.runs_dir), name, sets[name]) if self._pictured(name) else ""
            counts[name] = describe_set(name, sets[name], modules[name], pictures)
        files = {str(p.relative_to(self.folder)): file_digest(p) for p in [path, *self.folder.glob("checkpoints/*.ckpt")]}
        record = replace(record, metrics=metrics, intervals=intervals, counts=counts, files=files, folder=self.folder)
        record.write()
        return record

    def _pictured(self, name: str) -> bool:
        """Whether a set's faces are to be seen in reports: real ones, unless the settings say otherwise."""
        return self.settings.pictures and name != "source_val"

    def _keep_pictures(self, record: RunRecord) -> None:
        """Make the pictures of a finished run anew where they are absent or damaged."""
        for name, dataset in {"val": self.real.val_set(), **self._tests()}.items():
            if self._pictured(name) and name in record.counts and record.counts[name].pictures:
                keep_pictures(Path(self.settings.runs_dir), name, dataset)

    def _box_rule(self) -> str:
        """Where boxes come from, at test and, where that differs, in the synthetic faces."""
        rules = [module.box_rule() for module in self.modules.values()]
        return rules[0] + (f"; synthetic faces: {rules[1]}" if rules[0] != rules[-1] else "")

    def _labels_read_from(self) -> int:
        """Real faces that labels of the synthetic domain stand on, which no stage has seen."""
        if self.synthetic is None or self.settings.synthetic.source != "generated":
            return 0
        return PEOPLE_READ_FROM if self.settings.synthetic.generated.labels == "people" else 0

    def _start_record(self) -> StartRecord | None:
        if self.start is None:
            return None
        sets = {"val": self.real.val_set(), **self._tests()}
        overlap = {name: len(self.start.real & dataset.seen().real) for name, dataset in sets.items()}
        overlap = {name: n for name, n in overlap.items() if n}
        for name, n in overlap.items():
            console.print(f"caution: the network that it started from was trained on {n} faces of {name}", markup=False)
        s = self.start
        return StartRecord(str(self.settings.model.init_from), s.complete, len(s.real), s.steps, overlap)

    def _draw_adapter(self, stage: AdapterStage, use: Use, predictions: NDArray[np.float64]) -> None:
        """Draw what an adapter does."""
        adapter, record = stage.load(use), stage.entry.record[use]
        labels = self.synthetic.faces.landmarks[self.synthetic.train_positions]
        tiles = []
        for name, points in (("predictions on real faces", predictions), ("true synthetic labels", labels)):
            mean, moved = mean_movement(adapter, points)
            distance = record["movement_predictions" if points is predictions else "movement_labels"]["all"]
            tiles.append(draw_movement(mean, moved, f"{name}: each point moves {distance:.2f}% of the eyes' distance"))
        save_picture(self.folder / MOVEMENT, sheet(tiles, 2))


def execute(
    recipe: Recipe, settings: RunSettings, alongside: Sequence[RealConfig] = (), precision: Precision | None = None
) -> Finished:
    """Run a recipe, or find it finished.

    Args:
        recipe: the recipe.
        settings: its settings.
        alongside: see :class:`Run`.
        precision: likewise.
    """
    return Run(recipe, settings, alongside, precision).execute()


def damaged(record: RunRecord) -> str | None:
    """What is wrong with a run's files; None where they are what its record says."""
    for name, digest in record.files.items():
        path = record.folder / name
        try:
            if file_digest(path) != digest:
                return f"{path}: its checksum differs"
        except OSError as error:
            return f"{path}: {error.strerror}"
    return None


def score_sets(folder: Path, network: LandmarkRegressor, sets: Mapping[str, FaceDataset]) -> dict[str, Predictions]:
    """A network's answers on sets of faces, moved by the adapter for predictions where the run in ``folder`` has one."""
    answers = {name: predict(network, dataset) for name, dataset in sets.items()}
    adapter = folder / "checkpoints" / adapter_file("predictions")
    return moved(answers, LabelAdapter.load(adapter)) if adapter.is_file() else answers


def moved(answers: Mapping[str, Predictions], adapter: LabelAdapter) -> dict[str, Predictions]:
    """A network's answers, moved by a label adapter."""
    return {name: replace(answer, prediction=adapter.adapt(answer.prediction)) for name, answer in answers.items()}


def sigma_factor(validation: Predictions) -> float | None:
    """What a network's standard deviations have to be multiplied by to fit its errors on validation faces
    (:class:`domaingap.metrics.RootMeanSquareZ`); None of a network that tells none, or of errors or deviations that are no
    numbers."""
    if validation.sigma is None:
        return None
    metric = RootMeanSquareZ()
    squares = metric.per_face(validation.prediction, validation.truth, validation.sigma)
    factor = math.sqrt(float(squares.mean()))
    return factor if 0 < factor < math.inf else None


def _describe_stage(used: Used) -> StageRecord:
    stage, record = used.stage, used.stage.entry.record
    return StageRecord(
        title=stage.title,
        key=stage.entry.key,
        reused=stage.entry.reused,
        steps=record["steps"],
        picked_step=stage.picked_step(used.picked_by),
        n_train=record["n_train"],
        fit=stage.fit,
        seconds=record["seconds"],
        train_loss=stage.history[-1]["train/loss"],
        best=stage.best,
    )


def adapter_file(use: Use) -> str:
    """Name of an adapter's file in a run's ``checkpoints``."""
    return f"adapter_{use}.ckpt"


def open_real(settings: Any, real: RealConfig | None = None) -> RealDataModule:
    """A run's real faces, or those of another configuration under its other settings; prepared where they aren't yet."""
    module = real_module(settings, real)
    module.setup()
    return module


def open_synthetic(settings: Any) -> SyntheticDataModule:
    """A run's synthetic faces, prepared where they aren't yet."""
    module = synthetic_module(settings)
    module.setup()
    return module
