"""Pictures and videos, one after another, through a network and into files."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Literal, get_args

from domaingap.errors import DataError, UserError
from domaingap.inference.outputs import (
    PICTURE_FORMATS,
    VIDEO_FORMATS,
    Csv,
    Found,
    JsonLines,
    Pts,
    VideoFile,
    Writer,
    draw,
    save_annotated,
)
from domaingap.inference.predictor import FacePredictor
from domaingap.inference.smoothing import SmoothingConfig
from domaingap.inference.sources import Frame, Pictures, Video, read_picture
from domaingap.inference.tracker import Tally, Tracker, TrackerConfig
from domaingap.parallel import whole
from domaingap.progress import console, track

Output = Literal["annotated", "jsonl", "csv", "pts"]
OUTPUTS: tuple[Output, ...] = get_args(Output)


@dataclass
class Session:
    """What is done with sources.

    Args:
        predictor: the network and the detector.
        out: file or folder to write; None for a name made from the source's, in the working directory.
        outputs: which kinds of files.
        stream: where JSON lines go instead of any file.
        tracker: how faces of videos are followed.
        smoothing: of the landmarks of videos; None for none.
        most_frames: of each video; None for all.

    Attributes:
        lines: what was done, for people.
        failed: sources that couldn't be used.
        done: pictures and videos that could.
    """

    predictor: FacePredictor
    out: Path | None = None
    outputs: Sequence[Output] = ("annotated", "jsonl")
    stream: IO[str] | None = None
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    smoothing: SmoothingConfig | None = None
    most_frames: int | None = None
    lines: list[str] = field(default_factory=list)
    failed: list[UserError] = field(default_factory=list)
    done: int = 0

    def run(self, sources: Sequence[Pictures | Video]) -> None:
        """Do all of them; whatever can't be read is left out and counted.

        Raises:
            UserError: nothing at all could be read, or something can't be written.
        """
        n = sum(len(source.paths) if isinstance(source, Pictures) else 1 for source in sources)
        plans = self.plans(sources)
        for source, plan in zip(sources, plans, strict=True):
            if isinstance(source, Pictures):
                self._pictures(source, plan, n == 1)
            else:
                try:
                    video = source.open()
                except UserError as error:
                    if n == 1:
                        raise
                    self._skip(error)
                    continue
                with contextlib.closing(video):
                    self._video(video, plan)
        if self.failed and not self.done:
            errors = [error for error in self.failed if isinstance(error, DataError)]
            raise DataError.first_of(errors) if errors else self.failed[0]

    def plans(self, sources: Sequence[Pictures | Video]) -> list[Plan]:
        """Where the files of each source go.

        Raises:
            UserError: --out doesn't fit them, or is one of them.
        """
        several = len(sources) > 1 or any(source.many or len(_files(source)) > 1 for source in sources)
        plans = list(self._plans(sources, several))
        inputs = {path.resolve() for source in sources for path in _files(source)}
        for path in (path for plan in plans for path in plan.files()):
            if path.resolve() in inputs:
                raise UserError(f"{path}: would be written over, and is among what is to be read; choose another --out")
        return plans

    def _plans(self, sources: Sequence[Pictures | Video], several: bool) -> Iterator[Plan]:
        taken: set[Path] = set()
        for source in sources:
            if isinstance(source, Pictures):
                yield self._plan_pictures(source, several, taken)
            else:
                yield self._plan_video(source, several, taken)

    def _plan_pictures(self, source: Pictures, several: bool, taken: set[Path]) -> Plan:
        first = source.paths[0]
        if not several:
            out = self.out
            if out is None or out.is_dir() or not out.suffix:
                out = (out or Path()) / f"{first.stem}_points{_suffix(first)}"
            elif out.suffix.lower() not in PICTURE_FORMATS:
                raise UserError(f"--out {out}: a picture is written as {', '.join(PICTURE_FORMATS)}; or give a folder")
            return Plan(out.parent, [Path(out.name)], out.with_suffix(".jsonl"), out.with_suffix(".csv"), self.outputs)
        folder = self._folder(source.folder.resolve().name + "_points" if source.folder is not None else "points")
        names = []
        for path in source.paths:
            name = source.name(path)
            stem, n = name.with_suffix(""), 1
            while stem in taken:
                n += 1
                stem = name.with_name(f"{name.stem}_{n}")
            taken.add(stem)
            names.append(stem.with_name(stem.name + _suffix(path)))
        lines = "landmarks" if Path("landmarks") not in taken else "landmarks_of_all"
        return Plan(folder, names, folder / f"{lines}.jsonl", folder / f"{lines}.csv", self.outputs)

    def _plan_video(self, source: Video, several: bool, taken: set[Path]) -> Plan:
        stem = source.path.stem if source.path is not None else f"camera-{source.camera}"
        out = self.out
        if several:
            name, n = Path(stem), 1
            while name in taken:
                n += 1
                name = Path(f"{stem}_{n}")
            taken.add(name)
            out = self._folder("points") / f"{name}.mp4"
        elif out is None or out.is_dir() or not out.suffix:
            out = (out or Path()) / f"{stem}_points.mp4"
        elif out.suffix.lower() not in VIDEO_FORMATS:
            raise UserError(f"--out {out}: a video is written as {', '.join(VIDEO_FORMATS)}; or give a folder")
        return Plan(out.parent, [Path(out.name)], out.with_suffix(".jsonl"), out.with_suffix(".csv"), self.outputs)

    def _folder(self, name: str) -> Path:
        if self.out is None:
            return Path(name)
        if self.out.suffix.lower() in (*PICTURE_FORMATS, *VIDEO_FORMATS) and not self.out.is_dir():
            raise UserError(f"--out {self.out}: a file, for several pictures or videos; give a folder")
        return self.out

    def _pictures(self, source: Pictures, plan: Plan, alone: bool) -> None:
        faces = with_face = read = 0
        doubts: Counter[str] = Counter()
        without: Path | None = None
        failed = len(self.failed)
        began = time.monotonic()
        with contextlib.ExitStack() as stack:
            writers = self.writers(plan, stack, plan.folder)
            pairs = zip(source.paths, plan.names, strict=True)
            for path, name in track(pairs, len(source.paths), "pictures"):
                try:
                    pixels, found_doubts = read_picture(path)
                except DataError as error:
                    if alone:
                        raise
                    self._skip(error)
                    for writer in writers:
                        if isinstance(writer, JsonLines):
                            writer.skipped(str(path), str(error))
                    continue
                doubts.update(found_doubts)
                found = self.predictor.predict(pixels)
                with whole():  # counted, and in every file
                    read, faces, with_face = read + 1, faces + len(found), with_face + bool(found)
                    without = without or (path if not found else None)
                    size = (pixels.shape[1], pixels.shape[0])
                    for writer in writers:
                        # .pts take their names from the plan, where no two are alike.
                        writer.write(Found(str(name if isinstance(writer, Pts) else path), found, size))
                    if plan.annotated:
                        save_annotated(plan.folder / name, draw(pixels, found))
        self.done += read
        if not read:
            return
        seconds = time.monotonic() - began
        line = f"{counted(read, 'picture')}: {counted(faces, 'face')}"
        if read > 1:
            line += f" in {with_face} of them; {read / seconds:.1f} pictures per second"
        self.lines.append(line)
        if without is not None:
            rest = f" in {counted(read - with_face, 'picture')}, the first of them" if read > 1 else " in"
            self.lines.append(f"no face found{rest} {without}; {LOOK_HARDER}")
        if len(self.failed) > failed:
            self.lines.append(f"{counted(len(self.failed) - failed, 'picture')} left out (said above)")
        self.lines += [f"{doubt}: {counted(n, 'picture')}" for doubt, n in doubts.items()]
        self.say_files([plan])

    def _video(self, video: Video, plan: Plan) -> None:
        tracker = Tracker(self.predictor, self.tracker, self.smoothing)
        began = time.monotonic()
        total = video.total
        if self.most_frames is not None:
            total = min(total or self.most_frames, self.most_frames)
        codec = notice = ""
        interrupted: BaseException | None = None
        with contextlib.ExitStack() as stack:
            writers = self.writers(plan, stack, plan.lines.with_name(plan.lines.stem + "_pts"))
            file = None
            if plan.annotated:
                file = stack.enter_context(VideoFile(plan.folder / plan.names[0], video.size, video.fps))
                codec, notice = file.codec, file.notice
            try:
                for frame in track(self._frames(video), total, video.name):
                    with whole():  # counted, and in every file
                        faces = tracker(frame.pixels, frame.time)
                        for writer in writers:
                            writer.write(Found(video.name, faces, video.size, frame.number, frame.time))
                        if file is not None:
                            file.write(draw(frame.pixels, faces), frame.time)
            except Exception:
                raise
            except BaseException as ending:  # Ctrl-C, and what a signal raises
                if video.camera is None or not isinstance(ending, KeyboardInterrupt):  # of a camera there is no other end
                    interrupted = ending
        self.done += 1
        self.lines += told(video.name, tracker.tally, time.monotonic() - began)
        if video.problem and video.camera is None:
            self.lines.append(f"{video.name}: {video.problem}")
        if notice:
            self.lines.append(notice)
        self.say_files([plan], f" ({codec})" if codec else "")
        if interrupted is not None:
            self.say()
            raise interrupted
        if video.problem and video.camera is not None:  # which went away
            self.say()
            raise UserError(f"{video.name}: {video.problem}")

    def _frames(self, video: Video) -> Iterator[Frame]:
        for frame in video.frames():
            yield frame
            if self.most_frames is not None and frame.number + 1 >= self.most_frames:
                return

    def writers(self, plan: Plan, stack: contextlib.ExitStack, pts: Path) -> list[Writer]:
        """What writes a plan's files, but for annotated ones; ``stack`` closes them.

        Args:
            plan: of a source.
            stack: whose end is theirs.
            pts: folder of ``.pts`` files.
        """
        writers: list[Writer] = []
        if self.stream is not None:
            return [JsonLines(None, self.stream)]
        if "jsonl" in plan.outputs:
            writers.append(JsonLines(plan.lines))
        if "csv" in plan.outputs:
            writers.append(Csv(plan.table))
        if "pts" in plan.outputs:
            writers.append(Pts(pts))
        for writer in writers:
            stack.callback(writer.close)
        return writers

    def _skip(self, error: UserError) -> None:
        self.failed.append(error)
        if len(self.failed) <= SHOWN:
            console.print(f"left out: {error}")
        elif len(self.failed) == SHOWN + 1:
            console.print("left out: more, which are counted at the end")

    def say_files(self, plans: Sequence[Plan], note: str = "") -> None:
        """Add a line on the files that were written.

        Args:
            plans: of one source.
            note: behind the annotated one.
        """
        if self.stream is not None:
            return
        files: list[str] = []
        for plan in plans:
            if plan.annotated:
                files.append(f"{plan.folder / plan.names[0] if len(plan.names) == 1 else plan.folder}{note}")
            files += [str(plan.lines)] if "jsonl" in plan.outputs else []
            files += [str(plan.table)] if "csv" in plan.outputs else []
            files += [".pts"] if "pts" in plan.outputs else []
        self.lines.append(f"files: {', '.join(files)}")

    def say(self) -> None:
        """Print what was done: to standard output, unless results go there."""
        for line in self.lines:
            if self.stream is None:
                print(line, flush=True)
            else:
                console.print(line)
        self.lines.clear()


SHOWN = 5
"""Sources left out that are named one by one."""
LOOK_HARDER = "faces smaller than --smallest_face aren't looked for, and lower --thresholds find more"


@dataclass(frozen=True)
class Plan:
    """Where a source's files go: annotated pictures by name in a folder, JSON lines, CSV."""

    folder: Path
    names: Sequence[Path]
    lines: Path
    table: Path
    outputs: Sequence[Output]

    @property
    def annotated(self) -> bool:
        return "annotated" in self.outputs

    def beside(self, suffix: str) -> Plan:
        """The plan for another network's landmarks of the same source: names end in ``suffix``, nothing is annotated."""
        lines, table = (path.with_stem(path.stem + suffix) for path in (self.lines, self.table))
        return replace(self, lines=lines, table=table, outputs=[name for name in self.outputs if name != "annotated"])

    def files(self) -> list[Path]:
        """The files that are named beforehand."""
        files = [self.folder / name for name in self.names] if self.annotated else []
        return files + [self.lines] * ("jsonl" in self.outputs) + [self.table] * ("csv" in self.outputs)


def _files(source: Pictures | Video) -> list[Path]:
    if isinstance(source, Pictures):
        return list(source.paths)
    return [source.path] if source.path is not None else []


def _suffix(path: Path) -> str:
    """Of the annotated picture: the picture's own where it is one of the usual, else .png."""
    suffix = path.suffix.lower()
    return path.suffix if suffix in (".jpg", ".jpeg", ".png", ".webp") else ".png"


def counted(n: int, what: str, more: str | None = None) -> str:
    """A number of things: 1 face, 2 faces."""
    return f"{n} {what if n == 1 else more or what + 's'}"


def told(name: str, tally: Tally, seconds: float) -> list[str]:
    """What happened in a video, for people."""
    speed = f"{tally.frames / max(seconds, 1e-9):.1f} frames per second"
    if not tally.faces:
        return [f"{name}: no face found in {counted(tally.frames, 'frame')}; {speed}; {LOOK_HARDER}"]
    people = counted(tally.people, "person", "people")
    line = f"{name}: {counted(tally.frames, 'frame')}, {tally.with_face} with a face, {people}"
    line += f"; a face lost {counted(tally.lost, 'time')}, detector asked {counted(tally.detections, 'time')}"
    line += f", {counted(tally.cuts, 'cut')}" if tally.cuts else ""
    return [f"{line}; {speed}"]
