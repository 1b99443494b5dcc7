"""A trained network as a function of crops, from a run's folder, a checkpoint or an exported file.

What follows a network's answer is the same for all of them::

    model = load_model("runs/real_only-...")
    transform = crop_transform(box, model.crop)
    points, sigma = model(cut_crop(picture, transform, model.crop, pad=0)[None])
    answer = model.adapt(apply_transform(invert_transform(transform), points[0]))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from domaingap.config import CropConfig
from domaingap.errors import UserError

if TYPE_CHECKING:
    from domaingap.models.label_adapter import LabelAdapter
    from domaingap.models.regressor import LandmarkRegressor
    from domaingap.study.record import RunRecord

Crops = NDArray[np.uint8]
Points = NDArray[np.float64]
Backend = Literal["auto", "torch", "onnx"]

CHECKPOINT = "checkpoints/answering.ckpt"
ADAPTER = "adapter_predictions.ckpt"
KEY = "domaingap"
"""Under what an exported file says of itself what it is, as JSON."""
FORMAT = 1
"""Raised when that says something else."""
WANTED = "give a run's folder, a .ckpt, or an .onnx that 'domaingap export' wrote"


class CropAnswer(NamedTuple):
    """A network's answer to crops.

    Attributes:
        points: landmarks [B, 68, 2] in pixels of the crop.
        sigma: standard deviation of each landmark's x and y [B, 68] in the same; None of a network that gives none.
    """

    points: Points
    sigma: Points | None


class LandmarkModel:
    """Face crops → landmarks.

    Args:
        name: of the network, for people: its run's, or its file's.
        crop: how crops are cut.
        answer: from crops uint8 [B, S, S] (gray) or [B, S, S, 3] (RGB) to the network's answer.
        adapter: the label adapter for predictions, where it isn't part of ``answer``.
        has_sigma: whether it answers standard deviations.
        notice: one line on the data behind the network and what follows for its use; empty where nothing is known.
        runtime: what computes it, for people.
    """

    def __init__(
        self,
        name: str,
        crop: CropConfig,
        answer: Callable[[Crops], CropAnswer],
        adapter: LabelAdapter | None = None,
        has_sigma: bool = False,
        notice: str = "",
        runtime: str = "PyTorch",
    ) -> None:
        self.name, self.crop, self.adapter, self.has_sigma, self.notice = name, crop, adapter, has_sigma, notice
        self.runtime = runtime
        self._answer = answer

    def __call__(self, crops: Crops) -> CropAnswer:
        """The network's answer to crops uint8 [B, S, S] of a gray network, or [B, S, S, 3] of an RGB one; B may be 0.

        Its points aren't the answer yet: those come from :meth:`adapt`.

        Raises:
            ValueError: crops of another shape or type.
        """
        crop = self.crop
        shape = (crop.size, crop.size) if crop.channels == "gray" else (crop.size, crop.size, 3)
        if crops.dtype != np.uint8 or crops.shape[1:] != shape:
            raise ValueError(f"expected crops uint8 [B, {', '.join(map(str, shape))}], got {crops.dtype} {crops.shape}")
        if not len(crops):
            return CropAnswer(np.empty((0, 68, 2)), np.empty((0, 68)) if self.has_sigma else None)
        return self._answer(crops)

    def adapt(self, points: Points) -> Points:
        """The answer [..., 68, 2] from the network's points in original-image pixels: moved by the run's label adapter for
        predictions where it has one, and as they are where not.

        An exported network has the adapter inside: what it answers in the crop stays as it is (an adapter moves a similar
        shape alike).
        """
        return points if self.adapter is None or not points.size else self.adapter.adapt(points)


class Files(NamedTuple):
    """What a run's folder or a checkpoint leads to.

    Attributes:
        name: for people.
        network: with ``crop`` set.
        crop: how crops are cut.
        adapter: the label adapter for predictions; None of a network without.
        checkpoint: the network's file.
        record: the run's, where the folder of a run was given.
    """

    name: str
    network: LandmarkRegressor
    crop: CropConfig
    adapter: LabelAdapter | None
    checkpoint: Path
    record: RunRecord | None

    @property
    def has_sigma(self) -> bool:
        """Whether the network answers standard deviations."""
        return self.network.loss_per_face.needs_sigma


def load_model(source: Path | str, backend: Backend = "auto", many_frames: bool = False) -> LandmarkModel:
    """A network from a run's folder, wherever it lies now, a checkpoint (``.ckpt``) or an exported file (``.onnx``).

    Weights are read without running anything that is in the file.

    Args:
        source: the folder or file.
        backend: ``auto`` runs folders and checkpoints in PyTorch and exported files in onnxruntime; ``onnx`` runs a folder
            or checkpoint in onnxruntime as well (exported once, and kept in the run's folder where that can be written).
        many_frames: whether speed is worth the seconds of an export: ``auto`` then takes onnxruntime for folders and
            checkpoints, too, without a GPU, where it is installed and the network can be exported. The answers are the same
            within 0.01 px.

    Raises:
        UserError: nothing there, an unfinished run, or a file that is damaged or not ours.
    """
    source = Path(source)
    if source.suffix.lower() == ".onnx" and not source.is_dir():
        if backend == "torch":
            raise UserError(f"{source}: an exported network runs in onnxruntime alone; give the run's folder")
        from domaingap.inference.onnx_model import load_onnx

        return load_onnx(source)
    files = open_files(source)
    if backend == "onnx":
        from domaingap.inference.onnx_model import converted

        return converted(files)
    from domaingap.inference.torch_model import in_torch, on_gpu

    if backend == "auto" and many_frames and not on_gpu():
        from domaingap.inference.onnx_model import converted_if_possible

        return converted_if_possible(files) or in_torch(files)
    return in_torch(files)


def open_files(source: Path) -> Files:
    """The network, adapter and crop of a run's folder or of a checkpoint; see :func:`load_model`."""
    if source.is_dir():
        return _open_run(source)
    if not source.exists():
        raise UserError(f"{source}: no such run or file; {WANTED}")
    if source.suffix.lower() != ".ckpt":
        raise UserError(f"{source}: not a network; {WANTED}")
    from domaingap.models.label_adapter import LabelAdapter
    from domaingap.models.regressor import load_network

    network = load_network(source)
    # A run's answering network answers together with the adapter beside it; other checkpoints answer for themselves.
    beside = source.parent / ADAPTER
    adapter = LabelAdapter.load(beside) if source.name == Path(CHECKPOINT).name and beside.is_file() else None
    crop = network.crop or _crop_of_run(source)
    return Files(source.stem, _fitting(network, crop, source), crop, adapter, source, None)


def _open_run(folder: Path) -> Files:
    from domaingap.models.label_adapter import LabelAdapter
    from domaingap.models.regressor import load_network
    from domaingap.study.record import read_record
    from domaingap.study.run import damaged

    if not (folder / "result.json").is_file():
        if any(folder.glob("*/result.json")):
            raise UserError(f"{folder}: a folder of runs; give one of them")
        raise UserError(f"{folder}: no result.json, so this is no finished run; {WANTED}")
    record = read_record(folder / "result.json")
    checkpoint, adapter_path = folder / CHECKPOINT, folder / "checkpoints" / ADAPTER
    if not checkpoint.is_file():
        raise UserError(f"{folder}: a run without a checkpoint ({CHECKPOINT} is missing); copy the whole folder again")
    # Its predictions, which may have stayed behind, aren't needed here.
    networks = {name: digest for name, digest in record.files.items() if name.startswith("checkpoints/")}
    if problem := damaged(replace(record, files=networks)):
        raise UserError(f"{problem}; copy the run's folder again, or give the run's command again")
    network = load_network(checkpoint)
    crop = network.crop or _crop_of_run(checkpoint)
    adapter = LabelAdapter.load(adapter_path) if f"checkpoints/{ADAPTER}" in record.files else None
    return Files(record.name, _fitting(network, crop, checkpoint), crop, adapter, checkpoint, record)


def _crop_of_run(checkpoint: Path) -> CropConfig:
    """How to crop, from the ``config.yaml`` of the run that a checkpoint of an earlier version lies in."""
    import yaml

    from domaingap.study.record import typed

    config = checkpoint.absolute().parent.parent / "config.yaml"
    try:
        content = yaml.safe_load(config.read_text(encoding="utf-8"))
        crop = content["crop"]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError) as error:
        raise UserError(
            f"{checkpoint}: doesn't say how to crop (an earlier version wrote it), and the run's config.yaml isn't in "
            f"{config.parent}; give the run's whole folder"
        ) from error
    return typed(CropConfig, crop, f"{config}: crop")


def _fitting(network: LandmarkRegressor, crop: CropConfig, checkpoint: Path) -> LandmarkRegressor:
    """The network with its crop; UserError where they don't go together."""
    own = (network.input_size, network.hparams.get("in_channels", 1))
    if own != (crop.size, crop.n_channels):
        raise UserError(
            f"{checkpoint}: a network for {own[0]} px crops of {own[1]} channels; its run's config.yaml has {crop.size} px "
            f"{crop.channels}; give the run's own folder"
        )
    network.crop = crop
    return network
