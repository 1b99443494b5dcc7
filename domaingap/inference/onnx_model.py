"""A network that answers in onnxruntime. Nothing here imports torch unless a run is to be converted."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from domaingap.data.crops import read_crop
from domaingap.errors import UserError
from domaingap.hashing import private_folder
from domaingap.inference.model import FORMAT, KEY, CropAnswer, Crops, Files, LandmarkModel
from domaingap.parallel import available_cores
from domaingap.progress import console

OURS = "give an .onnx that 'domaingap export' wrote"


def load_onnx(path: Path, n_threads: int | None = None) -> LandmarkModel:
    """An exported network.

    Args:
        path: its file.
        n_threads: that one call computes with; :func:`threads` by default.

    Raises:
        UserError: no such file, a damaged one, one of others, or onnxruntime isn't installed.
    """
    session = _open(path, n_threads)
    said = _said(session, path)
    names = [output.name for output in session.get_outputs()]
    try:
        crop = read_crop(said["crop"])
        name, has_sigma = str(said["name"]), bool(said["sigma"])
        notice = str(said["data"]["notice"])
        expected = ["points", "sigma"][: 1 + has_sigma]
        if names != expected or [i.name for i in session.get_inputs()] != ["crops"]:
            raise ValueError(f"its outputs are {', '.join(names)}")
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: an exported network that this version can't use ({error}); export it again") from error

    def answer(crops: Crops) -> CropAnswer:
        points, *sigma = session.run(names, {"crops": np.ascontiguousarray(crops)})
        return CropAnswer(points.astype(np.float64), sigma[0].astype(np.float64) if sigma else None)

    return LandmarkModel(name, crop, answer, None, has_sigma, notice, "onnxruntime")


def converted(files: Files) -> LandmarkModel:
    """A run's or checkpoint's network in onnxruntime, exported where no earlier call has kept it.

    It is kept in the run's folder, where ``domaingap export`` puts it, or else in a folder for what may be lost.
    """
    from domaingap.inference.export import describe, export_network

    need_runtime(files.name)
    wanted = json.dumps(describe(files))
    places = [exported_path(files.checkpoint)] if files.record is not None else []
    if (private := private_folder("onnx")) is not None:
        places.append(private / f"{files.checkpoint.stem}-{json.loads(wanted)['checkpoint'][:16]}.onnx")
    for place in places:
        if place.is_file():
            try:
                if json.dumps(_said(_open(place), place)) == wanted:
                    return load_onnx(place)
            except UserError:
                pass  # damaged or of another version: made anew
    for place in places:
        try:
            export_network(files, "onnx", place)
        except OSError:
            continue  # a folder that can't be written
        return load_onnx(place)
    raise UserError(f"{files.name}: nowhere to keep its ONNX form; make {places[0].parent if places else 'TMPDIR'} writable")


def converted_if_possible(files: Files) -> LandmarkModel | None:
    """A run's or checkpoint's network in onnxruntime; None, and a line that says why, where that isn't to be had."""
    try:
        return converted(files)
    except UserError as error:
        console.print(f"computed in PyTorch, not in onnxruntime, which is about 1.5 times as fast: {error}")
        return None


def need_runtime(name: Path | str) -> Any:
    """onnxruntime; UserError where it isn't installed."""
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(f"{name}: needs onnxruntime, not installed here; uv sync --extra export") from error
    return onnxruntime


def exported_path(checkpoint: Path, suffix: str = ".onnx") -> Path:
    """Where the exported form of a run's answering checkpoint lies."""
    return checkpoint.parent.parent / "exported" / f"{checkpoint.stem}{suffix}"


def _open(path: Path, n_threads: int | None = None) -> Any:
    onnxruntime = need_runtime(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; {OURS}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads or threads()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of classes of its own, which it doesn't name
        raise UserError(f"{path}: can't be read as ONNX ({type(error).__name__}); {OURS}") from error


def _said(session: Any, path: Path) -> dict[str, Any]:
    """What an exported file says of itself."""
    text = session.get_modelmeta().custom_metadata_map.get(KEY)
    if text is None:
        raise UserError(f"{path}: an ONNX file of others; {OURS}")
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: damaged; export it again") from error
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise UserError(f"{path}: exported by another version of domaingap; export it again")
    return said


def threads() -> int:
    """Threads that one call computes with: ``OMP_NUM_THREADS``, as of torch, or the cores that this process may use."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdecimal() and 1 <= int(given) <= 1024 else available_cores()
