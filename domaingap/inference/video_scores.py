"""Networks scored on annotated clips: where faces are from, what each frame's answer is, and the figures of clips and sets.

How faces are followed can be exchanged: whatever turns frames, one after another, into faces (:class:`Follower`).
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from domaingap.data.boxes import DETECTOR, MIN_IOU, box_from_landmarks, iou
from domaingap.data.readers.ibug300vw import CATEGORIES, Clip, Clips
from domaingap.errors import DataError, UserError
from domaingap.hashing import content_key, digest, finite, write_atomically, write_json
from domaingap.inference.model import LandmarkModel
from domaingap.inference.predictor import Face, FacePredictor
from domaingap.inference.smoothing import SmoothingConfig
from domaingap.inference.sources import Video
from domaingap.inference.tracker import Tracker, TrackerConfig
from domaingap.metrics import METRICS, SEQUENCE_METRICS
from domaingap.predictions import Predictions, load_predictions, save_predictions
from domaingap.progress import console, track
from domaingap.statistics import ClusterBootstrap, Interval
from domaingap.store import file_digest

FORMAT = 2
"""Raised when the same clip would be scored differently; part of the key under which its answers are kept."""

FacesFrom = Literal["tracker", "detector", "annotation"]
FACES_FROM: tuple[FacesFrom, ...] = get_args(FacesFrom)
LOST = "fallback"
"""Where the box of a lost face came from: it is made from the annotation, so that no frame is left out."""
LOST_SHARE = "lost"
"""Name of the share of frames, in percent, whose face was lost."""


class Follower(Protocol):
    """Finds the faces of one video, whose frames it gets in order; :class:`domaingap.inference.tracker.Tracker` is one."""

    def __call__(self, image: NDArray[np.uint8], time: float) -> list[Face]:
        """The faces in the next frame, an RGB picture [H, W, 3] at a time in seconds."""
        ...


Follow = Callable[[FacePredictor], Follower]
"""What begins to follow faces, anew for each clip."""


@dataclass(frozen=True)
class How:
    """How the faces of clips are found.

    Attributes:
        faces_from: ``tracker`` follows them; ``detector`` looks for them in every frame; ``annotation`` takes oracle boxes.
        tracker: settings of the tracker.
        smoothing: of the tracker's landmarks; None for none.
    """

    faces_from: FacesFrom = "tracker"
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    smoothing: SmoothingConfig | None = None

    def identity(self) -> dict[str, Any]:
        """All of it that determines answers."""
        followed = {"tracker": asdict(self.tracker), "smoothing": asdict(self.smoothing) if self.smoothing else None}
        found = {} if self.faces_from == "annotation" else {"detector": DETECTOR}
        return {"faces_from": self.faces_from, **found, **(followed if self.faces_from == "tracker" else {})}

    def follow(self) -> Follow | None:
        """What follows faces; None where they are taken from the annotation."""
        if self.faces_from == "tracker":
            return lambda predictor: Tracker(predictor, self.tracker, self.smoothing)
        if self.faces_from == "detector":
            return lambda predictor: lambda image, time: predictor.predict(image)
        return None

    def __str__(self) -> str:
        text = {
            "tracker": f"followed, detector every {self.tracker.every} frames and where they are lost",
            "detector": "from the detector in every frame",
            "annotation": "in oracle boxes, made from the annotation",
        }[self.faces_from]
        return text + ("; smoothed" if self.smoothing is not None and self.faces_from == "tracker" else "")


@dataclass(frozen=True)
class ClipScore:
    """A network's answers on a clip.

    Attributes:
        clip: its name.
        category: its category.
        predictions: of the N scored frames; a frame's name is ``223/000001``, its photograph the clip. ``box_sources`` says
            where each face was from: ``tracked``, ``mtcnn``, ``landmarks`` (oracle boxes), or :data:`LOST`.
        fps: frames per second of the video.
        counts: frames that were decoded, and frames and annotations that weren't scored, by reason.
        problem: what is wrong with the video; empty where nothing is.
    """

    clip: str
    category: str
    predictions: Predictions
    fps: float
    counts: Mapping[str, int]
    problem: str = ""

    @property
    def frames(self) -> NDArray[np.int64]:
        """Numbers [N] of the frames, from 1."""
        return np.array([int(name.rsplit("/", 1)[1]) for name in self.predictions.names.tolist()], dtype=np.int64)

    @property
    def lost(self) -> NDArray[np.bool_]:
        """Whether each frame's face was lost [N]."""
        return np.asarray(self.predictions.box_sources == LOST)

    def per_frame(self, name: str) -> NDArray[np.float64]:
        """A sequence metric at each frame [N], NaN where it has none."""
        return SEQUENCE_METRICS[name].per_frame(self.predictions.prediction, self.predictions.truth, self.frames)


def score_clip(clip: Clip, predictor: FacePredictor, follow: Follow | None, title: str = "") -> ClipScore:
    """A network's answers on a clip.

    Of the faces in a frame the one counts whose box overlaps most with the box that the detector would report for the
    annotation; where none does by :data:`domaingap.data.boxes.MIN_IOU`, the face is lost, and the network is asked in that
    box, so that the frame counts.

    Args:
        clip: the clip.
        predictor: network and detector.
        follow: what follows faces; None takes them from the annotation.
        title: for the progress bar.

    Raises:
        DataError: the video or an annotation can't be read, or no frame has one.
    """
    truth, left_out = clip.landmarks()
    video = Video(str(clip.video), path=clip.video).open()
    follower = follow(predictor) if follow is not None else None
    names, answers, sigmas, sources = [], [], [], []
    decoded = 0
    for frame in track(video.frames(), video.total, title or clip.name):
        number = frame.number + 1
        decoded = number
        # Also in frames that aren't scored: a tracker has to see them.
        faces = follower(frame.pixels, frame.time) if follower is not None else []
        if number not in truth:
            continue
        face, source = _matched(faces, truth[number], frame.pixels, predictor, follower is None)
        names.append(number)
        answers.append(face.landmarks)
        sigmas.append(face.sigma)
        sources.append(source)
    unseen = [number for number in clip.annotations if number > decoded]
    counts = Counter({"frames": decoded, "frames without annotation": decoded - len(clip.annotations) + len(unseen)})
    counts["annotations without a frame"] = len(unseen)
    counts.update(left_out)
    if not names:
        raise DataError(clip.video, "no frame of it has a usable annotation", advice="fetch this clip again")
    predictions = Predictions(
        np.array([f"{clip.name}/{number:06d}" for number in names]),
        np.array([clip.name] * len(names)),
        np.stack(answers),
        np.stack([truth[number] for number in names]),
        np.array(sources),
        np.stack(sigmas) if all(sigma is not None for sigma in sigmas) else None,  # type: ignore[arg-type]
    )
    return ClipScore(clip.name, clip.category, predictions, video.fps, {k: n for k, n in counts.items() if n}, video.problem)


def _matched(
    faces: Sequence[Face], truth: NDArray[np.float64], image: NDArray[np.uint8], predictor: FacePredictor, oracle: bool
) -> tuple[Face, str]:
    """The face that is the annotated one, and where its box came from."""
    expected = box_from_landmarks(truth)
    overlaps = [iou(face.box, expected) for face in faces]
    if overlaps and max(overlaps) >= MIN_IOU:
        face = faces[int(np.argmax(overlaps))]
        return face, "mtcnn" if face.found else "tracked"
    return predictor.at(image, expected[None], found=False)[0], "landmarks" if oracle else LOST


@dataclass(frozen=True)
class Figures:
    """The figures of some clips together: of frames, with intervals over clips where there are several.

    Attributes:
        title: which clips.
        clips: how many.
        frames: how many of their frames were scored.
        metrics: every metric of frames and of sequences, and :data:`LOST_SHARE`, by name.
    """

    title: str
    clips: int
    frames: int
    metrics: dict[str, Interval]

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "clips": self.clips,
            "frames": self.frames,
            "metrics": {name: finite(value.mean) for name, value in self.metrics.items()},
            "intervals": {name: (value.low, value.high) for name, value in self.metrics.items() if math.isfinite(value.low)},
        }


def figures(title: str, scores: Sequence[ClipScore]) -> Figures:
    """The figures of clips together; see :class:`Figures`."""
    prediction = torch.from_numpy(np.concatenate([score.predictions.prediction for score in scores]))
    truth = torch.from_numpy(np.concatenate([score.predictions.truth for score in scores]))
    clips = np.concatenate([score.predictions.photographs for score in scores])
    bootstrap = ClusterBootstrap(clips)
    values = {
        name: metric.interval(metric.per_face(prediction, truth).numpy(), bootstrap) for name, metric in METRICS.items()
    }
    for name, of_sequence in SEQUENCE_METRICS.items():
        steps = np.concatenate([score.per_frame(name) for score in scores])
        known = np.isfinite(steps)
        nothing = Interval(math.nan, math.nan, math.nan)
        values[name] = of_sequence.interval(steps[known], ClusterBootstrap(clips[known])) if known.any() else nothing
    values[LOST_SHARE] = bootstrap.mean(100.0 * np.concatenate([score.lost for score in scores]))
    if len(scores) < 2:  # resampled, one clip is itself
        values = {name: Interval(value.mean, math.nan, math.nan) for name, value in values.items()}
    return Figures(title, len(scores), len(clips), values)


def groups(scores: Sequence[ClipScore]) -> list[Figures]:
    """Figures of each category, of the release's test clips, and of all; of what is there, each once."""
    found: dict[tuple[str, ...], Figures] = {}

    def add(title: str, some: list[ClipScore]) -> None:
        key = tuple(score.clip for score in some)
        if some and (key not in found or title == "all"):
            found[key] = figures(title, some)

    categories = dict.fromkeys([*CATEGORIES, *(score.category for score in scores)])
    for category in categories:
        add(category, [score for score in scores if score.category == category])
    add("test (categories 1 to 3)", [score for score in scores if score.category in list(CATEGORIES)[:3]])
    if len({score.category for score in scores}) > 1:
        add("all", list(scores))
    return list(found.values())


class Kept:
    """Scored clips on the disk, so that a call that was ended is gone on with.

    Args:
        folder: where they are kept.
        network: identity of the network with its adapter and crop.
        how: how faces are found.
    """

    def __init__(self, folder: Path, network: Any, how: How) -> None:
        self.folder, self._identity = folder, [FORMAT, network, how.identity()]

    def score(self, clip: Clip, predictor: FacePredictor, follow: Follow | None, title: str) -> ClipScore:
        """A clip's score, as an earlier call has kept it or anew."""
        annotation = digest([f"{number}".encode() + path.read_bytes() for number, path in clip.annotations.items()])
        key = content_key([*self._identity, clip.name, file_digest(clip.video), annotation])
        stem = self.folder / f"{clip.name}-{key}"
        if (found := self._read(clip, stem)) is not None:
            return found
        score = score_clip(clip, predictor, follow, title)
        self.folder.mkdir(parents=True, exist_ok=True)
        save_predictions(stem.with_suffix(".npz"), {"clip": score.predictions})
        write_json(stem.with_suffix(".json"), {"fps": score.fps, "counts": dict(score.counts), "problem": score.problem})
        return score

    def _read(self, clip: Clip, stem: Path) -> ClipScore | None:
        import json

        try:
            said = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))
            predictions = load_predictions(stem.with_suffix(".npz"))["clip"]
            counts = {str(name): int(n) for name, n in said["counts"].items()}
            score = ClipScore(clip.name, clip.category, predictions, float(said["fps"]), counts, str(said["problem"]))
            _ = score.frames
        except (OSError, UserError, ValueError, KeyError, TypeError, AttributeError, IndexError):
            return None
        return score


def score_clips(clips: Clips, model: LandmarkModel, how: How, keep: Kept) -> tuple[list[ClipScore], list[DataError]]:
    """Every clip's score, and why the others have none; says so of each at once.

    Raises:
        DataError: no clip could be scored: the first one's reason.
    """
    from domaingap.inference.predictor import DetectorConfig

    # With the settings of preparation: what is reported beside photographs is found alike.
    predictor, follow = FacePredictor(model, DetectorConfig()), how.follow()
    scores: list[ClipScore] = []
    left_out = list(clips.left_out)
    for error in left_out:
        console.print(f"left out: {error}")
    for i, clip in enumerate(clips.clips, start=1):
        try:
            scores.append(keep.score(clip, predictor, follow, f"clip {clip.name} ({i} of {len(clips.clips)})"))
        except DataError as error:
            left_out.append(error)
            console.print(f"left out: {error}")
        else:
            if scores[-1].problem:
                console.print(f"caution: {clip.video}: {scores[-1].problem}")
    if not scores:
        raise DataError.first_of(left_out)
    return scores, left_out


def frames_csv(scores: Sequence[ClipScore]) -> str:
    """A row for each scored frame: its face's errors in percent, where its box came from, and whether it was lost."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = ["nme", "nme_no_jaw", "nme_pupils", "nme_box"]
    writer.writerow(["clip", "category", "frame", "time_s", *names, *SEQUENCE_METRICS, "box", "lost"])
    for row in _rows(scores, names):
        writer.writerow(row)
    return out.getvalue()


def _rows(scores: Sequence[ClipScore], names: Sequence[str]) -> Iterator[list[Any]]:
    for score in scores:
        p = score.predictions
        prediction, truth = torch.from_numpy(p.prediction), torch.from_numpy(p.truth)
        columns = [METRICS[name].per_face(prediction, truth).numpy() for name in names]
        columns += [score.per_frame(name) for name in SEQUENCE_METRICS]
        table = np.stack(columns, axis=1)
        for i, frame in enumerate(score.frames.tolist()):
            values = [f"{value:.4f}" if math.isfinite(value) else "" for value in table[i]]
            time = f"{(frame - 1) / score.fps:.3f}"
            yield [score.clip, score.category, frame, time, *values, p.box_sources[i], int(score.lost[i])]


def write_scores(stem: Path, scores: Sequence[ClipScore], about: Mapping[str, Any]) -> list[Figures]:
    """Write ``stem.json`` (figures of clips and groups), ``stem.csv`` (a row a frame) and ``stem.npz`` (answers).

    Returns:
        The groups' figures.
    """
    together = groups(scores)
    own = {score.clip: figures(score.clip, [score]).plain() for score in scores}
    for score in scores:
        own[score.clip] |= {"category": score.category, "counts": dict(score.counts), "problem": score.problem}
    stem.parent.mkdir(parents=True, exist_ok=True)
    save_predictions(stem.with_suffix(".npz"), {score.clip: score.predictions for score in scores})
    write_atomically(stem.with_suffix(".csv"), frames_csv(scores))
    content = {**about, "groups": {group.title: group.plain() for group in together}, "clips": own}
    write_json(stem.with_suffix(".json"), content)
    return together
