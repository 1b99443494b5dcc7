"""A network that answers in PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from domaingap.errors import UserError
from domaingap.inference.model import CropAnswer, Crops, Files, LandmarkModel
from domaingap.models.regressor import LandmarkRegressor, load_network


def on_gpu() -> bool:
    """Whether PyTorch computes on a GPU here."""
    return torch.cuda.is_available()


def in_torch(files: Files, gpu: bool | None = None) -> LandmarkModel:
    """A run's network, or a checkpoint's, on the GPU where there is one, or as ``gpu`` says."""
    device = torch.device("cuda" if (on_gpu() if gpu is None else gpu) else "cpu")
    network = files.network.to(device).eval()
    return LandmarkModel(
        files.name,
        files.crop,
        lambda crops: _answer(network, crops, device),
        files.adapter,
        files.has_sigma,
        notice_of(files),
    )


def _answer(network: LandmarkRegressor, crops: Crops, device: torch.device) -> CropAnswer:
    channels_first = crops[:, None] if crops.ndim == 3 else crops.transpose(0, 3, 1, 2)
    with torch.inference_mode():
        # A copy: NumPy's views may be read-only or turned around, which torch doesn't take.
        points, sigma, _ = network.relative(torch.from_numpy(np.array(channels_first, order="C")).to(device))
        size = network.input_size
        return CropAnswer(
            (points * size).cpu().double().numpy(),
            None if sigma is None else network.sigma_in_crop(sigma.double()).cpu().numpy(),
        )


def with_checkpoint(files: Files, checkpoint: Path) -> Files:
    """A run's files with another checkpoint of the same network in place of its own."""
    network = load_network(checkpoint)
    own = (network.input_size, network.hparams.get("in_channels", 1))
    if own != (files.crop.size, files.crop.n_channels) or network.crop not in (None, files.crop):
        raise UserError(f"{checkpoint}: a network for other crops than the run's; give another checkpoint of the same run")
    network.crop, network.mirror_test = files.crop, files.network.mirror_test
    return files._replace(network=network, checkpoint=checkpoint, record=None)


def notice_of(files: Files) -> str:
    """One line on the data behind a network."""
    from domaingap.provenance import licence_line
    from domaingap.stages import checkpoint_seen

    if files.record is not None:
        return licence_line(files.record.licences, files.record.non_commercial)
    seen = checkpoint_seen(files.checkpoint)
    return licence_line(seen.named(), seen.non_commercial)
