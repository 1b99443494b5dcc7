"""What a run shows in Weights & Biases: its name there, its curves and faces as it learns, its lineage, its result."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray

from domaingap.config import RunSettings
from domaingap.data.datamodules import RealDataModule
from domaingap.data.faces import FaceDataset
from domaingap.hashing import plain
from domaingap.landmarks import IBUG68
from domaingap.metrics import ced_curve, normalized_mean_error
from domaingap.pictures import GREEN, RED, draw_face, draw_prediction, read_picture, sheet
from domaingap.predictions import Predictions
from domaingap.study.record import DataRecord, RunRecord, appearance_of, strategy
from domaingap.tracking import Tracker
from domaingap.tracking_media import Bars, Lines, Listing, Picture
from domaingap.training import Point
from domaingap.watched import Looks, watched

FACES, MOVEMENT = "val_faces.png", "adapter.png"
"""Pictures in a run's folder: validation faces from the best to the worst, and what its adapter does."""
FACES_CAPTION = "truth green, prediction red, NME in %"
MOVEMENT_CAPTION = "mean face before (grey) and after (red) the label adapter"
WATCHED_SIDE, WORST_SIDE = 112, 144
"""Pixels of a face on the sheet of every validation, and in the table of the worst ones."""
N_WORST = 16
EVERY_SHEET = 32
"""So many validations of a stage have a sheet each; behind them every other one, from twice as many on every fourth, …"""
CED_PERCENT = np.linspace(0, 10, 51)

Method = TypeVar("Method", bound=Callable[..., None])


def _shown(method: Method) -> Method:
    """Nothing is drawn where nobody looks, and what goes wrong ends the tracking and not the training."""

    @functools.wraps(method)
    def guarded(self: Showing, *arguments: Any, **options: Any) -> None:
        if self.tracker.on:
            with self.tracker.guarded():
                method(self, *arguments, **options)

    return cast(Method, guarded)


class Showing:
    """What W&B is told of a run.

    Args:
        tracker: its W&B run.
        real: its real faces.
        stages: titles of its stages, in order.
        answering: which of them answers.
        faces: whether faces are to be seen.
    """

    def __init__(
        self, tracker: Tracker, real: RealDataModule, stages: Sequence[str], answering: int, faces: bool = True
    ) -> None:
        self.tracker, self._real, self._stages, self._answering = tracker, real, stages, answering
        self._faces = faces
        self._looks: Looks = {}
        self._points = dict.fromkeys(range(len(stages)), 0)
        self._least: dict[str, float] = {}
        self.tracker.least("best/val/nme", "best/source_val/nme")

    @functools.cached_property
    def _watched(self) -> tuple[list[int], NDArray[np.uint8], NDArray[np.float64]]:
        """The watched validation faces: their places, crops [k, C, S, S] and true points [k, 68, 2] in crop pixels."""
        dataset = self._real.val_set()
        places = watched(dataset)
        batch = dataset.__getitems__(places)
        return places, batch["image"].numpy(), batch["landmarks"].double().numpy()

    def _sheet(self, points: NDArray[Any], title: str) -> Picture:
        """The watched faces with answers [k, 68, 2] in crop pixels."""
        _, images, truth = self._watched
        # A crop is a similar picture: its NME is that of the original.
        nme = normalized_mean_error(torch.from_numpy(points.astype(np.float64)), torch.from_numpy(truth)).numpy()
        tiles = [
            draw_face(image, [(true, GREEN), (answer, RED)], WATCHED_SIDE, f"{error:.1f}")
            for image, true, answer, error in zip(images, truth, points, nme, strict=True)
        ]
        return Picture(sheet(tiles, 4), f"{title}: NME {nme.mean():.1f}% on these; {FACES_CAPTION}")

    def look(self, answers: Looks) -> None:
        """What a network in training answers on the watched faces; its figures come next."""
        self._looks = answers

    @_shown
    def point(self, stage: int, before: int, point: Point) -> None:
        """A validation of a stage, behind ``before`` steps of stages before it."""
        values: dict[str, Any] = {key: value for key, value in point.items() if key not in ("step", "seconds")}
        values["phase"] = stage + 1
        if stage == self._answering:
            # The least so far: when a run goes on, W&B's own minimum forgets what it was told before.
            for key in [key for key in point if key.endswith("/nme")]:
                values[f"best/{key}"] = self._least[key] = min(point[key], self._least.get(key, point[key]))
        n, self._points[stage] = self._points[stage], self._points[stage] + 1
        answer, self._looks = self._looks.get("val"), {}
        step = before + int(point["step"])
        if self._faces and answer is not None and self.tracker.lacks(step) and has_sheet(n):
            values["val/faces"] = self._sheet(answer, f"{self._stages[stage]}, step {int(point['step'])}")
        self.tracker.point(step, values)

    @_shown
    def lineage(self, data: Mapping[str, DataRecord], split: Mapping[str, Any]) -> None:
        """The data that go into the run, as artifacts without any picture: the same version wherever they are the same."""
        for record in data.values():
            content = {key: value for key, value in asdict(record).items() if key not in ("n_train", "n_val", "moved")}
            content["parts"] = {
                name: {key: value for key, value in part.items() if key != "left_out"} | {"left_out": len(part["left_out"])}
                for name, part in content["parts"].items()
            }
            self.tracker.uses(f"data-{record.source}", "dataset", content)
        sides = {
            domain: {side: {key: of[key] for key in ("fingerprint", "n")} for side, of in sides.items()}
            for domain, sides in split.items()
        }
        self.tracker.uses("data-split", "split", sides)

    @_shown
    def result(
        self, record: RunRecord, answers: Mapping[str, Predictions], sets: Mapping[str, FaceDataset], checkpoints: bool
    ) -> None:
        """A finished run: its figures, its worst faces, and its files.

        Args:
            record: its record, which is written.
            answers: what it answers on sets of faces, by the sets' names in front of metrics.
            sets: the sets.
            checkpoints: whether its networks and adapters are kept there, too.
        """
        values: dict[str, Any] = {}
        if self._faces and (final := self._answer(answers["val"])) is not None:
            values["val/faces"] = self._sheet(final, "the run's answer")
        for file, name, caption in (
            (FACES, "val/best_to_worst", FACES_CAPTION), (MOVEMENT, "adapter/mean_face", MOVEMENT_CAPTION),
        ):  # fmt: skip
            shown = self._faces or file == MOVEMENT
            if shown and (picture := read_picture(record.folder / file)) is not None:
                values[name] = Picture(picture, caption)
        for name, predictions in answers.items():
            if name != "source_val":
                values |= _of_set(name, predictions, sets[name] if self._faces else None, record)
        self.tracker.end(sum(stage.steps for stage in record.stages), values)
        self.tracker.summary(figures(record))
        files = {name: record.folder / name for name in ("result.json", "predictions.npz")}
        self.tracker.gives(f"result-{self.tracker.place.id}", "result", files)
        if checkpoints:
            kept = {name: record.folder / name for name in record.files if name.startswith("checkpoints/")}
            self.tracker.gives(f"model-{self.tracker.place.id}", "model", kept)

    def _answer(self, predictions: Predictions) -> NDArray[np.float64] | None:
        """Answers on the watched faces [k, 68, 2] in crop pixels; None where the answers are of other faces."""
        from domaingap.data.crops import apply_transform

        dataset, (places, _, _) = self._real.val_set(), self._watched
        positions = dataset.positions[places]
        if predictions.names[places].tolist() != dataset.faces.names[positions].tolist():
            return None
        return np.asarray(apply_transform(dataset.faces.image_to_crop[positions], predictions.prediction[places]))


def has_sheet(n: int) -> bool:
    """Whether the n-th validation of a stage, counted from 0, has a sheet of faces."""
    return n % (1 << (n // EVERY_SHEET).bit_length()) == 0


def _of_set(name: str, predictions: Predictions, dataset: FaceDataset | None, record: RunRecord) -> dict[str, Any]:
    """Of a scored set: its worst faces, with their pictures where there is a dataset, its CED curve, its NME by region."""
    nme, short = predictions.nme(), name.removeprefix("test/")
    worst = np.argsort(-nme, kind="stable")[:N_WORST].tolist()
    rows = [
        [
            *([] if dataset is None else [Picture(draw_prediction(dataset, predictions, i, f"{nme[i]:.1f}", WORST_SIDE))]),
            str(predictions.names[i]),
            round(float(nme[i]), 3),
            str(predictions.box_sources[i]),
        ]
        for i in worst
    ]
    ced = (100 * ced_curve(nme, CED_PERCENT)).round(2).tolist()
    by_region = {region: record.metrics.get(f"{name}/nme_{region}") for region in IBUG68.regions}
    title = f"{short}, {len(nme)} faces"
    # A line by the run's name: W&B draws those of several runs into one picture.
    called = f"{record.strategy} n={record.n_real_train} s{record.seed}"
    return {
        f"worst_faces/{short}": Listing([*(["face"] if dataset is not None else []), "name", "nme", "box_source"], rows),
        f"ced/{short}": Lines(f"Faces (%) up to an NME: {title}", "NME (%)", CED_PERCENT.tolist(), {called: ced}),
        f"regions/{short}": Bars(
            f"NME by region: {title}", "region", "nme", {of: value for of, value in by_region.items() if value is not None}
        ),
    }


def figures(record: RunRecord) -> dict[str, Any]:
    """A run's figures under flat names; the metrics under the contract's."""
    own = ("n_real_train", "n_real_selection", "n_synthetic", "steps_answering", "steps_total", "wall_time_s")
    adapter = adapter_metrics(asdict(record.adapter)) if record.adapter is not None else {}
    apart = record.domain_distance
    distance = {"domain_distance/kid": apart.kid, "domain_distance/mmd": apart.mmd} if apart is not None else {}
    return {**record.metrics, **{name: getattr(record, name) for name in own}, **adapter, **distance}


def adapter_metrics(record: Mapping[str, Any]) -> dict[str, Any]:
    """An adapter's diagnosis under flat names."""
    values: dict[str, Any] = {f"adapter/{key}": record[key] for key in ("kind", "strength", "spread_ratio", "shape_kept")}
    for name in ("movement_predictions", "movement_labels"):
        values |= {f"adapter/{name}_{region}": value for region, value in record[name].items()}
    if (parts := record.get("parts")) is not None:
        for name in ("together", "error", "gap", "chance"):
            values |= {f"adapter/{name}_{region}": value for region, value in parts[name].items()}
        values |= {f"adapter/{name}": parts[name] for name in ("scatter_ratio", "nme_before", "nme_after")}
    return values


# How it is called


def called(recipe: str, settings: RunSettings) -> str:
    """A readable name: ``mixing α=0.5 n=50 s1``."""
    s: Any = settings
    words = [strategy(recipe, getattr(s, "alpha", None), appearance_of(s))]
    if s.fits_real:
        words.append(f"n={s.n_real if s.n_real is not None else 'all'}")
    if getattr(s, "n_synthetic", None) is not None:
        words.append(f"n_synthetic={s.n_synthetic}")
    words += [s.selection] if s.selection != "real_val" else []
    return " ".join([*words, f"s{s.seed}"])


def tags(settings: RunSettings) -> list[str]:
    """What runs are filtered by: the sources of their data, real images, and the selection rule."""
    s: Any = settings
    sources = [s.synthetic.source] if hasattr(s, "synthetic") else []
    n_real = s.n_real if s.fits_real else 0
    return [*sources, s.real.source, f"n_real={n_real if n_real is not None else 'all'}", s.selection]


def study(runs_dir: Path) -> str:
    """The study that a run is of: the name of the folder of runs. (W&B takes no longer names of groups.)"""
    return runs_dir.resolve().name[:128] or "runs"


def configuration(recipe: str, settings: RunSettings, stages: Sequence[str]) -> dict[str, Any]:
    """The settings, with what runs are sorted and compared by at the top, and the names of the phases."""
    s: Any = settings
    return {
        **plain(settings),
        "recipe": recipe,
        "strategy": strategy(recipe, getattr(s, "alpha", None), appearance_of(s)),
        "backbone": s.model.backbone,
        "crop_size": s.crop.size,
        "real_source": s.real.source,
        **({"synthetic_source": s.synthetic.source} if hasattr(s, "synthetic") else {}),
        "phases": {str(number): title for number, title in enumerate(stages, start=1)},
    }
