"""``domaingap evaluate --on 300vw``: a run's network on annotated clips."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from domaingap.errors import UserError

if TYPE_CHECKING:
    from domaingap.inference.video_scores import ClipScore, Figures, How
    from domaingap.study.tables import Table

SHOWN = ("nme", "nme_no_jaw", "fr@8", "auc@8", "jitter")


def is_clips(name: str) -> bool:
    """Whether a set's name is one of clips."""
    return os.sep not in name and name.partition("_")[0] == "300vw"


def evaluate_clips(
    run: Path, names: list[str], data_root: Path | None, checkpoint: Path | None, faces_from: str | None, smooth: bool
) -> int:
    """Score a run's network on sets of clips; print and keep the figures below ``RUN/evaluation/``."""
    from domaingap.data.readers.ibug300vw import find_clips, present
    from domaingap.inference.model import open_files
    from domaingap.inference.smoothing import SmoothingConfig
    from domaingap.inference.torch_model import in_torch, notice_of, with_checkpoint
    from domaingap.inference.video_scores import How, Kept, score_clips, write_scores
    from domaingap.store import file_digest
    from domaingap.study.tables import print_tables, terminal

    files = open_files(run)
    assert files.record is not None
    oracle = files.crop.box == "landmarks"
    chosen: Any = faces_from or ("annotation" if oracle else "tracker")
    if smooth and chosen != "tracker":
        raise UserError("--smooth is of faces that are followed; give --faces_from tracker, or leave it out")
    root = data_root or Path(files.record.config.get("data_root", "data"))
    # All are looked for before the first is scored, which takes long.
    sets = {name: find_clips(root, name) for name in names}
    if checkpoint is not None:
        files = with_checkpoint(files, checkpoint)
    how, model = How(chosen, smoothing=SmoothingConfig() if smooth else None), in_torch(files)
    adapter = files.adapter.key() if files.adapter is not None else None
    keep = Kept(run / "evaluation" / "clips", [file_digest(files.checkpoint), adapter], how)
    for name, clips in sets.items():
        scores, left_out = score_clips(clips, model, how, keep)
        suffix = "" if chosen == ("annotation" if oracle else "tracker") else f"-{chosen}"
        suffix += ("-smooth" if smooth else "") + (f"-{checkpoint.stem}" if checkpoint is not None else "")
        stem = run / "evaluation" / f"{name}{suffix}"
        here = present([score.category for score in scores])
        about = {
            "run": files.name,
            "checkpoint": str(checkpoint or "answering.ckpt"),
            "set": name,
            "faces": str(how),
            "present": here,
            "left_out": [str(error) for error in left_out],
        }
        together = write_scores(stem, scores, about)
        print_tables(tables(f"{files.name} on {name}", scores, together, how))
        out = terminal()
        counts = ", ".join(f"{category}: {n}" for category, n in here.items())
        out.print(f"clips scored: {counts}" + (f"; {len(left_out)} left out" if left_out else ""), markup=False)
        out.print(f"files: {stem}.json, .csv (a row a frame), .npz", markup=False)
    terminal().print(notice_of(files), markup=False)
    return 0


def tables(title: str, scores: list[ClipScore], together: list[Figures], how: How) -> list[Table]:
    """A row a clip, and a row a group of them with intervals."""
    from domaingap.inference.video_scores import LOST_SHARE, figures
    from domaingap.study.tables import Column, Table, interval_column, metric, number, number_column

    shown = [interval_column(name, metric(name)) for name in SHOWN] + [interval_column("lost", number(1))]

    def values(of: Figures) -> list[Any]:
        return [of.metrics[name] for name in (*SHOWN, LOST_SHARE)]

    def skipped(score: ClipScore) -> str:
        return ", ".join(f"{n} {why}" for why, n in score.counts.items() if why != "frames") or "none"

    clips = Table(
        f"{title}: clips",
        [Column("clip"), Column("category"), number_column("frames"), *shown, Column("not scored")],
        [
            [score.clip, score.category, len(score.frames), *values(figures(score.clip, [score])), skipped(score)]
            for score in scores
        ],
    )
    groups = Table(
        f"{title}: together",
        [Column("clips"), number_column("n"), number_column("frames"), *shown],
        [[group.title, group.clips, group.frames, *values(group)] for group in together],
        [
            f"faces {how}; a lost face is looked at in the box that its annotation gives",
            "NME, FR, jitter and lost in %, AUC between 0 and 1; over frames; [ ]: 95% interval, bootstrap over clips",
        ],
    )
    return [clips, groups]
