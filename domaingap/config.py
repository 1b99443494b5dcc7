"""Settings as typed, frozen dataclasses; the command line's schema is made of them. No heavy import here."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal

from domaingap.errors import UserError
from domaingap.hashing import plain
from domaingap.losses import LOSSES
from domaingap.sources import source

Selection = Literal["real_val", "budget", "source_val"]

PLACE = {"determines": "nothing"}
"""Marks a setting that changes no figure: where files lie, what is tracked, whether tests are scored now or later."""
BY_CONTENT = {"determines": "by content"}
"""Marks a path whose file or folder determines figures by its content, wherever it lies."""


@dataclass(frozen=True)
class CropConfig:
    """How a face is cut out, by the same rule in every domain and at test.

    Args:
        size: side of the network's input in pixels.
        channels: what the network sees.
        box: face box from the detector, or from the annotation (oracle boxes, named so in results).
        scale: side of the crop as a multiple of the face box's size (the root of its area).
    """

    size: int = 128
    channels: Literal["gray", "rgb"] = "gray"
    box: Literal["mtcnn", "landmarks"] = "mtcnn"
    scale: float = 1.3

    @property
    def pad(self) -> int:
        """Extra pixels stored on each side, so that rotation and shift find real picture there."""
        return self.size // 8

    @property
    def stored_size(self) -> int:
        return self.size + 2 * self.pad

    @property
    def n_channels(self) -> int:
        return 1 if self.channels == "gray" else 3


@dataclass(frozen=True)
class AugmentConfig:
    """Augmentation of training faces; validation and test are never augmented.

    Args:
        strength: one dial for all of it: 0 is none, 1 the recommended setting, up to 2.
        photometric: contrast, brightness, gamma, blur, noise, compression, grayscale; saturation and hue for RGB.
        geometric: rotation, scale, shift, crop.
        mirror: left-right mirror with the landmarks' indices swapped.
        occlusion: rectangles over parts of the face.
    """

    strength: float = 1.0
    photometric: bool = True
    geometric: bool = True
    mirror: bool = True
    occlusion: bool = True


@dataclass(frozen=True)
class GeneratedConfig:
    """Generated faces of the synthetic domain.

    Args:
        n: faces; those of a smaller number are the first of a larger one.
        seed: of the whole set.
    """

    n: int = 3000
    seed: int = 1

    def __post_init__(self) -> None:
        # Here, and not by the generator: a wrong value is found before anything is made.
        if self.n < 1:
            raise UserError(f"synthetic.generated.n is {self.n}; give at least 1")
        _check_seed("synthetic.generated.seed", self.seed)


@dataclass(frozen=True)
class TargetConfig:
    """Generated faces of the target domain, which stand in for real ones.

    Args:
        n_train: faces to train on and to validate on.
        n_test: faces of the test set; the same ones whatever n_train is.
        seed: of the whole set.
        label_gap: 0 to 1, from labels as synthetic faces have them to labels as people set them.
        appearance_gap: 0 to 1, other light, textures, backgrounds, and a camera.
        population_gap: 0 to 1, other identities, expressions and poses.
    """

    n_train: int = 2300
    n_test: int = 500
    seed: int = 1
    label_gap: float = 1.0
    appearance_gap: float = 1.0
    population_gap: float = 1.0

    def __post_init__(self) -> None:
        for name in ("n_train", "n_test"):
            if not 1 <= getattr(self, name) <= MAX_FACES:
                raise UserError(f"real.generated.{name} is {getattr(self, name)}; it lies between 1 and {MAX_FACES}")
        for name in ("label_gap", "appearance_gap", "population_gap"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"real.generated.{name} is {getattr(self, name)}; it lies between 0 and 1")
        _check_seed("real.generated.seed", self.seed)


MAX_FACES = 500_000
"""Of a part of the generated target domain: its test faces are numbered from here on."""


def _check_seed(name: str, seed: int) -> None:
    if seed < 0:
        raise UserError(f"{name} is {seed}; give 0 or more")


@dataclass(frozen=True)
class RealConfig:
    """Real faces: photographs, or generated faces that stand in for them.

    Args:
        parts: parts of the release by name, comma-separated (of 300-W afw,helen,lfpw,ibug,private); all that are present by
            default.
        n_val: faces of the validation subset, drawn from the training part by a fixed seed and never trained on.
        root: the release's folder, below the data root or absolute; the source's usual name by default.
        source: whose faces: 300w, or generated_target, which needs no download.
        generated: the faces of generated_target.
    """

    parts: str | None = None
    n_val: int = 300
    root: Path | None = field(default=None, metadata=BY_CONTENT)
    source: str = "300w"
    generated: TargetConfig = TargetConfig()

    def __post_init__(self) -> None:
        source(self.source, "real", "real.source")


@dataclass(frozen=True)
class SyntheticConfig:
    """Synthetic faces: one source per run.

    Args:
        source: whose renderings, hence which label convention: face_synthetics, synthface, dgfaces or generated.
        val_split: share of the synthetic images held out of training.
        root: the release's folder, below the data root or absolute; the source's usual name by default.
        generated: the faces of source generated, which need no download.
    """

    source: str = "face_synthetics"
    val_split: float = 0.1
    root: Path | None = field(default=None, metadata=BY_CONTENT)
    generated: GeneratedConfig = GeneratedConfig()

    def __post_init__(self) -> None:
        source(self.source, "synthetic", "synthetic.source")


@dataclass(frozen=True)
class ModelConfig:
    """The network.

    Args:
        backbone: any timm model, for example resnet18, resnet50, legacy_xception, mobilenetv3_small_100.
        pretrained: start from timm's ImageNet weights (fetched once from the Hugging Face hub).
        loss: loss between predicted and true landmarks, in units of the crop's side, averaged over the batch; with
            gaussian_nll the network answers a standard deviation of each landmark, too.
        init_from: checkpoint whose weights the first stage starts from.
    """

    backbone: str = "resnet18"
    pretrained: bool = False
    loss: Literal[tuple(LOSSES)] = "rmse"  # type: ignore[valid-type] # an entry there is an option here
    init_from: Path | None = field(default=None, metadata=BY_CONTENT)


@dataclass(frozen=True)
class FitConfig:
    """One stage of training. Optimiser steps, not epochs, set the length; a small domain starts again.

    Args:
        steps: optimiser steps.
        epochs: length in passes over the training images instead (takes the place of steps).
        batch_size: faces per step.
        optimizer: adamw with a one-cycle schedule and averaged weights is recommended; adam is the original study's.
        lr: (peak) learning rate.
        weight_decay: decoupled for adamw.
        schedule: one_cycle warms up and decays to zero; constant does neither.
        ema: decay of the exponential moving average of the weights that validation and test see; 0 is off.
        val_every: steps between validations, of which one comes after the last step; about a sixteenth of the stage by
            default.
        monitor: what picks the checkpoint on the selection rule's faces.
        precision: auto takes bf16 where the processor computes in it, 32 otherwise.
        num_workers: loader processes; auto takes none without a GPU (training fills the cores) and several beside one.
    """

    steps: int = 3200
    epochs: int | None = None
    batch_size: int = 32
    optimizer: Literal["adam", "adamw"] = "adamw"
    lr: float = 2e-3
    weight_decay: float = 0.05
    schedule: Literal["one_cycle", "constant"] = "one_cycle"
    ema: float = 0.995
    val_every: int | None = None
    monitor: Literal["nme", "loss"] = "nme"
    precision: Literal["auto", "32", "bf16"] = "auto"
    num_workers: int | Literal["auto"] = "auto"


@dataclass(frozen=True)
class FineTuneConfig:
    """The second stage of fine_tuning: fresh optimiser, everything not named here as in fit.

    Args:
        steps: optimiser steps; a quarter of the first stage by default.
        lr: (peak) learning rate; a quarter of the first stage by default.
    """

    steps: int | None = None
    lr: float | None = None

    def of(self, fit: FitConfig) -> FitConfig:
        """The second stage's settings, from the resolved first stage's."""
        steps = self.steps if self.steps is not None else max(1, fit.steps // 4)
        return replace(fit, steps=steps, epochs=None, lr=self.lr if self.lr is not None else fit.lr / 4, val_every=None)


@dataclass(frozen=True)
class AdapterConfig:
    """The label adapter: from synthetic-style landmarks to the annotators' style.

    Args:
        kind: auto chooses among all kinds by the run's selection rule; or always this one (its strength, ridge penalty
            and number of epochs are still chosen).
        hidden: width of the MLP's hidden layer.
        epochs: length of the MLP's training.
        folds: folds of the cross-validation that chooses under selection budget.
        min_spread: share of the shape spread of true synthetic labels, and of each one's own shape, that an adapter for
            labels has to keep (nor may the spread exceed the inverse); 0 allows any.
    """

    kind: Literal["auto", "identity", "shift", "linear", "mlp"] = "auto"
    hidden: int = 64
    epochs: int = 600
    folds: int = 5
    min_spread: float = 0.95

    def __post_init__(self) -> None:
        # Here rather than where they are used: a network has been trained by then.
        if self.kind not in ("auto", "identity", "shift", "linear", "mlp"):
            raise UserError(f"adapter.kind {self.kind!r} is unknown; known: auto, identity, shift, linear, mlp")
        for name, least in (("epochs", 20), ("hidden", 1), ("folds", 2)):
            if getattr(self, name) < least:
                raise UserError(f"adapter.{name} is {getattr(self, name)}; give at least {least}")
        if not 0 <= self.min_spread <= 1:
            raise UserError(f"adapter.min_spread is {self.min_spread}; it lies between 0 and 1")


@dataclass(frozen=True)
class WandbConfig:
    """Weights & Biases.

    Args:
        mode: auto is online when logged in and offline otherwise; off writes nothing.
        project: W&B project.
        entity: W&B user or team; the default of the login otherwise.
        group: runs that belong together; recipe and data by default.
        tags: comma-separated.
    """

    mode: Literal["auto", "online", "offline", "off"] = "auto"
    project: str = "domaingap"
    entity: str | None = None
    group: str | None = None
    tags: str = ""


@dataclass(frozen=True)
class RunSettings:
    """What every recipe can be told.

    Args:
        data_root: folder that holds the data sets.
        seed: of weights, subsets, order and augmentation.
        selection: what picks checkpoints and the adapter. real_val: the real validation subset. budget: nothing beyond the
            n real images; networks are picked on held-out synthetic images or are the last averaged weights, the adapter is
            chosen by cross-validation. source_val: held-out synthetic images.
        real: real data.
        crop: face crops.
        augment: augmentation.
        model: network.
        fit: training of each network from scratch.
        wandb: Weights & Biases.
        runs_dir: where runs and finished stages are kept.
        prepared_dir: where prepared crops are kept.
        score_test: score the test sets; given later, a finished run is scored then.
    """

    data_root: Path = field(default=Path("data"), metadata=PLACE)
    seed: int = 0
    selection: Literal["real_val", "budget"] = "real_val"
    real: RealConfig = RealConfig()
    crop: CropConfig = CropConfig()
    augment: AugmentConfig = AugmentConfig()
    model: ModelConfig = ModelConfig()
    fit: FitConfig = FitConfig()
    wandb: WandbConfig = field(default=WandbConfig(), metadata=PLACE)
    runs_dir: Path = field(default=Path("runs"), metadata=PLACE)
    prepared_dir: Path = field(default=Path("prepared"), metadata=PLACE)
    score_test: bool = field(default=True, metadata=PLACE)


def determining(settings: Any, by_content: bool = True) -> dict[str, Any]:
    """A dataclass of settings as plain values, without those that determine nothing.

    ``by_content`` keeps paths whose content determines something. Settings of generated faces are left out where faces
    are read from files.
    """
    values: dict[str, Any] = {}
    for item in fields(settings):
        value, what = getattr(settings, item.name), item.metadata.get("determines")
        if what == "nothing" or (what == "by content" and not by_content):
            continue
        if item.name == "generated" and source(settings.source).folder is not None:
            continue
        values[item.name] = determining(value, by_content) if is_dataclass(value) else plain(value)
    return values
