"""The network: a timm backbone that regresses landmarks relative to a mean shape."""

from __future__ import annotations

import math
import reprlib
import warnings
import zipfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics import MeanMetric

from domaingap.archives import check_pickle, members, said
from domaingap.config import CropConfig, ModelConfig, Pretrained
from domaingap.data.crops import crop_record, read_crop
from domaingap.data.faces import Batch
from domaingap.errors import SettingError, UserError
from domaingap.hashing import is_number, write_archive
from domaingap.landmarks import IBUG68
from domaingap.losses import HEADS, LOSSES, loss_problem
from domaingap.metrics import NormalizedMeanError
from domaingap.models.backbone import BATCH_OF_ONE, MEAN, SCALE, check_backbone, create_backbone, differs, n_parameters
from domaingap.models.heatmaps import PRIOR, WIDTH, Pyramid, covariance, soft_argmax
from domaingap.provenance import Seen

N_LANDMARKS = 68

FIRST_SIGMA = 0.05
"""Standard deviation that an untrained network answers, in units of the crop's side: about what the mean shape is off."""
SIGMA_RANGE = 50.0
"""Standard deviations stay within ``FIRST_SIGMA`` over and times this: a face learnt by heart can't drive them to zero."""


class Answer(NamedTuple):
    """A network's answer.

    Attributes:
        points: landmarks [B, 68, 2].
        sigma: standard deviation of each landmark's x and y [B, 68] in the same unit; None of a network whose loss needs
            none.
        covariance: of each landmark's heatmap [B, 68, 2, 2] in the square of it; None of a network whose loss needs none.
    """

    points: Tensor
    sigma: Tensor | None
    covariance: Tensor | None = None


class LandmarkRegressor(pl.LightningModule):
    """Face crop → 68 landmarks in pixels of the crop.

    Args:
        backbone: any timm model that pools to a feature vector.
        input_size: side of the square input in pixels.
        in_channels: 1 for gray, 3 for RGB, or any other number.
        pretrained: start from timm's ImageNet weights, or from those of an installed package (``package``).
        loss: a name from :data:`domaingap.losses.LOSSES`; one that needs standard deviations makes the network answer
            them, three numbers a landmark in place of two.
        optimizer: ``adam`` or ``adamw``.
        lr: (peak) learning rate.
        weight_decay: decoupled weight decay, for ``adamw``.
        schedule: ``one_cycle`` over the Trainer's steps, or ``constant``.
        validation_names: names of the validation loaders in their order; metrics are logged as ``<name>/nme`` and
            ``<name>/loss``.
        head: ``regression`` from pooled features, or ``soft_argmax``: see :mod:`domaingap.models.heatmaps`. Standard
            deviations are a linear function of the pooled features, or of the mean of the fused map.
        dropout: share of features (of the fused map's channels) that the head doesn't see in training.
        drop_path: see :func:`domaingap.models.backbone.create_backbone`.

    Attributes:
        crop: how the crops that it is for are cut; None where nothing says so, as in checkpoints of earlier versions.
        sigma_factor: what the standard deviations that it learnt are multiplied by in its answers in pixels, so that they
            fit the errors on validation faces (:class:`domaingap.metrics.RootMeanSquareZ`); None where nobody measured it:
            they stay as they are. Its loss doesn't see it.
        mirror_test: whether, out of training, it answers the mean of its answers to a crop and to its mirror image. Standard
            deviations are averaged, too: the two err alike, so that of the mean is taken to be no less.

    Raises:
        UserError: an unknown backbone or loss, or pretrained weights that can't be had.
    """

    mean_shape: Tensor
    network: nn.Module
    fit_seed: int
    crop: CropConfig | None
    sigma_factor: float | None
    mirror_test: bool
    flip: Tensor
    grid: Tensor

    def __init__(
        self,
        backbone: str = "resnet18",
        input_size: int = 128,
        in_channels: int = 1,
        pretrained: Pretrained = False,
        loss: str = "rmse",
        optimizer: str = "adamw",
        lr: float = 2e-3,
        weight_decay: float = 0.05,
        schedule: str = "one_cycle",
        validation_names: Sequence[str] = ("val",),
        head: str = "regression",
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()  # makes load_from_checkpoint() work without further arguments
        self.input_size = input_size
        self.optimizer_name, self.lr, self.weight_decay, self.schedule = optimizer, lr, weight_decay, schedule
        if loss not in LOSSES:
            raise UserError(f"--model.loss: no loss {loss!r}; known: {', '.join(LOSSES)}")
        self.loss_per_face = LOSSES[loss]
        if (problem := loss_problem(loss, head)) is not None:
            raise SettingError("model.loss", problem)
        self.by_heatmaps = head == "soft_argmax"
        if self.by_heatmaps:
            pyramid = Pyramid(backbone, in_channels, input_size, pretrained, drop_path)
            self.network, width, numbers = pyramid, WIDTH, 1
            self.register_buffer("grid", pyramid.grid(input_size), persistent=False)
        else:
            self.network = create_backbone(backbone, in_channels, input_size, pretrained, drop_path)
            with torch.no_grad():
                # Asked of the network itself: timm's num_features isn't the pooled width for every family.
                width = self.network.eval()(torch.zeros(1, in_channels, input_size, input_size)).shape[1]
            numbers = 3 if self.loss_per_face.needs_sigma else 2
        self.network.train().to(memory_format=torch.channels_last)
        self.dropout = nn.Dropout2d(dropout) if self.by_heatmaps else nn.Dropout(dropout)
        self.head = nn.Linear(width, numbers * N_LANDMARKS)
        self.sigma_head = nn.Linear(width, N_LANDMARKS) if self.by_heatmaps and self.loss_per_face.needs_sigma else None
        # Small first steps: an untrained network answers the mean shape and little else.
        for layer in (self.head, *([self.sigma_head] if self.sigma_head is not None else [])):
            nn.init.normal_(layer.weight, std=1e-3)
            nn.init.zeros_(layer.bias)
        self.register_buffer("flip", torch.from_numpy(IBUG68.flip_permutation.copy()), persistent=False)
        self.register_buffer("mean_shape", torch.full((N_LANDMARKS, 2), 0.5))
        self.validation_names = list(validation_names)
        self.fit_seed = 0  # reseeds each epoch; see training.py
        self.total_steps = 0  # of the schedule; 0 for the Trainer's own
        self.crop = None
        self.sigma_factor = None
        self.mirror_test = False
        self.validation_nme = nn.ModuleList(NormalizedMeanError() for _ in self.validation_names)
        # Not Lightning's own mean, which is wrong over processes with unequal numbers of faces: it rounds their mean.
        self.validation_loss = nn.ModuleList(MeanMetric() for _ in self.validation_names)

    def set_mean_shape(self, points: NDArray[Any]) -> None:
        """Set the mean shape from mean landmarks [68, 2] in crop pixels; answers are regressed relative to it."""
        self.mean_shape.copy_(torch.from_numpy(np.asarray(points, dtype=np.float32)) / self.input_size)

    def forward(self, image: Tensor) -> Tensor:
        """Landmarks [B, 68, 2] in crop pixels of crops [B, C, S, S], uint8 or float in 0..255."""
        return self.relative(image).points * self.input_size

    def relative(self, image: Tensor) -> Answer:
        """The answer to crops [B, C, S, S], in units of the crop's side."""

        def look(crops: Tensor) -> Answer:
            seen = self.encoded(crops)
            # The answer isn't computed in 16 bits, whatever the precision of the backbone: their step is a tenth of a pixel.
            with torch.autocast(seen.device.type, enabled=False):
                return self.answer_from(seen.float())

        return self._mirrored(image, look)

    def plain_relative(self, image: Tensor) -> Answer:
        """:meth:`relative` outside of mixed precision, without the switch that no exporter takes."""
        return self._mirrored(image, lambda crops: self.answer_from(self.encoded(crops)))

    def _mirrored(self, image: Tensor, look: Callable[[Tensor], Answer]) -> Answer:
        """What ``look`` answers to crops, averaged with what it answers to their mirror images where that is asked for."""
        answer = look(image)
        if not self.mirror_test or self.training:
            return answer
        mirrored = look(image.flip(-1))
        back = mirrored.points[:, self.flip] * answer.points.new_tensor([-1.0, 1.0])
        # Pixel centres are at integers: column x of the mirror image is column S - 1 - x.
        back = back + answer.points.new_tensor([(self.input_size - 1) / self.input_size, 0.0])
        sigma = answer.sigma
        if sigma is not None and mirrored.sigma is not None:
            sigma = (sigma + mirrored.sigma[:, self.flip]) / 2
        return Answer((answer.points + back) / 2, sigma, answer.covariance)

    def answer_from(self, encoded: Tensor) -> Answer:
        """The answer to the crops of :meth:`encoded`, in units of the crop's side."""
        seen = self.dropout(encoded)
        if self.by_heatmaps:
            return self._answer_by_heatmaps(seen)
        numbers = self.head(seen).unflatten(-1, (N_LANDMARKS, -1))
        points: Tensor = self.mean_shape + 0.25 * numbers[..., :2]
        return Answer(points, _sigma_of(numbers[..., 2]) if self.loss_per_face.needs_sigma else None)

    def _answer_by_heatmaps(self, fused: Tensor) -> Answer:
        # Untrained, a heatmap is a bump at the mean shape: uniform ones learn slowly, and their mean is the centre.
        off = self.grid[None] - self.mean_shape[:, None]
        logits = self.head(fused.flatten(2).mT).mT - off.square().sum(dim=-1) / (2 * PRIOR**2)
        points, heat = soft_argmax(logits, self.grid)
        sigma = _sigma_of(self.sigma_head(_pooled(fused))) if self.sigma_head is not None else None
        spread = covariance(heat, self.grid, points) if self.loss_per_face.needs_covariance else None
        return Answer(points, sigma, spread)

    def features(self, image: Tensor) -> Tensor:
        """Pooled features [B, F] of crops [B, C, S, S], uint8 or float in 0..255: what the head regresses landmarks from, or
        the mean over places of what it makes heatmaps from."""
        return _pooled(self.encoded(image))

    def encoded(self, image: Tensor) -> Tensor:
        """What the head sees of crops [B, C, S, S], uint8 or float in 0..255: pooled features [B, F], or for heatmaps the
        fused map [B, F, h, w]."""
        scaled = ((image.float() - MEAN) / SCALE).contiguous(memory_format=torch.channels_last)
        try:
            seen: Tensor = self.network(scaled)
        except ValueError as error:
            if self.training and len(image) == 1:
                problem = BATCH_OF_ONE.format(self.hparams["backbone"], self.input_size)
                raise SettingError("fit.batch_size", problem) from error
            raise
        return seen

    def batch_loss(self, batch: Batch) -> Tensor:
        """Plain mean over the batch of each face's loss."""
        return self._loss(self.relative(batch["image"]), batch)

    def _loss(self, answer: Answer, batch: Batch) -> Tensor:
        return self.loss_per_face(
            answer.points, batch["landmarks"] / self.input_size, answer.sigma, answer.covariance
        ).mean()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = self.batch_loss(batch)
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=len(batch["image"]), sync_dist=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        name, metric = self.validation_names[dataloader_idx], self.validation_nme[dataloader_idx]
        answer = self.relative(batch["image"])
        assert isinstance(metric, NormalizedMeanError)
        metric.update(to_image(answer.points * self.input_size, batch["crop_to_image"]), batch["truth"])
        mean_loss: Any = self.validation_loss[dataloader_idx]
        mean_loss.update(self._loss(answer, batch), len(batch["image"]))
        options: dict[str, Any] = {"add_dataloader_idx": False, "batch_size": len(batch["image"])}
        self.log(f"{name}/loss", mean_loss, **options)
        self.log(f"{name}/nme", metric, **options)  # type: ignore[arg-type]

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Answer:
        """The answer in original-image pixels, in double precision."""
        points, sigma, _ = self.relative(batch["image"])
        to_original = batch["crop_to_image"]
        if sigma is not None:
            # A similarity turns a circle into a circle, as many times larger as the root of its determinant says.
            scale = torch.linalg.det(to_original[:, :, :2].double()).abs().sqrt()
            sigma = self.sigma_in_crop(sigma.double()) * scale[:, None]
        return Answer(to_image(points * self.input_size, to_original), sigma)

    def sigma_in_crop(self, sigma: Tensor) -> Tensor:
        """Standard deviations in pixels of the crop, scaled by ``sigma_factor``, of those in units of its side."""
        return sigma * (self.input_size * (1.0 if self.sigma_factor is None else self.sigma_factor))

    def configure_optimizers(self) -> Any:
        if self.optimizer_name == "adam":
            optimizer: torch.optim.Optimizer = torch.optim.Adam(self.parameters(), lr=self.lr)
        else:
            # Norm scales and biases aren't decayed: they have few parameters and decay only biases them.
            matrices = [p for p in self.parameters() if p.requires_grad and p.ndim > 1]
            others = [p for p in self.parameters() if p.requires_grad and p.ndim <= 1]
            groups: list[dict[str, Any]] = [{"params": matrices}, {"params": others, "weight_decay": 0.0}]
            # One pass over each tensor: on a CPU five times as fast, of what was a sixth of a training step.
            optimizer = torch.optim.AdamW(groups, lr=self.lr, weight_decay=self.weight_decay, fused=True)
        if self.schedule == "constant":
            return optimizer
        steps = self.total_steps or int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.lr, total_steps=max(steps, 2), pct_start=0.15)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _sigma_of(numbers: Tensor) -> Tensor:
    """Standard deviations in units of the crop's side from a layer's numbers, their logarithms.

    Bounded smoothly, since beyond a hard bound nothing would bring them back.
    """
    most = math.log(SIGMA_RANGE)
    return FIRST_SIGMA * (most * (numbers / most).tanh()).exp()


def _pooled(encoded: Tensor) -> Tensor:
    return encoded if encoded.ndim == 2 else encoded.mean(dim=(-1, -2))


def network_settings(model: ModelConfig) -> dict[str, Any]:
    """The arguments of :class:`LandmarkRegressor` that a run's ``model`` settings are."""
    return {name: getattr(model, name) for name in ("backbone", "pretrained", "loss", "head", "dropout", "drop_path")}


def to_image(points: Tensor, crop_to_image: Tensor) -> Tensor:
    """Points [B, n, 2] in crop pixels → original-image pixels, in double precision."""
    transform = crop_to_image.double()
    return points.double() @ transform[:, :, :2].mT + transform[:, None, :, 2]


def load_weights(model: LandmarkRegressor, checkpoint: Path | str) -> None:
    """Load the weights, and nothing else, of a checkpoint into a model.

    Raises:
        UserError: no such file, not a checkpoint, or one of another network.
    """
    state = read_checkpoint(checkpoint)["state_dict"]
    if problem := differs(state, model):
        raise UserError(
            f"{checkpoint}: a checkpoint of another network ({problem}); "
            "give its --model.backbone, --model.head, --model.loss and --crop.channels"
        )
    model.load_state_dict(state)


def load_network(checkpoint: Path | str) -> LandmarkRegressor:
    """A network from its checkpoint, which says what network it is; UserError where that can't be read."""
    content = read_checkpoint(checkpoint)
    settings = content.get("hyper_parameters")
    if not isinstance(settings, dict):
        raise UserError(f"{checkpoint}: not a checkpoint of this suite (it has no hyper_parameters); {OURS}")
    for key, value in settings.items():
        if key != "pretrained" and not (key in SETTINGS and SETTINGS[key](value)):
            raise UserError(
                f"{checkpoint}: not a checkpoint of this suite (hyper_parameters: {key} is {reprlib.repr(value)}); {OURS}"
            )
    # Whatever the file says, nothing is fetched for it.
    own = {"backbone": "resnet18", **settings, "pretrained": False}
    n_weights = sum(value.numel() for value in content["state_dict"].values())
    try:
        check_backbone(own["backbone"])
        # Before it is made in earnest, which finds out what it takes.
        too_few = n_parameters(own["backbone"], own.get("in_channels", 1)) > 2 * n_weights
    except SettingError as error:
        of = error.key.rpartition(".")[2]
        raise UserError(f"{checkpoint}: its network can't be built here ({of} {error.problem}); {OURS}") from error
    if too_few:
        raise UserError(f"{checkpoint}: its weights aren't those of its network (they are too few); {OURS}")
    try:
        with torch.device("meta"):  # sizes alone: those that don't fit the weights are never made
            problem = differs(content["state_dict"], LandmarkRegressor(**own))
    except (RuntimeError, ValueError, TypeError, AssertionError, UserError) as error:
        raise UserError(f"{checkpoint}: its network can't be built ({said(error)}); {OURS}") from error
    if problem is not None:
        raise UserError(f"{checkpoint}: its weights aren't those of its network ({problem}); {OURS}")
    crop = _crop_of(content, checkpoint, own)
    factor = content.get("sigma_factor")
    if factor is not None and not (is_number(factor) and 0 < factor < math.inf):
        raise UserError(f"{checkpoint}: damaged, its sigma_factor is {reprlib.repr(factor)}; {OURS}")
    if type(mirror := content.get("mirror_test", False)) is not bool:
        raise UserError(f"{checkpoint}: damaged, its mirror_test is {reprlib.repr(mirror)}; {OURS}")
    model = LandmarkRegressor(**own)
    model.load_state_dict(content["state_dict"])
    model.crop, model.sigma_factor, model.mirror_test = crop, factor, mirror
    return model


def _crop_of(content: dict[str, Any], checkpoint: Path | str, settings: dict[str, Any]) -> CropConfig | None:
    """What a checkpoint says of the crops that its network is for; None where it says nothing."""
    if content.get("crop") is None:
        return None
    try:
        crop = read_crop(content["crop"])
    except ValueError as error:
        raise UserError(f"{checkpoint}: {error}; {OURS}") from error
    own = (settings.get("input_size", 128), settings.get("in_channels", 1))
    if own != (crop.size, crop.n_channels):
        raise UserError(
            f"{checkpoint}: damaged, its network is for {own[0]} px crops of {own[1]} channels, and it says "
            f"{crop.size} px {crop.channels}; {OURS}"
        )
    return crop


def _is_whole(least: int, most: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= most


SETTINGS: dict[str, Callable[[Any], bool]] = {
    "backbone": lambda value: isinstance(value, str),
    "input_size": _is_whole(1, 2048),
    "in_channels": _is_whole(1, 1024),
    "loss": lambda value: isinstance(value, str) and value in LOSSES,
    "head": lambda value: isinstance(value, str) and value in HEADS,
    "dropout": lambda value: is_number(value) and 0 <= value < 1,
    "drop_path": lambda value: is_number(value) and 0 <= value < 1,
    "optimizer": lambda value: isinstance(value, str),
    "lr": is_number,
    "weight_decay": is_number,
    "schedule": lambda value: isinstance(value, str),
    "validation_names": lambda value: isinstance(value, list | tuple) and all(isinstance(name, str) for name in value),
}
"""What a checkpoint's ``hyper_parameters`` must be: :class:`LandmarkRegressor`'s arguments but for ``pretrained``."""

OURS = "give a .ckpt of this suite"


def read_checkpoint(path: Path | str) -> dict[str, Any]:
    """A Lightning checkpoint's content, weights on the processor.

    Nothing in it is run, and no more memory taken than the file is large: PyTorch unpickles tensors and plain values alone
    (``weights_only``), and what it doesn't look at is looked at here: packed members, and tensors larger than their storage.

    Raises:
        UserError: no such file, or one that is no checkpoint.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # as torch.save has written since 1.6
            infos = members(archive, Path(path).stat().st_size, packed=False)
            if (damaged := archive.testzip()) is not None:  # PyTorch doesn't look at checksums
                raise ValueError(f"the checksum of {damaged} differs")
            for info in infos:
                if info.filename.endswith("data.pkl"):
                    check_pickle(archive.read(info))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a TorchScript archive, which is refused
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such checkpoint") from error
    except Exception as error:  # whatever zipfile, pickle and PyTorch make of foreign bytes
        # PyTorch's own words are a page, and advise to load it in ways that run code.
        what = said(error) if isinstance(error, zipfile.BadZipFile | ValueError) else type(error).__name__
        raise UserError(f"{path}: can't be read as a checkpoint ({what}); {OURS}") from error
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise UserError(f"{path}: holds no network's weights; {OURS}")
    for key, value in state.items():
        if problem := _odd(value):
            raise UserError(f"{path}: can't be read as a checkpoint ({key} {problem}); {OURS}")
    return content  # type: ignore[no-any-return]


def _odd(value: Any) -> str | None:
    """What keeps a value from being a weight; None where nothing does."""
    if not isinstance(value, Tensor):
        return "isn't a tensor"
    if value.layout != torch.strided or value.is_quantized or value.is_meta or value.is_complex():
        return "isn't a plain tensor"
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        return "claims to be larger than it is"
    if value.is_floating_point() and not bool(torch.isfinite(value).all()):
        return "isn't finite"
    return None


def save_network(
    model: LandmarkRegressor, path: Path, state: dict[str, Tensor] | None = None, seen: Seen | None = None
) -> None:
    """Save weights (the model's own, or ``state``) so that ``LandmarkRegressor.load_from_checkpoint(path)`` works; with what
    they have ``seen``, and with how to crop, ``sigma_factor`` and ``mirror_test`` where the model knows them."""
    content: dict[str, Any] = {
        "state_dict": state if state is not None else model.state_dict(),
        # Weights follow: nothing is to be fetched when they are loaded.
        "hyper_parameters": {**model.hparams, "pretrained": False},
        "pytorch-lightning_version": version("pytorch-lightning"),
        "seen": seen.plain() if seen is not None else None,
        "crop": crop_record(model.crop) if model.crop is not None else None,
    }
    if model.sigma_factor is not None:
        content["sigma_factor"] = model.sigma_factor
    if model.mirror_test:
        content["mirror_test"] = True
    write_archive(path, lambda file: torch.save(content, file))


def copy_with(source: Path, target: Path, **said: float | bool) -> None:
    """A checkpoint as it is but for what it says of its network: ``sigma_factor``, ``mirror_test``."""
    content = {**read_checkpoint(source), **said}
    write_archive(target, lambda file: torch.save(content, file))
