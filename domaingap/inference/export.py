"""Networks for other programs: ONNX and ``torch.export``, with all that stands between a picture and its landmarks.

The exported function goes from crops (uint8, [B, S, S] of a gray network, [B, S, S, 3] RGB) to ``points`` [B, 68, 2] in
pixels of the crop and, of a network that gives it, ``sigma`` [B, 68]. Normalisation, mean shape and the label adapter for
predictions are inside; how to crop stands in the metadata, as JSON under :data:`KEY`.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from domaingap import __version__
from domaingap.data.crops import crop_record
from domaingap.errors import UserError
from domaingap.hashing import replace_atomically, write_archive
from domaingap.inference.model import FORMAT, KEY, CropAnswer, Files
from domaingap.models.label_adapter import LabelAdapter
from domaingap.models.regressor import LandmarkRegressor
from domaingap.shapes import Frame
from domaingap.stages import checkpoint_seen
from domaingap.store import file_digest

Format = Literal["onnx", "torch"]
SUFFIX: dict[Format, str] = {"onnx": ".onnx", "torch": ".pt2"}
OPSET = 18
LARGEST_BATCH = 512
TOLERANCE_PX = 0.01
"""How far an exported network's points may lie from PyTorch's, in pixels of the crop."""


class Exported(nn.Module):
    """A network with its label adapter, from crops as pictures have them to points in the crop.

    Args:
        network: of a run or checkpoint.
        adapter: for its predictions; None for none.
    """

    def __init__(self, network: LandmarkRegressor, adapter: LabelAdapter | None) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).cpu().eval()
        # In 32 bits, as the network: runtimes lack some operations in 64.
        self.adapter = copy.deepcopy(adapter).float().eval() if adapter is not None and adapter.kind != "identity" else None
        self.requires_grad_(False)

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        """Crops uint8 [B, S, S] or [B, S, S, 3] → points [B, 68, 2] and, where the network gives it, sigma [B, 68]."""
        image = crops.unsqueeze(1) if crops.ndim == 3 else crops.permute(0, 3, 1, 2)
        points, sigma, _ = self.network.plain_relative(image)
        points = points * self.network.input_size
        if self.adapter is not None:
            points = _adapted(self.adapter, points)
        return (points,) if sigma is None else (points, self.network.sigma_in_crop(sigma))


def _adapted(adapter: LabelAdapter, points: Tensor) -> Tensor:
    """What :meth:`LabelAdapter.forward` does, without the checks and the inverse that no exporter takes."""
    centre = points.mean(dim=-2, keepdim=True)
    centred = points - centre
    scale = centred.square().sum(dim=-1).mean(dim=-1).sqrt()
    reference = adapter.reference
    dot = (centred * reference).sum(dim=(-1, -2))
    cross = (centred[..., 0] * reference[..., 1] - centred[..., 1] * reference[..., 0]).sum(dim=-1)
    length = (dot.square() + cross.square()).sqrt() * scale
    cos, sin = dot / length, cross / length
    turn = torch.stack([torch.stack([cos, sin], dim=-1), torch.stack([-sin, cos], dim=-1)], dim=-2)
    inside = Frame(centre, turn).enter(points)
    # A similarity's inverse is its transpose over the square of its scale.
    outside: Tensor = (inside + adapter.movement(inside)) @ turn.mT * scale.square()[:, None, None] + centre
    return outside


def describe(files: Files) -> dict[str, Any]:
    """What an exported file says of itself, as plain values: see :mod:`domaingap.inference.export`."""
    network, adapter = files.network, files.adapter
    # In 64 bits of what the file holds in 32: the same numbers.
    mean_shape: NDArray[np.float64] = network.mean_shape.cpu().double().numpy() * network.input_size
    return {
        "format": FORMAT,
        "domaingap": __version__,
        "name": files.name,
        "backbone": network.hparams.get("backbone", "resnet18"),
        "checkpoint": file_digest(files.checkpoint),
        "input": "crops: uint8 [batch, size, size] (gray) or [batch, size, size, 3] (RGB), not normalised",
        "output": "points: iBUG 68 [batch, 68, 2], x and y in pixels of the crop, pixel centres at integers; sigma: "
        "standard deviation of each point's x and y [batch, 68], where the network gives it",
        "crop": crop_record(files.crop),
        "mean_shape": mean_shape.round(6).tolist(),
        "normalisation": {"subtract": 127.5, "divide": 64.0, "inside": True},
        "adapter": None
        if adapter is None
        else {"kind": adapter.kind, "strength": adapter.strength, "key": adapter.key(), "inside": True},
        "sigma": files.has_sigma,
        # Inside; null where nobody measured it.
        "sigma_factor": network.sigma_factor,
        # Inside as well; not said where it isn't so, as of files of before.
        **({"mirror_test": True} if network.mirror_test else {}),
        "data": checkpoint_seen(files.checkpoint).notice(),
    }


def export_network(files: Files, form: Format, target: Path) -> float:
    """Write a network in a form that other programs run.

    Args:
        files: the network with its adapter and crop.
        form: ``onnx``, or ``torch`` for ``torch.export``.
        target: the file, written whole or not at all.

    Returns:
        The largest distance in pixels of the crop between its points and PyTorch's, on crops of noise in several batches.

    Raises:
        UserError: a package is missing, the network can't be exported, or what was written answers otherwise.
    """
    if form == "onnx":
        need_onnx()
    model = Exported(files.network, files.adapter)
    size = files.crop.size
    shape = (size, size) if files.crop.channels == "gray" else (size, size, 3)
    example = (torch.zeros((2, *shape), dtype=torch.uint8),)
    batch = ({0: torch.export.Dim("batch", min=1, max=LARGEST_BATCH)},)
    said = json.dumps(describe(files))
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _quiet(), torch.no_grad():
            program = torch.export.export(model, example, dynamic_shapes=batch)
            if form == "onnx":
                names = ["points", "sigma"][: 1 + files.has_sigma]
                made: Any = torch.onnx.export(
                    program, (), input_names=["crops"], output_names=names, opset_version=OPSET, dynamo=True, verbose=False
                )
                made.model.metadata_props[KEY] = said
    except Exception as error:  # whatever a backbone's code and two compilers make of each other
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{files.name}: {describe(files)['backbone']} can't be exported ({type(error).__name__}: {first[:200]}); "
            "use it through domaingap, or train another --model.backbone"
        ) from error
    if form == "onnx":
        with replace_atomically(target) as temporary, _quiet():
            made.save(str(temporary), external_data=False)
    else:
        write_archive(target, lambda file: _save(program, file, said))
    return _checked(files, form, target)


def _save(program: Any, file: io.BytesIO, said: str) -> None:
    torch.export.save(program, file, extra_files={f"{KEY}.json": said})


def _checked(files: Files, form: Format, target: Path) -> float:
    """How far the written file's points lie from PyTorch's; UserError where that is too far."""
    from domaingap.inference.torch_model import in_torch

    ours, rng, worst = in_torch(files), np.random.default_rng(0), 0.0
    size = files.crop.size
    shape = (size, size) if files.crop.channels == "gray" else (size, size, 3)
    for n in (1, 3, 8):
        crops = rng.integers(0, 256, (n, *shape)).astype(np.uint8)
        expected = ours.adapt(ours(crops).points)
        distance = np.linalg.norm(_answer(form, target, crops) - expected, axis=-1).max()
        worst = max(worst, float(distance))
    if not worst <= TOLERANCE_PX:
        target.unlink()
        raise UserError(f"{target}: answers up to {worst:.3f} px from PyTorch, so it is removed; report this network")
    return worst


def _answer(form: Format, target: Path, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
    if form == "onnx":
        from domaingap.inference.onnx_model import load_onnx

        answer: CropAnswer = load_onnx(target)(crops)
        return answer.points
    with _quiet(), torch.no_grad():
        program = torch.export.load(target)
        points: Tensor = program.module()(torch.from_numpy(crops))[0]
    return points.double().numpy()


def need_onnx() -> None:
    """UserError where a package is missing that makes ONNX files."""
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"ONNX needs {', '.join(missing)}, not installed here; uv sync --extra export installs all of it")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporters say of their own future and of operators that nobody here uses."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
