"""``domaingap predict``: a trained network on pictures, videos and cameras."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from domaingap.errors import UserError

NO_RUN = (
    "--run names no run, and the suite ships no trained network: 'domaingap demo' trains six in five minutes, on drawn "
    "faces alone (then --run runs/demo/real_only-...); for photographs train on them: 'domaingap run real_only --config "
    "configs/300w.yaml --data_root data'. A run's folder can be copied from another machine"
)


def predict(
    inputs: Sequence[str],
    run: Path | None,
    out: str | None,
    write: str,
    backend: str,
    smallest_face: int | None,
    thresholds: Sequence[float] | None,
    max_faces: int,
    every: int,
    lost_below: float,
    smooth: bool,
    min_cutoff: float,
    beta: float,
    frames: int | None,
) -> int:
    """Find the faces of pictures, videos or a camera and their landmarks, and write them to files."""
    from domaingap.inference.sources import Video, sources
    from domaingap.paths import expand
    from domaingap.progress import console

    if run is None:
        raise UserError(NO_RUN)
    outputs = _outputs(write)
    found = sources(inputs)
    from domaingap.data.boxes import MIN_FACE
    from domaingap.inference.model import load_model
    from domaingap.inference.predictor import DetectorConfig, FacePredictor
    from domaingap.inference.session import Session
    from domaingap.inference.smoothing import SmoothingConfig
    from domaingap.inference.tracker import TrackerConfig

    if smallest_face is None:
        smallest_face = 2 * MIN_FACE if all(isinstance(source, Video) for source in found) else MIN_FACE
    stages: dict[str, Any] = dict(zip(("proposal", "refinement", "verdict"), thresholds or (), strict=False))
    model = load_model(run, backend, any(isinstance(source, Video) for source in found))  # type: ignore[arg-type]
    predictor = FacePredictor(model, DetectorConfig(smallest_face=smallest_face, max_faces=max_faces, **stages))
    session = Session(
        predictor,
        None if out is None or out == "-" else expand(out),
        () if out == "-" else outputs,  # type: ignore[arg-type]
        sys.stdout if out == "-" else None,
        TrackerConfig(every=every, lost_below=lost_below),
        SmoothingConfig(min_cutoff=min_cutoff, beta=beta) if smooth else None,
        frames,
    )
    session.run(found)
    session.say()
    if model.notice:
        console.print(model.notice)
    return 0


def _outputs(text: str) -> list[str]:
    from domaingap.inference.session import OUTPUTS

    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if unknown := [name for name in names if name not in OUTPUTS]:
        raise UserError(f"--write is {unknown[0]}; known: {', '.join(OUTPUTS)}, comma-separated")
    if not names:
        raise UserError(f"--write names nothing; known: {', '.join(OUTPUTS)}, comma-separated")
    return names
