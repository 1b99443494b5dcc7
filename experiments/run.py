"""One run of a recipe: its folder, its stages, its score, its ``result.json``."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import timm
import torch
import yaml
from numpy.typing import NDArray
from PIL import Image

import domaingap
from domaingap.config import (
    AdapterConfig,
    AugmentConfig,
    CropConfig,
    FitConfig,
    ModelConfig,
    RealConfig,
    SyntheticConfig,
    WandbConfig,
    read_settings,
)
from domaingap.data.crops import apply_transform
from domaingap.data.datamodules import RealDataModule, SyntheticDataModule
from domaingap.data.faces import FaceDataset
from domaingap.data.readers import GENERATED
from domaingap.data.readers.ibug300w import PUBLIC_PARTS, TEST_SETS, TRAIN_PARTS, Ibug300WReader
from domaingap.errors import UserError
from domaingap.hashing import content_key, digest, write_atomically, write_json
from domaingap.models.adapter_diagnosis import mean_movement
from domaingap.models.regressor import LandmarkRegressor
from domaingap.parallel import available_cores
from domaingap.pictures import GREEN, RED, draw_face, draw_movement, sheet
from domaingap.predictions import Predictions, save_predictions
from domaingap.progress import detail
from domaingap.results import finite
from domaingap.stages import AdapterStage, Stage, StageStore, TrainModule, Use
from domaingap.tracking import Tracker
from domaingap.training import Point, predict
from experiments.result import Result

Module = RealDataModule | SyntheticDataModule


class Run:
    """The frame around a recipe's stages; used as a context, so that an interrupted run is closed properly.

    Args:
        recipe: name of the recipe.
        settings: the recipe's arguments, resolved.
        real: real faces, for validation and test.
        synthetic: synthetic faces, where the recipe has any.
    """

    def __init__(
        self, recipe: str, settings: Mapping[str, Any], real: RealDataModule, synthetic: SyntheticDataModule | None = None
    ) -> None:
        self.recipe, self.settings, self.real, self.synthetic = recipe, dict(settings), real, synthetic
        self.seed, self.selection = int(settings["seed"]), str(settings["selection"])
        self._began = time.monotonic()
        self._stages: list[Stage] = []
        self._fits: list[AdapterStage] = []
        self._tracker: Tracker | None = None
        modules: dict[str, Module] = {"real": real, **({"synthetic": synthetic} if synthetic is not None else {})}
        self.data = {name: _describe_data(module) for name, module in modules.items()}
        self.split = {name: _describe_split(module) for name, module in modules.items()}
        paths = ("data_root", "prepared_dir", "runs_dir", "wandb")
        identity = {key: value for key, value in read_settings(self.settings).items() if key not in paths}
        self.key = content_key([recipe, identity, self.split], 8)
        n_real = len(real.train_positions) if settings.get("n_real") is not None else "all"
        parts = [recipe, *([str(synthetic.source)] if synthetic is not None else [])]
        if "n_real" in settings:
            parts.append(f"n{n_real}")
        if "alpha" in settings:
            parts.append(f"a{settings['alpha']:g}")
        self.name = "-".join([*parts, f"s{self.seed}", self.key])
        self.folder = Path(settings["runs_dir"]) / self.name
        self.stages = StageStore(Path(settings["runs_dir"]) / "stages")

    def finished(self) -> Result | None:
        """The run's result where it was finished before."""
        path = self.folder / "result.json"
        if not path.is_file():
            return None
        try:
            content = json.loads(path.read_text())
        except ValueError as error:
            raise UserError(f"{path}: damaged ({error}); delete it to finish this run again") from error
        detail(f"{self.name}: finished before; delete {self.folder} to run it again")
        return Result(self.folder, content, reused=True)

    def __enter__(self) -> Run:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{self.folder}: can't be written ({error.strerror}); choose another --runs_dir") from error
        write_atomically(self.folder / "config.yaml", yaml.safe_dump(read_settings(self.settings), sort_keys=False))
        write_json(self.folder / "split.json", self.split)
        detail(f"{self.name}")
        for name, data in self.data.items():
            detail(f"  {name}: {describe(data)}")
        wandb: WandbConfig = self.settings["wandb"]
        group = "-".join([self.recipe, *(data["source"] for data in self.data.values())])
        self._tracker = Tracker(wandb, self.folder, self.name, self.recipe, group, read_settings(self.settings))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._tracker is not None
        self._tracker.finish(failed=kind is not None)

    def fit(
        self,
        title: str,
        train: TrainModule,
        validation: Mapping[str, Module],
        fit: FitConfig,
        start: tuple[Stage, str] | None = None,
        answering: bool = True,
    ) -> Stage:
        """One stage of training, from the store where it was trained before.

        Args:
            title: the stage's name in progress and W&B.
            train: whose training faces.
            validation: on whose validation faces checkpoints are picked, by name.
            fit: how it is trained.
            start: the stage, and the selection rule that picks its checkpoint, whose weights it starts from.
            answering: whether this stage's network gives the answers.
        """
        model: ModelConfig = self.settings["model"]
        tracker = self._tracker
        assert tracker is not None

        def on_point(point: Point) -> None:
            tracker.curves(None if answering else title, point)

        stage = self.stages.fit(title, model, train, validation, fit, self.seed, start, on_point)
        self._stages.append(stage)
        return stage

    def fit_adapter(self, network: Stage, config: AdapterConfig) -> AdapterStage:
        """Label adapters on a synthetic network's predictions of the real training faces; from the store where they
        were fitted before."""
        assert self.synthetic is not None
        stage = self.stages.fit_adapter(
            network, self._picks(network), self.synthetic, self.real, config, self.selection, self.seed
        )
        self._fits.append(stage)
        return stage

    def _picks(self, stage: Stage) -> str:
        """The rule that picks a stage's checkpoint: a ``budget`` run has the synthetic hold-out, where a stage saw it."""
        held_out = self.selection == "budget" and "source_val" in stage.record["best"]
        return "source_val" if held_out else self.selection

    def finish(
        self,
        answering: Stage,
        n_real_train: int,
        n_real_selection: int,
        adapter: tuple[AdapterStage, Use] | None = None,
    ) -> Result:
        """Score the answering network on the validation faces and, once, on every test set; write the result.

        Args:
            answering: the stage whose network gives the answers.
            n_real_train: distinct real images that any stage was fitted on.
            n_real_selection: real images that picked something.
            adapter: the label adapter and its use; one for predictions is applied to the network's answers.
        """
        picked_by = self._picks(answering)
        network = answering.load(picked_by)
        checkpoints = self.folder / "checkpoints"
        checkpoints.mkdir(exist_ok=True)
        _link(answering.checkpoint(picked_by), checkpoints / "answering.ckpt")
        sets = {"val": self.real.val_set()} | {f"test/{name}": self.real.test_set(name) for name in self.real.test_positions}
        if self.synthetic is not None:
            sets["source_val"] = self.synthetic.val_set()
        answers = {name: predict(network, dataset) for name, dataset in sets.items()}
        if adapter is not None:
            stage, use = adapter
            _link(stage.checkpoint(use), checkpoints / adapter_file(use))
            self._show_adapter(stage, use, answers["val"].prediction)
            if use == "predictions":
                h = stage.load(use)
                answers = {name: replace(a, prediction=h.adapt(a.prediction)) for name, a in answers.items()}
        # npz members are named by set alone; "test/" only tells metrics apart.
        save_predictions(self.folder / "predictions.npz", {name.removeprefix("test/"): p for name, p in answers.items()})
        metrics: dict[str, float | None] = {}
        intervals: dict[str, tuple[float, float]] = {}
        for name, predictions in answers.items():
            values, ranges = predictions.metrics()
            metrics |= {f"{name}/{key}": finite(value) for key, value in values.items()}
            intervals |= {f"{name}/{key}": value for key, value in ranges.items()}
        picture = picture_of(network, sets["val"], answers["val"])
        _save_picture(self.folder / "val_faces.png", picture)
        content = {
            "recipe": self.recipe,
            "name": self.name,
            "seed": self.seed,
            "alpha": self.settings.get("alpha"),
            "n_real_train": n_real_train,
            "n_real_selection": n_real_selection,
            "selection": self.selection,
            "n_synthetic": len(self.synthetic.train_positions) if self.synthetic is not None else 0,
            "n_synthetic_selection": len(self.synthetic.val_positions) if self.synthetic is not None else 0,
            "adapter": {"use": adapter[1], **adapter[0].record[adapter[1]]} if adapter is not None else None,
            "steps_answering": answering.steps,
            "steps_total": sum(int(stage.record["fit"]["steps"]) for stage in self._stages),
            "metrics": metrics,
            "intervals": intervals,
            "interval_rule": "95%, bootstrap over photographs",
            "counts": {name: _describe_set(name, dataset) for name, dataset in sets.items()},
            "data": self.data,
            "box_rule": self._box_rule(),
            "stages": [self._describe_stage(stage) for stage in self._stages],
            "adapter_stages": [
                {"key": s.key, "reused": s.reused, "n_pairs": s.record["n_pairs"], "seconds": s.record["seconds"]}
                for s in self._fits
            ],
            "config": read_settings(self.settings),
            "git_commit": git_commit(),
            "wall_time_s": round(time.monotonic() - self._began, 1),
            "wandb": self._tracker.mode if self._tracker is not None else "off",
            "hardware": hardware(),
            "versions": versions(),
        }
        assert self._tracker is not None
        self._tracker.summary({**metrics, "n_real_train": n_real_train, "steps_answering": answering.steps})
        self._tracker.picture("val/faces", picture, "truth green, prediction red, NME in %")
        write_json(self.folder / "result.json", content)
        return Result(self.folder, content, reused=False)

    def _box_rule(self) -> str:
        if self.real.crop.box != "mtcnn":
            return "oracle (landmarks)"
        return "mtcnn" if self.real.source == "300w" else "generated (simulated mtcnn)"

    def _show_adapter(self, stage: AdapterStage, use: Use, predictions: NDArray[np.float64]) -> None:
        """Draw what an adapter does."""
        assert self.synthetic is not None and self._tracker is not None
        adapter, record = stage.load(use), stage.record[use]
        labels = self.synthetic.faces.landmarks[self.synthetic.train_positions]
        tiles = []
        for name, points in (("predictions on real faces", predictions), ("true synthetic labels", labels)):
            mean, moved = mean_movement(adapter, points)
            distance = record["movement_predictions" if points is predictions else "movement_labels"]["all"]
            tiles.append(draw_movement(mean, moved, f"{name}: each point moves {distance:.2f}% of the eyes' distance"))
        picture = sheet(tiles, 2)
        _save_picture(self.folder / "adapter.png", picture)
        self._tracker.picture("adapter/mean_face", picture, "mean face before (grey) and after (red) the label adapter")
        self._tracker.summary(adapter_metrics(record))

    def _describe_stage(self, stage: Stage) -> dict[str, Any]:
        return {
            "title": stage.title,
            "key": stage.key,
            "reused": stage.reused,
            "steps": stage.record["fit"]["steps"],
            "picked_step": stage.picked_step(self._picks(stage)),
            "n_train": stage.record["n_train"],
            "fit": stage.record["fit"],
            "seconds": stage.record["seconds"],
            "train_loss": stage.history[-1]["train/loss"],
            "best": stage.record["best"],
        }


def adapter_file(use: Use) -> str:
    """Name of an adapter's file in a run's ``checkpoints``."""
    return f"adapter_{use}.ckpt"


def adapter_metrics(record: Mapping[str, Any]) -> dict[str, Any]:
    """An adapter's diagnosis under flat names, for W&B."""
    values: dict[str, Any] = {f"adapter/{key}": record[key] for key in ("kind", "strength", "spread_ratio", "shape_kept")}
    for name in ("movement_predictions", "movement_labels"):
        values |= {f"adapter/{name}_{region}": value for region, value in record[name].items()}
    return values


def describe(data: dict[str, Any]) -> str:
    """One line on a data set: parts with counts, published ones beside, and what isn't as it should be."""
    parts = []
    for name, part in data["parts"].items():
        count = f"{part['n_faces']}" + (f" of {part['n_published']}" if part["n_published"] else "")
        notes = [f"{n} {why} passed over" for why, n in part["skipped"].items()]
        if part["box_sources"].get("fallback"):
            notes.append(f"{part['box_sources']['fallback']} fell back to the landmarks' box")
        parts.append(f"{name} {count}" + (f" ({', '.join(notes)})" if notes else ""))
    absent = f"; absent: {', '.join(data['absent_parts'])}" if data["absent_parts"] else ""
    release = "" if data["source"] in GENERATED else f", {'partial release' if data['partial'] else 'complete'}"
    return f"{data['source']}{release}: " + ", ".join(parts) + absent


def _describe_data(module: Module) -> dict[str, Any]:
    metas = {part.name: part.meta for part in module.faces.prepared}
    keys = ("n_faces", "n_published", "partial", "skipped", "box_sources", "fingerprint")
    absent = [part for part in PUBLIC_PARTS if part not in metas] if module.source == "300w" else []
    return {
        "source": next(iter(metas.values()))["source"],
        "partial": bool(absent) or any(meta["partial"] for meta in metas.values()),
        "absent_parts": absent,
        "fingerprint": digest(meta["fingerprint"].encode() for meta in metas.values()),
        "parts": {name: {key: meta[key] for key in keys} for name, meta in metas.items()},
        "n_train": len(module.train_positions),
        "n_val": len(module.val_positions),
    }


def _describe_split(module: Module) -> dict[str, Any]:
    faces = module.faces
    positions = {"train": module.train_positions, "val": module.val_positions, **module.test_positions}
    return {
        name: {"fingerprint": faces.fingerprint(p), "n": len(p), "names": faces.names[p].tolist()}
        for name, p in positions.items()
    }


def _describe_set(name: str, dataset: FaceDataset) -> dict[str, Any]:
    """Counts of a scored set; ``published`` is what the whole of it would count, absent parts included."""
    faces, positions = dataset.faces, dataset.positions
    metas = {part.name: part.meta for part in faces.prepared if part.name in set(faces.parts[positions].tolist())}
    parts = tuple(metas)
    if next(iter(metas.values()))["source"] == "300w":
        parts = TEST_SETS.get(name.removeprefix("test/"), TRAIN_PARTS)
    published = [metas[p]["n_published"] if p in metas else Ibug300WReader.published[p] for p in parts]
    return {
        "images": len(positions),
        "photographs": len(set(faces.photographs[positions].tolist())),
        "fallback_boxes": int((faces.box_sources[positions] == "fallback").sum()),
        "partial": any(p not in metas or metas[p]["partial"] for p in parts),
        "parts": {p: meta["n_faces"] for p, meta in metas.items()},
        "published": sum(published) if None not in published else None,
    }


def picture_of(network: LandmarkRegressor, dataset: FaceDataset, predictions: Predictions, n: int = 12) -> Any:
    """A sheet of faces with truth (green) and prediction (red), from the best to the worst NME."""
    nme = predictions.nme()
    order = np.argsort(nme)
    chosen = order[np.linspace(0, len(order) - 1, min(n, len(order))).round().astype(int)]
    tiles = []
    for i in chosen:
        item = dataset[int(i)]
        to_crop = dataset.faces.image_to_crop[dataset.positions[i]]
        points = [
            (apply_transform(to_crop, predictions.truth[i]), GREEN),
            (apply_transform(to_crop, predictions.prediction[i]), RED),
        ]
        tiles.append(draw_face(item["image"].numpy(), points, caption=f"NME {nme[i]:.1f}"))
    return sheet(tiles, 4)


def _save_picture(path: Path, picture: Any) -> None:
    Image.fromarray(picture).save(path)


def _link(source: Path, target: Path) -> None:
    """A hard link where the file system has them, a copy elsewhere: stages may be pruned, a run keeps its network."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def git_commit() -> str | None:
    """Commit of the checkout, with ``+changes`` where tracked files differ from it; None outside one."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=20).stdout

    try:
        return git("rev-parse", "HEAD").strip() + ("+changes" if git("status", "--porcelain", "-uno").strip() else "")
    except (OSError, subprocess.SubprocessError):
        return None


def hardware() -> dict[str, Any]:
    """What the run ran on."""
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": available_cores(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def versions() -> dict[str, str]:
    """Versions of what figures depend on."""
    return {
        "domaingap": domaingap.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "pytorch_lightning": version("pytorch-lightning"),
        "timm": timm.__version__,
        "numpy": np.__version__,
    }


def open_real(
    data_root: Path,
    prepared_dir: Path,
    real: RealConfig,
    n_real: int | None,
    seed: int,
    crop: CropConfig,
    augment: AugmentConfig,
) -> RealDataModule:
    """The run's real faces, prepared where they aren't yet."""
    module = RealDataModule(
        n_real,
        real.parts,
        data_root,
        real.root,
        real.n_val,
        seed,
        crop,
        augment,
        prepared_dir=prepared_dir,
        source=real.source,
        generated=real.generated,
    )
    module.setup()
    return module


def open_synthetic(
    data_root: Path,
    prepared_dir: Path,
    synthetic: SyntheticConfig,
    n_synthetic: int | None,
    seed: int,
    crop: CropConfig,
    augment: AugmentConfig,
) -> SyntheticDataModule:
    """The run's synthetic faces, prepared where they aren't yet."""
    module = SyntheticDataModule(
        n_synthetic,
        synthetic.val_split,
        synthetic.source,
        data_root,
        synthetic.root,
        seed,
        crop,
        augment,
        prepared_dir=prepared_dir,
        generated=synthetic.generated,
    )
    module.setup()
    return module
