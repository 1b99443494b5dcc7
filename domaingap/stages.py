"""Stages of training as entries of the store: trained once, found again by content.

A network's key is a hash of all that determines its weights: network, data (by fingerprint), augmentation, settings,
seed, and what it started from. Validation picks among its checkpoints and is no part of it: a network holds the best
checkpoint for each validation set that it was trained beside, and is trained once more, to the same weights, for one
that it wasn't.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from domaingap.config import PACKAGE, AdapterConfig, FitConfig, ModelConfig, determining
from domaingap.data.datamodules import MixedDataModule, RealDataModule, SyntheticDataModule
from domaingap.errors import UserError
from domaingap.hashing import content_key, link
from domaingap.models.adapter_choice import AdapterFamily, Choice
from domaingap.models.adapter_diagnosis import diagnose, movement_warning, spread_warning
from domaingap.models.adapter_difference import Repair, choose_difference, gap_and_error
from domaingap.models.heatmaps import check_model
from domaingap.models.label_adapter import LabelAdapter
from domaingap.models.regressor import LandmarkRegressor, load_network, load_weights, network_settings, read_checkpoint
from domaingap.progress import console, detail
from domaingap.provenance import IMAGENET, PACKAGED_IMAGENET, Seen, plain_terms, read_terms, terms_of_images
from domaingap.store import Entry, Store, file_digest
from domaingap.training import WATCHED, FitResult, OnLook, OnPoint, Point, fit_stage, predict, resolve
from domaingap.watched import Looks, read_watched

NETWORK_FORMAT = 2
"""Raised when the same settings would train differently."""

ADAPTER_FORMAT = 3
"""Likewise for label adapters."""

DIFFERENCE_FORMAT = 2
"""Likewise for those that learn the difference of both domains' errors."""

TrainModule = RealDataModule | SyntheticDataModule | MixedDataModule
ValidationModule = RealDataModule | SyntheticDataModule
Use = Literal["predictions", "labels"]
"""What an adapter is applied to: a network's answers, or exact synthetic labels."""

VALIDATED_ON = {"real_val": "val", "source_val": "source_val"}
"""The validation set whose best checkpoint a selection rule takes; ``budget`` takes the last (averaged) weights."""

LAST = "last"


@dataclass(frozen=True)
class Stage:
    """A network that has been trained.

    Attributes:
        title: what progress called it.
        entry: where it lies, with what was written down of its training.
        sets: the validation sets by the names that the run has for them, as the store knows them.
    """

    title: str
    entry: Entry
    sets: Mapping[str, str]

    @property
    def fit(self) -> dict[str, Any]:
        """How it was trained."""
        return dict(self.entry.record["fit"])

    @property
    def history(self) -> list[Point]:
        """A row per validation: step, seconds, train/loss, and nme and loss of each validation set."""
        rows = [dict(row) for row in self.entry.record["history"]]
        for name, known in self.sets.items():
            for row, values in zip(rows, self.entry.record["sets"][known]["history"], strict=True):
                row.update({f"{name}/{key}": value for key, value in values.items()})
        return rows

    @property
    def best(self) -> dict[str, Point]:
        """For each validation set, the row whose checkpoint was kept."""
        by_step = {row["step"]: row for row in self.history}
        return {name: by_step[self.entry.record["sets"][known]["best"]] for name, known in self.sets.items()}

    def told(self, on_point: OnPoint | None, on_look: OnLook | None) -> None:
        """Tell of its rows and, where they were kept, of its answers on watched faces, as while it was trained."""
        sets = self.sets.items() if on_look is not None else ()
        kept = {name: read_watched(self.entry.folder / WATCHED.format(known)) for name, known in sets}
        for row in self.history:
            step = int(row["step"])
            answers: Looks = {name: by[step] for name, by in kept.items() if step in by}
            if on_look is not None and answers:
                on_look(answers)
            if on_point is not None:
                on_point(row)

    def pick(self, selection: str) -> str:
        """The checkpoint that a selection rule picks, as part of an identity."""
        return LAST if selection == "budget" else self.sets[VALIDATED_ON[selection]]

    def checkpoint(self, selection: str) -> Path:
        """Its file."""
        return self.entry.folder / _file(self.pick(selection))

    def picked_step(self, selection: str) -> int:
        """Its step, counted within this stage."""
        if selection == "budget":
            return int(self.fit["steps"])
        return int(self.best[VALIDATED_ON[selection]]["step"])

    def seen(self, selection: str) -> Seen:
        """What stands behind that checkpoint; its steps are those of the whole training that it was picked from."""
        seen = Seen.of(self.entry.record["seen"])
        if selection == "budget":
            return seen
        picked = self.entry.record["sets"][self.pick(selection)]
        licences = read_terms(picked["licences"]) if "licences" in picked else terms_of_images(picked["real"])
        return seen | Seen(selected_on=frozenset(picked["real"]), licences=licences)

    def load(self, selection: str) -> LandmarkRegressor:
        """The network that a selection rule picks."""
        return load_network(self.checkpoint(selection))


@dataclass(frozen=True)
class AdapterStage:
    """Label adapters fitted on a network's predictions: one for predictions and one for labels, or one for labels alone that
    has learned the difference of both domains' errors."""

    entry: Entry

    @property
    def seen(self) -> Seen:
        """What stands behind them."""
        return Seen.of(self.entry.record["seen"])

    def checkpoint(self, use: Use) -> Path:
        """The file of the adapter for a use."""
        return self.entry.folder / f"{use}.ckpt"

    def load(self, use: Use) -> LabelAdapter:
        """The adapter for a use."""
        return LabelAdapter.load(self.checkpoint(use))


def _file(pick: str) -> str:
    return f"{pick}.ckpt" if pick == LAST else f"best-{pick}.ckpt"


def _set_key(module: ValidationModule, monitor: str) -> str:
    """How the store knows a validation set: by content, and by what picks on it."""
    return f"{monitor}-{module.val_set().fingerprint()}"


class StageStore:
    """Networks and adapters below ``root``."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)

    def fit(
        self,
        title: str,
        model: ModelConfig,
        train: TrainModule,
        validation: Mapping[str, ValidationModule],
        fit: FitConfig,
        seed: int,
        start: tuple[Stage, str] | Path | None = None,
        on_point: OnPoint | None = None,
        also: Callable[[], list[ValidationModule]] = list,
        on_look: OnLook | None = None,
    ) -> Stage:
        """Train a network on a module's training faces, or find it trained.

        Args:
            title: what progress calls it.
            model: the network; its ``init_from`` isn't looked at.
            train: whose training faces.
            validation: on whose validation faces, by name; see :data:`VALIDATED_ON`.
            fit: how it is trained.
            seed: seed of weights, order and augmentation.
            start: whose weights it starts from: a stage and the selection rule that picks its checkpoint, or a checkpoint.
            on_point: called with each row of the history, also of one found in the store.
            also: further validation sets that others are known to need of this network.
            on_look: called before it with the answers on watched faces.
        """
        faces = train.train_set()
        check_model(model, train.crop.n_channels, train.crop.size, fit.batch_size // fit.processes)
        fit = resolve(fit, len(faces), model.backbone)
        sets = {name: _set_key(module, fit.monitor) for name, module in validation.items()}
        if start is None:
            before, began_at = Seen(), ""
        elif isinstance(start, Path):
            before, began_at = checkpoint_seen(start), _file_key(start)
        else:
            before, began_at = start[0].seen(start[1]), f"{start[0].entry.key} {start[0].pick(start[1])}"
        if model.pretrained and start is None:
            before |= Seen(licences=frozenset({PACKAGED_IMAGENET if model.pretrained == PACKAGE else IMAGENET}))
        identity = {
            "format": NETWORK_FORMAT,
            "model": determining(model, by_content=False),
            "start": began_at,
            "crop": asdict(train.crop),
            "augment": asdict(train.augment),
            "fit": {key: value for key, value in fit.values().items() if key not in ("num_workers", "monitor")},
            "seed": seed,
            "train": faces.fingerprint(),
        }
        seen = (before | faces.seen()).trained(fit.steps)
        fresh = False

        def build(folder: Path, known: dict[str, Any] | None) -> dict[str, Any]:
            nonlocal fresh
            fresh = known is None
            modules, keys = dict(validation), dict(sets)
            for module in also():
                if (key := _set_key(module, fit.monitor)) not in keys.values():
                    modules[f"also-{key}"], keys[f"also-{key}"] = module, key
            needed = {name: key for name, key in keys.items() if known is None or key not in known["sets"]}
            if known is not None:
                detail(f"  {title}: trained before, but not beside these validation faces; trained once more")
            # What a killed call left is gone on with by one that validates on the same faces under the same names: no other
            # could tell which checkpoint is the best.
            work = folder / f".training-{content_key(needed, 8)}"
            # What starts from a checkpoint needs no other weights, nor a hub to have them from.
            begun = replace(model, pretrained=model.pretrained if start is None else False)
            network = build_network(begun, train, fit, seed, list(needed))
            if begun.pretrained == PACKAGE:
                detail(f"  {title}: starts from {PACKAGED_IMAGENET.data}")
            if start is not None:
                load_weights(network, start if isinstance(start, Path) else start[0].checkpoint(start[1]))
            selected = {name: modules[name].val_set().seen().picking() for name in needed}
            detail(f"  {title}: {fit.steps} steps of {fit.batch_size} on {len(faces)} faces, {fit.precision} precision")
            result = fit_stage(
                title,
                network,
                faces,
                {name: modules[name].val_set() for name in needed},
                fit,
                seed,
                work,
                # Of one that is trained once more the rows lack what was known of it before; they are told at its end.
                (lambda point: on_point(_own(point))) if on_point is not None and fresh else None,
                {name: seen | more for name, more in {**selected, LAST: Seen()}.items()},
                on_look if fresh else None,
            )
            for name, key in needed.items():
                link(work / f"best-{name}.ckpt", folder / _file(key))
                if (answers := work / WATCHED.format(name)).is_file():  # not of a training from before they were kept
                    link(answers, folder / WATCHED.format(key))
            if known is None:
                link(work / "last.ckpt", folder / _file(LAST))
            elif not _same(work / "last.ckpt", folder / _file(LAST)):
                console.print(
                    f"{title}: trained again to other weights than before (another machine, number of threads or version); "
                    f"{folder} now holds checkpoints of both",
                    markup=False,
                )
            return {
                "title": title,
                "steps": fit.steps,
                "fit": asdict(fit),
                "n_train": len(faces),
                "seconds": result.seconds,
                "history": [{key: row[key] for key in ("step", "seconds", "train/loss")} for row in result.history],
                "seen": seen.plain(),
                "torch": torch.__version__,
                "threads": torch.get_num_threads(),
                **(known or {}),
                "sets": {
                    **(known["sets"] if known is not None else {}),
                    **{key: _validated(name, result, selected[name]) for name, key in needed.items()},
                },
            }

        entry = self.store.get(
            "stages/network",
            identity,
            build,
            f"network '{title}'",
            enough=lambda known: set(sets.values()) <= set(known["sets"]),
        )
        stage = Stage(title, entry, sets)
        if entry.reused:
            detail(f"  {title}: trained before ({stage.seen('budget').steps} steps), taken from {entry.folder}")
        if not fresh:
            stage.told(on_point, on_look)
        return stage

    def trained(self, key: str, sets: Mapping[str, ValidationModule], monitor: str) -> Stage | None:
        """A network that was trained before; None where it isn't there any more.

        Args:
            key: the network's, as a run's record has it.
            sets: the validation sets whose figures are wanted, by the names that the run has for them.
            monitor: what picked on them.
        """
        entry = self.store.entry("stages/network", key)
        known = {name: _set_key(module, monitor) for name, module in sets.items()}
        if entry is None or not set(known.values()) <= set(entry.record["sets"]):
            return None
        return Stage(str(entry.record["title"]), entry, known)

    def fit_adapter(
        self,
        network: Stage,
        picked_by: str,
        synthetic: SyntheticDataModule,
        real: RealDataModule,
        config: AdapterConfig,
        selection: str,
        seed: int,
        mirror_test: bool = False,
    ) -> AdapterStage:
        """Fit label adapters on a network's predictions of the real training faces, or find them fitted.

        That for labels learns the network's error on these faces less its error on held-out synthetic ones, unless the
        settings want it as for predictions; that for predictions is to undo the network's error, too.

        Args:
            network: the stage of a network trained on synthetic labels.
            picked_by: the selection rule that picks the network's checkpoint.
            synthetic: whose training labels the adapter for labels must leave their variety, and whose held-out faces show
                the network's own error.
            real: whose training faces the pairs are from.
            config: what kinds, and how.
            selection: ``real_val`` chooses on the real validation faces, ``budget`` by cross-validation in the pairs.
                (Of kind ``modes`` halves of the pairs choose, under both.)
            seed: of the MLP's weights and of the folds.
            mirror_test: whether the network answers by mirrored looks, too.
        """
        train, val, held_out = real.plain_train_set(), real.val_set(), synthetic.val_set()
        labels = synthetic.faces.landmarks[synthetic.train_positions]
        identity = {
            "format": ADAPTER_FORMAT,
            "network": [network.entry.key, network.pick(picked_by)],
            "adapter": determining(config),
            "train": train.fingerprint(),
            "chosen_on": "validation" if selection == "real_val" else "cross-validation",
            # Under any rule: what the adapter does is shown on these.
            "validation": val.fingerprint(),
            "synthetic": synthetic.faces.fingerprint(synthetic.train_positions),
            "seed": seed,
            **({"mirror_test": True} if mirror_test else {}),
        }
        if config.difference:
            identity |= {"difference": DIFFERENCE_FORMAT, "held_out": held_out.fingerprint()}

        def build(folder: Path, _: dict[str, Any] | None) -> dict[str, Any]:
            began = time.monotonic()
            model = network.load(picked_by)
            model.mirror_test = mirror_test
            pairs = predict(model, train)
            # Those of the validation faces also show, under any rule, what the adapter does to faces it wasn't fitted on.
            unseen = predict(model, val)
            known = predict(model, held_out)
            repair = Repair.fit(known.prediction, known.truth, config, known.photographs, seed)
            parts = gap_and_error(repair, pairs.prediction, pairs.truth)
            chosen_on = (unseen.prediction, unseen.truth) if selection == "real_val" else None
            choices: dict[Use, Choice]
            if config.difference:
                choice = choose_difference(
                    repair, pairs.prediction, pairs.truth, labels, config, chosen_on, pairs.photographs, seed
                )
                choices, like = {"labels": choice}, pairs.truth
            else:
                family = AdapterFamily(pairs.prediction, pairs.truth, config, chosen_on, pairs.photographs, seed)
                choices, like = {"predictions": family.choose(), "labels": family.choose(labels)}, None
            record: dict[str, Any] = {"n_pairs": len(pairs.truth)}
            seen = network.seen(picked_by) | train.seen() | (val.seen().picking() if selection == "real_val" else Seen())
            for use, choice in choices.items():
                adapter = choice.adapter
                adapter.save(folder / f"{use}.ckpt", seen)
                diagnosis = diagnose(adapter, unseen.prediction, labels, like)
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
                    "movement_warning": movement_warning(diagnosis, use, config.difference, parts),
                    "learned": "difference" if config.difference else "plain",
                    "parts": asdict(parts),
                }
            return {**record, "seen": seen.plain(), "seconds": round(time.monotonic() - began, 1)}

        entry = self.store.get("stages/adapter", identity, build, "label adapter")
        if entry.reused:
            detail(f"  label adapter: fitted before on {entry.record['n_pairs']} real faces, taken from {entry.folder}")
        return AdapterStage(entry)


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
        input_size=train.crop.size,
        in_channels=train.crop.n_channels,
        **network_settings(model),
        optimizer=fit.optimizer,
        lr=fit.lr,
        weight_decay=fit.weight_decay,
        schedule=fit.schedule,
        validation_names=validation_names,
    )
    network.set_mean_shape(train.mean_shape())
    network.crop = train.crop
    return network


def checkpoint_seen(path: Path) -> Seen:
    """What a checkpoint says of what it has seen; UserError where that is damaged."""
    try:
        return Seen.of(read_checkpoint(path).get("seen"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: what it says that it has seen can't be read ({error}); use another checkpoint") from error


def _own(point: Point) -> Point:
    return {key: value for key, value in point.items() if not key.startswith("also-")}


def _validated(name: str, result: FitResult, selected: Seen) -> dict[str, Any]:
    """What the record keeps of one validation set."""
    rows = [{key: row[f"{name}/{key}"] for key in ("nme", "loss")} for row in result.history]
    return {
        "history": rows,
        "best": result.best[name]["step"],
        "real": sorted(selected.selected_on),
        "licences": plain_terms(selected.licences),
    }


def _same(one: Path, other: Path) -> bool:
    a, b = (read_checkpoint(path)["state_dict"] for path in (one, other))
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def _file_key(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError as error:
        raise UserError(f"--model.init_from: {path}: {error.strerror}") from error
