"""``domaingap predict``: a trained network on pictures, videos and cameras."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from domaingap.errors import UserError

if TYPE_CHECKING:
    from domaingap.inference.sources import Pictures, Video

NO_RUN = (
    "--run names no run, and the suite ships no trained network: 'domaingap demo' trains six in minutes, on drawn "
    "faces alone (then --run runs/demo/real_only-...); for photographs train on them: 'domaingap run real_only --config "
    "configs/300w.yaml --data_root data'. A run's folder can be copied from another machine"
)


def predict(
    inputs: Sequence[str],
    run: Path | None,
    out: str | None,
    write: str | None,
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
    serve: bool,
    against: Path | None,
    host: str | None,
    port: int | None,
    loop: bool,
    no_view: bool,
) -> int:
    """Find the faces of pictures, videos or a camera and their landmarks, and write them to files or show them live."""
    from domaingap.inference.sources import Video, sources
    from domaingap.paths import expand
    from domaingap.progress import console

    if run is None:
        raise UserError(NO_RUN)
    outputs = _outputs("annotated,jsonl" if write is None else write)
    found = sources(inputs)
    asked = {"--serve": serve, "--against": against, "--host": host, "--port": port, "--loop": loop}
    live = _live(found, [name for name, value in asked.items() if value not in (None, False)], no_view, out)
    if live is not None and against is not None and out == "-":
        raise UserError(
            "--out -: JSON lines of two networks couldn't be told apart; give a file, and --against gets its own"
        )
    from domaingap.data.boxes import MIN_FACE
    from domaingap.inference.model import load_model
    from domaingap.inference.predictor import DetectorConfig, FacePredictor
    from domaingap.inference.session import Session
    from domaingap.inference.smoothing import SmoothingConfig
    from domaingap.inference.tracker import TrackerConfig

    if smallest_face is None:
        smallest_face = 2 * MIN_FACE if all(isinstance(source, Video) for source in found) else MIN_FACE
    stages: dict[str, Any] = dict(zip(("proposal", "refinement", "verdict"), thresholds or (), strict=False))
    settings = DetectorConfig(smallest_face=smallest_face, max_faces=max_faces, **stages)

    def session(predictor: FacePredictor) -> Session:
        return Session(
            predictor,
            None if out is None or out == "-" else expand(out),
            () if out == "-" else outputs,  # type: ignore[arg-type]
            sys.stdout if out == "-" else None,
            TrackerConfig(every=every, lost_below=lost_below),
            SmoothingConfig(min_cutoff=min_cutoff, beta=beta) if smooth else None,
            frames,
        )

    frames_come = any(isinstance(source, Video) for source in found)
    models = [
        load_model(path, backend, many_frames=frames_come)  # type: ignore[arg-type]
        for path in (run, against)
        if path is not None
    ]
    predictors = [FacePredictor(model, settings) for model in models]
    if live is None:
        working = session(predictors[0])
        working.run(found)
        working.say()
    else:
        from domaingap.inference.live import show

        show(
            session(predictors[0]),
            live,
            predictors,
            [model.name for model in models],
            page=serve or host is not None or port is not None,
            host=host,
            port=port,
            loop=loop,
            # What a camera sees isn't kept unless that is asked for.
            record=out is not None or write is not None,
        )
    for notice in dict.fromkeys(model.notice for model in models if model.notice):
        console.print(notice)
    return 0


def _live(sources: Sequence[Pictures | Video], options: Sequence[str], no_view: bool, out: str | None) -> Video | None:
    """What is to be shown while it is read, if anything is."""
    from domaingap.inference.sources import Video

    one = sources[0] if len(sources) == 1 and isinstance(sources[0], Video) else None
    camera = one is not None and one.camera is not None
    if no_view and options:
        raise UserError(f"--no_view shows nothing, and {options[0]} is for what is shown; give one of them")
    if not options:
        return one if camera and not no_view and out != "-" else None
    if one is None:
        raise UserError(f"{options[0]}: shows one camera or one video live; give camera:0 or a video alone")
    if camera and "--loop" in options:
        raise UserError("--loop: a camera has no end to begin again at; give a video")
    return one


def _outputs(text: str) -> list[str]:
    from domaingap.inference.session import OUTPUTS

    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if unknown := [name for name in names if name not in OUTPUTS]:
        raise UserError(f"--write is {unknown[0]}; known: {', '.join(OUTPUTS)}, comma-separated")
    if not names:
        raise UserError(f"--write names nothing; known: {', '.join(OUTPUTS)}, comma-separated")
    return names
