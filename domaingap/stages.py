"""The store of finished stages: trained once, found again by content.

A stage's key is a hash of all that determines its weights: network, data (by fingerprint), augmentation, settings,
seed, and the stage it started from. ``stage.json`` is written last: a folder without it isn't finished, and training
goes on there from its last checkpoint.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from domaingap.config import AdapterConfig, FitConfig, ModelConfig
from domaingap.data.datamodules import MixedDataModule, RealDataModule, SyntheticDataModule
from domaingap.errors import UserError
from domaingap.hashing import content_key, digest, write_json
from domaingap.models.adapter_choice import AdapterFamily
from domaingap.models.adapter_diagnosis import diagnose, movement_warning, spread_warning
from domaingap.models.label_adapter import LabelAdapter
from domaingap.models.regressor import LandmarkRegressor, check_backbone, load_weights, read_checkpoint
from domaingap.progress import detail
from domaingap.training import OnPoint, Point, fit_stage, predict, resolve

FORMAT = 1
"""Raised when the same settings would train differently."""

ADAPTER_FORMAT = 2
"""Likewise for label adapters."""

TrainModule = RealDataModule | SyntheticDataModule | MixedDataModule
Use = Literal["predictions", "labels"]
"""What an adapter is applied to: a network's answers, or exact synthetic labels."""

VALIDATED_ON = {"real_val": "val", "source_val": "source_val"}
"""The validation set whose best checkpoint a selection rule takes; ``budget`` takes the last (averaged) weights."""


@dataclass(frozen=True)
class Stage:
    """A finished stage of training.

    Attributes:
        key: its identity by content.
        title: what progress called it.
        folder: where its checkpoints lie.
        record: settings, history and times, as in ``stage.json``.
        reused: found in the store rather than trained now.
    """

    key: str
    title: str
    folder: Path
    record: dict[str, Any]
    reused: bool

    @property
    def steps(self) -> int:
        """Optimiser steps behind these weights, those of earlier stages included."""
        return int(self.record["steps"])

    @property
    def history(self) -> list[Point]:
        return list(self.record["history"])

    def checkpoint(self, selection: str) -> Path:
        """The checkpoint that a selection rule picks."""
        if selection == "budget":
            return self.folder / "last.ckpt"
        return self.folder / f"best-{VALIDATED_ON[selection]}.ckpt"

    def picked_step(self, selection: str) -> int:
        """The step, counted within this stage, of the checkpoint that a selection rule picks."""
        if selection == "budget":
            return int(self.record["fit"]["steps"])
        return int(self.record["best"][VALIDATED_ON[selection]]["step"])

    def load(self, selection: str) -> LandmarkRegressor:
        """The network that a selection rule picks."""
        return load_network(self.checkpoint(selection))


@dataclass(frozen=True)
class AdapterStage:
    """Label adapters fitted on a network's predictions: one for predictions, one for labels.

    Attributes:
        key: identity by content.
        folder: where they lie, as ``predictions.ckpt`` and ``labels.ckpt``.
        record: what was chosen from what, and the diagnosis, as in ``stage.json``.
        reused: found in the store rather than fitted now.
    """

    key: str
    folder: Path
    record: dict[str, Any]
    reused: bool

    def checkpoint(self, use: Use) -> Path:
        """The file of the adapter for a use."""
        return self.folder / f"{use}.ckpt"

    def load(self, use: Use) -> LabelAdapter:
        """The adapter for a use."""
        return LabelAdapter.load(self.checkpoint(use))


def load_network(checkpoint: Path) -> LandmarkRegressor:
    """A network from its checkpoint; UserError where that can't be read."""
    try:
        model = LandmarkRegressor(**read_checkpoint(checkpoint)["hyper_parameters"])
    except (KeyError, TypeError) as error:
        raise UserError(f"{checkpoint}: not a checkpoint of this suite ({error})") from error
    load_weights(model, checkpoint)
    return model


class StageStore:
    """Finished stages below ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def fit(
        self,
        title: str,
        model: ModelConfig,
        train: TrainModule,
        validation: Mapping[str, RealDataModule | SyntheticDataModule],
        fit: FitConfig,
        seed: int,
        start: tuple[Stage, str] | None = None,
        on_point: OnPoint | None = None,
    ) -> Stage:
        """Train a network on a module's training faces, or find it trained.

        Args:
            title: what progress calls it.
            model: the network.
            train: whose training faces.
            validation: on whose validation faces, by name; see :data:`VALIDATED_ON`.
            fit: how it is trained.
            seed: seed of weights, order and augmentation.
            start: the stage, and the selection rule that picks its checkpoint, whose weights it starts from.
            on_point: called with each row of the history, also of one found in the store.
        """
        faces = train.train_set()
        check_backbone(model.backbone)
        fit = resolve(fit, len(faces), model.backbone)
        identity: dict[str, Any] = {
            "format": FORMAT,
            "model": {**asdict(model), "init_from": _file_key(model.init_from) if start is None else None},
            "crop": asdict(train.crop),
            "augment": asdict(train.augment),
            "fit": {key: value for key, value in asdict(fit).items() if key != "num_workers"},
            "seed": seed,
            "train": faces.fingerprint(),
            "validation": {name: m.faces.fingerprint(m.val_positions) for name, m in validation.items()},
            "start": [start[0].key, start[1]] if start is not None else None,
        }
        key = content_key(identity)
        folder = self.root / key
        if (folder / "stage.json").is_file():
            stage = Stage(key, title, folder, _read_record(folder / "stage.json"), reused=True)
            detail(f"  {title}: trained before ({stage.record['steps']} steps), taken from {folder}")
            if on_point is not None:
                for point in stage.history:
                    on_point(point)
            return stage
        network = build_network(model, train, fit, seed, list(validation))
        if start is not None:
            load_weights(network, start[0].checkpoint(start[1]))
        elif model.init_from is not None:
            load_weights(network, model.init_from)
        detail(f"  {title}: {fit.steps} steps of {fit.batch_size} on {len(faces)} faces, {fit.precision} precision")
        result = fit_stage(
            title, network, faces, {name: m.val_set() for name, m in validation.items()}, fit, seed, folder, on_point
        )
        record = {
            "title": title,
            "steps": fit.steps + (start[0].steps if start is not None else 0),
            "n_train": len(faces),
            "seconds": result.seconds,
            "best": result.best,
            "history": result.history,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            **identity,
        }
        write_json(folder / "stage.json", record)
        return Stage(key, title, folder, record, reused=False)

    def fit_adapter(
        self,
        network: Stage,
        picked_by: str,
        synthetic: SyntheticDataModule,
        real: RealDataModule,
        config: AdapterConfig,
        selection: str,
        seed: int,
    ) -> AdapterStage:
        """Fit label adapters on a network's predictions of the real training faces, or find them fitted.

        Args:
            network: the stage of a network trained on synthetic labels.
            picked_by: the selection rule that picks the network's checkpoint.
            synthetic: whose training labels the adapter for labels must leave their variety.
            real: whose training faces the pairs are from.
            config: what kinds, and how.
            selection: ``real_val`` chooses on the real validation faces, ``budget`` by cross-validation in the pairs.
            seed: of the MLP's weights and of the folds.
        """
        train, val = real.plain_train_set(), real.val_set()
        labels = synthetic.faces.landmarks[synthetic.train_positions]
        identity: dict[str, Any] = {
            "format": ADAPTER_FORMAT,
            "network": [network.key, picked_by],
            "adapter": asdict(config),
            "train": train.fingerprint(),
            "chosen_on": val.fingerprint() if selection == "real_val" else "cross-validation",
            "synthetic": synthetic.faces.fingerprint(synthetic.train_positions),
            "seed": seed,
        }
        key = content_key(identity)
        folder = self.root / key
        if (folder / "stage.json").is_file():
            stage = AdapterStage(key, folder, _read_record(folder / "stage.json"), reused=True)
            detail(f"  label adapter: fitted before on {stage.record['n_pairs']} real faces, taken from {folder}")
            return stage
        began = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        model = network.load(picked_by)
        pairs = predict(model, train)
        # Those of the validation faces also show, under any rule, what the adapter does to faces it wasn't fitted on.
        unseen = predict(model, val)
        family = AdapterFamily(
            pairs.prediction,
            pairs.truth,
            config,
            (unseen.prediction, unseen.truth) if selection == "real_val" else None,
            pairs.photographs,
            seed,
        )
        uses: dict[Use, Any] = {"predictions": None, "labels": labels}
        record: dict[str, Any] = {"title": "label adapter", "n_pairs": family.n_pairs}
        for use, keep in uses.items():
            choice = family.choose(keep)
            adapter = choice.adapter
            adapter.save(folder / f"{use}.ckpt")
            diagnosis = diagnose(adapter, unseen.prediction, labels)
            record[use] = {
                "kind": adapter.kind,
                "strength": adapter.strength,
                "setting": adapter.setting,
                "chosen_on": choice.chosen_on,
                "nme_before": choice.before,
                "nme": choice.nme,
                "nme_by_kind": choice.scores,
                **diagnosis,
                "warning": spread_warning(diagnosis, use),
                "movement_warning": movement_warning(diagnosis, use),
            }
        record |= {"seconds": round(time.monotonic() - began, 1), **identity}
        write_json(folder / "stage.json", record)
        return AdapterStage(key, folder, record, reused=False)


def build_network(
    model: ModelConfig,
    train: TrainModule,
    fit: FitConfig,
    seed: int,
    validation_names: list[str],
) -> LandmarkRegressor:
    """A network with seeded initial weights and the mean shape of the training faces."""
    torch.manual_seed(seed)
    network = LandmarkRegressor(
        backbone=model.backbone,
        input_size=train.crop.size,
        in_channels=train.crop.n_channels,
        pretrained=model.pretrained,
        loss=model.loss,
        optimizer=fit.optimizer,
        lr=fit.lr,
        weight_decay=fit.weight_decay,
        schedule=fit.schedule,
        validation_names=validation_names,
    )
    network.set_mean_shape(train.mean_shape())
    return network


def _file_key(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return digest([path.read_bytes()])
    except OSError as error:
        raise UserError(f"--model.init_from: {path}: {error.strerror}") from error


def _read_record(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error}); delete its folder to train this stage again") from error
