"""The ``domaingap`` command. Heavy libraries are imported by the command that needs them, so that help is instant."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from domaingap import __version__
from domaingap.config import LARGEST_NUMBER, LARGEST_SEED, SIZES
from domaingap.errors import UserError, printable, traceback_wanted, trouble
from domaingap.limits import Limits
from domaingap.paths import expand
from domaingap.streams import tolerant_streams
from experiments.commands.run import run
from experiments.commands.styles import STYLES
from experiments.process import (
    Terminated,
    again,
    ends_on_signals,
    lost_output,
    tame_shell,
    use_huge_pages,
    where_relative_paths_lead,
)
from experiments.recipes import RECIPES

EXAMPLES = """\
examples:
  domaingap demo
  domaingap data prepare --data_root data
  domaingap run real_only --config configs/300w.yaml --data_root data
  domaingap run mixing --config configs/300w.yaml --data_root data --n_real 200 --alpha 0.5
  domaingap sweep configs/sweeps/strategies.yaml --data_root data
  domaingap predict photo.jpg --run runs/real_only-nall-s0-1a2b3c4d
  domaingap export runs/real_only-nall-s0-1a2b3c4d --format onnx
  domaingap report runs --html report.html
  domaingap dashboard runs --project faces
"""

LABORATORY = "configs/laboratory.yaml"
"""The study of ``domaingap laboratory`` where none is named."""


class Parser(argparse.ArgumentParser):
    """One line per mistake, exit code 2."""

    def error(self, message: str) -> NoReturn:
        message = re.sub(r"^argument (--\w+): is ", r"\1 is ", message)
        if match := re.match(r"argument (--\w+)\S*: expected one argument", message):
            message += f"; a value that begins with - is written {match[1]}=-..."
        raise UserError(f"{message}; see '{self.prog} --help'")


def within(kind: type[int] | type[float], limits: Limits) -> Any:
    """What reads an option's number that lies within limits."""

    def read(text: str) -> int | float:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"is {text}; it is a {'whole ' * (kind is int)}number {limits}") from None
        if not limits.hold(value):
            raise argparse.ArgumentTypeError(f"is {text}; it lies {limits}")
        return value

    return read


NUMBER = within(int, Limits(1, LARGEST_NUMBER))
SEED = within(int, Limits(0, LARGEST_SEED))
PROCESSES = within(int, Limits(1, 1024))
PICTURE_SIDE = within(int, Limits(32, 1024))
SHARE = within(float, Limits(0, 1))
SECONDS = within(float, Limits(above=0, most=86400))


def _heads(parser: argparse.ArgumentParser) -> None:
    """Whose heads generated faces have."""
    parser.add_argument(
        "--geometry",
        choices=("built-in", "avatars", "ict", "both"),
        default="built-in",
        help="whose heads: our own, VALID's avatars, ICT-FaceKit's, or these two in turn (built-in)",
    )
    parser.add_argument("--model", type=expand, help="folder of the avatars or of ICT-FaceKit (both: of the latter)")
    parser.add_argument("--albedo", type=expand, help="folder of the avatars whose skin ICT-FaceKit's heads get")
    parser.add_argument("--light", type=expand, help="folder of HDRIs: light and backgrounds; drawn without")
    parser.add_argument(
        "--backgrounds", type=expand, help="folder of pictures, without faces, that stand behind half of the faces"
    )
    parser.add_argument(
        "--population", type=expand, metavar="FILE.yaml", help="who is drawn, of heads with colour maps: yaw, pitch, grins, "
        "smiles, identity, nearest and others, as under synthetic.generated.population in recipes",
    )  # fmt: skip
    parser.add_argument(
        "--prepared_dir", type=expand, default=Path("prepared"), help="where compact copies of models are kept (prepared)"
    )


def build_parser() -> argparse.ArgumentParser:
    """The commands, each with a help of its own."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = Parser(
        prog="domaingap",
        description="How far synthetic training faces get on real ones, and which way of closing the gap is worth it.",
        epilog=EXAMPLES,
        formatter_class=formatter,
    )
    parser.add_argument("--version", action="version", version=f"domaingap {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")

    def add(name: str, target: str, summary: str, example: str, parent: Any = commands) -> argparse.ArgumentParser:
        sub: argparse.ArgumentParser = parent.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=f"example:\n  {example}",
            formatter_class=formatter,
            allow_abbrev=False,  # an option of a sweep's runs must not be taken for one of its own
        )
        sub.set_defaults(target=target)
        return sub

    recipes = "\n".join(f"  {name:16} {recipe.summary}" for name, recipe in RECIPES.items())
    recipe = commands.add_parser(
        "run",
        help="train and score one strategy",
        description="Train and score one strategy.",
        epilog=f"recipes:\n{recipes}\n\nEvery setting: domaingap run RECIPE --help\n\nexample:\n"
        "  domaingap run real_only --config configs/300w.yaml --data_root data --n_real 200",
        formatter_class=formatter,
        add_help=False,
    )
    recipe.add_argument("recipe", metavar="RECIPE", nargs="?")
    recipe.add_argument("-h", "--help", action="store_true", help="this help, or the recipe's")
    recipe.set_defaults(run_parser=recipe)

    demo = add(
        "demo", "experiments.commands.demo:demo",
        "All six strategies on generated faces, with nothing to download: five to fifteen minutes on two cores.",
        "domaingap demo",
    )  # fmt: skip
    demo.add_argument(
        "--runs_dir", type=expand, help="where runs are kept; given again, it goes on (runs/demo, quick: runs/demo-quick)"
    )
    demo.add_argument("--prepared_dir", type=expand, default=Path("prepared"), help="where faces are kept (prepared)")
    demo.add_argument("--seed", type=SEED, default=0, help="of weights, order and augmentation; the faces stay the same (0)")
    demo.add_argument("--quick", action="store_true", help="a few faces and steps: whether it works here, not what it finds")
    demo.add_argument("--wandb", choices=("off", "auto", "online", "offline"), default="off", help="W&B's mode (off)")

    sweep = add(
        "sweep", "experiments.commands.sweep:sweep",
        "Run many runs from a YAML file; given again, it goes on.",
        "domaingap sweep configs/sweeps/small/n_real.yaml --plan\n"
        "  domaingap sweep configs/sweeps/n_real.yaml --data_root data --jobs 2",
    )  # fmt: skip
    sweep.usage = "domaingap sweep FILE [--plan] [--jobs N] [OPTION]... [--key value]..."
    sweep.add_argument("file", type=expand, metavar="FILE", help="YAML in W&B's grammar, the same that 'wandb sweep' reads")
    sweep.add_argument(
        "--plan", action="store_true", help="print what would be run, how much is shared and how long it takes, and stop"
    )
    sweep.add_argument(
        "--jobs",
        type=PROCESSES,
        help="processes on this machine, which share its cores (one a GPU, or else one a core); on a cluster, how many jobs "
        "are in its queue or running at once (1000)",
    )
    sweep.add_argument(
        "--on_failure",
        choices=("continue", "stop"),
        default="continue",
        help="begin the other runs when one has failed, or end with those under way (continue)",
    )
    sweep.add_argument("--failed", action="store_true", help="only the runs that failed the last time")
    sweep.add_argument(
        "--exact",
        action="store_true",
        help="the grid as written, without the runs that the protocol adds (real_only at fine_tuning's number of steps, "
        "synthetic_only under both selection rules)",
    )
    sweep.add_argument(
        "--score_test",
        choices=("picked", "all", "none"),
        default="picked",
        help="which runs' test sets are scored: where several α compete, what validation picked of them, and every run that "
        "competes with none; all; or none yet, for a later call (picked)",
    )
    sweep.add_argument(
        "--count", type=within(int, Limits(1, 100_000)),
        help="of a grid the first N runs; of a random sweep N draws, of which the first are those of a smaller N",
    )  # fmt: skip
    sweep.add_argument("--sweep_seed", type=SEED, default=0, help="of what a random sweep draws (0)")
    sweep.add_argument_group(
        "options of the runs",
        "--key value sets a recipe's setting in every run that has it,\n"
        "  over the file: --data_root data, --fit.steps 100, --wandb.mode off.\n"
        "  --no_reuse has every run train its own networks.\n"
        "  --runs_dir is runs/NAME by default, NAME being the file's; each run has a log in its logs/.",
    )
    cluster = sweep.add_argument_group(
        "on a cluster",
        "What is ready becomes a Slurm job array. Start it where jobs are submitted, on a disk that all nodes share.\n"
        "  domaingap sweep configs/sweeps/n_real.yaml --data_root data --launcher slurm --partition gpu --gpus 1",
    )
    cluster.add_argument(
        "--launcher", choices=("local", "slurm"), default="local", help="this machine, or jobs on a cluster (local)"
    )
    cluster.add_argument("--partition", help="Slurm's partition (its default one)")
    cluster.add_argument("--gpus", type=within(int, Limits(0, 64)), help="of each job; 0 trains on processors (0)")
    cluster.add_argument("--cpus", type=PROCESSES, help="cores of each job, and PyTorch's threads (4)")
    cluster.add_argument("--mem_gb", type=within(float, Limits(above=0, most=65536)), help="of each job (Slurm's default)")
    cluster.add_argument(
        "--time_min",
        type=within(int, Limits(2, 525600)),
        help="time limit of each job in minutes; one that reaches it is queued again and goes on (the partition's default)",
    )
    cluster.add_argument("--array_parallelism", type=NUMBER, help="elements of an array that run at once (64)")
    cluster.add_argument(
        "--slurm", metavar="KEY=VALUE", action="append", help="an option of sbatch, such as account=vision; can be repeated"
    )

    trial = add(
        "trial", "experiments.commands.trial:trial",
        "One run of a sweep file, as W&B's agents start it; given again, it goes on.",
        "wandb sweep configs/sweeps/small/alpha.yaml\n  wandb agent --forward-signals ENTITY/PROJECT/SWEEP\n"
        "  domaingap trial configs/sweeps/small/alpha.yaml --alpha=0.5 --seed=0",
    )  # fmt: skip
    trial.usage = "domaingap trial FILE --key=value..."
    trial.add_argument("file", type=expand, metavar="FILE", help="the sweep's file, of one document")
    trial.add_argument_group(
        "options of the run",
        "Every parameter of the file that varies, in any order, as W&B's agents write them: --n_real=None, key=value.\n"
        "  Settings that the run's recipe lacks are left out. Options beyond the file's parameters hold for all its runs:\n"
        '  put them before "${args}" in the file\'s command.',
    )

    laboratory = add(
        "laboratory", "experiments.commands.laboratory:laboratory",
        "Check that the suite measures what it should: generated faces with one gap at a time, answers known beforehand.",
        "domaingap laboratory\n  domaingap laboratory --short\n  domaingap laboratory --check_only",
    )  # fmt: skip
    laboratory.usage = "domaingap laboratory [FILE] [--short] [--check_only] [--key value]..."
    laboratory.add_argument(
        "file",
        type=expand,
        metavar="FILE",
        help=f"the study, a sweep file, before all options ({LABORATORY}: under two hours on two cores; "
        "given again, it goes on)",
    )
    laboratory.add_argument(
        "--short", action="store_true", help="two seeds, few faces and steps: whether it works here, not what it finds"
    )
    laboratory.add_argument("--check_only", action="store_true", help="train nothing, check the runs that are finished")
    laboratory.add_argument("--jobs", type=PROCESSES, help="processes, which share this machine's cores (one a core)")
    laboratory.add_argument_group(
        "options of the runs",
        "--key value sets a recipe's setting in every run that has it, as in 'domaingap sweep'.\n"
        "  --runs_dir is runs/NAME by default, NAME being the file's, and runs/NAME-short; laboratory.json and\n"
        "  laboratory.md are written there. Exit code 0 when the study ran, whatever the checks say: a miss is a finding.",
    )

    evaluate = add(
        "evaluate", "experiments.commands.evaluate:evaluate", "Score a finished run's network on a test set.",
        "domaingap evaluate runs/real_only-nall-s0-1a2b3c4d --on common --data_root data",
    )  # fmt: skip
    evaluate.add_argument("run", type=expand, metavar="RUN", help="the run's folder")
    evaluate.add_argument(
        "--on",
        help="val, source_val, common, challenging, full, private, generated; comma-separated (common, or the test set that "
        "the run has); or of clips 300vw (all that are here), 300vw_test, 300vw_category1 to 300vw_category3, 300vw_train, "
        "300vw_original_study (223, 224, 405, 406); or other faces: 300w, face_synthetics, synthface, dgfaces below "
        "--data_root, or any folder in one of their layouts or of 300-VW's",
    )
    evaluate.add_argument("--data_root", type=expand, help="folder that holds the data sets; the run's own by default")
    evaluate.add_argument("--prepared_dir", type=expand, help="where prepared crops are kept; the run's own by default")
    evaluate.add_argument("--checkpoint", type=expand, help="another checkpoint of the same network")
    evaluate.add_argument(
        "--from_predictions", action="store_true", help="recompute from predictions.npz, without the network"
    )
    evaluate.add_argument(
        "--faces_from",
        choices=("tracker", "detector", "annotation"),
        help="of clips: faces are followed, looked for in every frame, or taken from the annotation as oracle boxes "
        "(tracker, or annotation of a run with crop.box landmarks)",
    )
    evaluate.add_argument("--smooth", action="store_true", help="of clips: score landmarks smoothed over time")

    export = add(
        "export", "experiments.commands.export:export",
        "Write a trained network to a file that other programs run, with how to crop inside.",
        "domaingap export runs/real_only-nall-s0-1a2b3c4d --format onnx",
    )  # fmt: skip
    export.add_argument("run", type=expand, metavar="RUN", help="a finished run's folder, or a .ckpt")
    export.add_argument(
        "--format", choices=("onnx", "torch"), default="onnx",
        help="ONNX (needs 'uv sync --extra export'), or torch.export's .pt2 (onnx)",
    )  # fmt: skip
    export.add_argument("--out", type=expand, metavar="FILE", help="the file (RUN/exported/answering.onnx or .pt2)")

    predict = add(
        "predict", "experiments.commands.predict:predict",
        "Find faces and their landmarks in pictures, videos or a camera with a trained run.",
        "domaingap predict photo.jpg --run runs/real_only-nall-s0-1a2b3c4d\n"
        "  domaingap predict clip.avi --run runs/real_only-nall-s0-1a2b3c4d --out clip_points.mp4\n"
        "  find faces -name '*.jpg' | domaingap predict - --run runs/real_only-nall-s0-1a2b3c4d --write jsonl\n"
        "  domaingap predict camera:0 --run runs/real_only-nall-s0-1a2b3c4d --against runs/synthetic_only-s0-5e6f7a8b",
    )  # fmt: skip
    predict.add_argument(
        "inputs", metavar="INPUT", nargs="+",
        help="pictures, videos, folders, patterns, camera:0, or - for standard input with a path a line",
    )  # fmt: skip
    predict.add_argument(
        "--run", type=expand, help="a finished run's folder, a .ckpt, or an .onnx that 'domaingap export' wrote"
    )
    predict.add_argument(
        "--out",
        help="file, or for several inputs folder, to write; the rest takes its name from it; - prints JSON lines and writes "
        "nothing (NAME_points.* in the working directory)",
    )
    predict.add_argument(
        "--write",
        help="annotated (picture or video), jsonl, csv, pts (1-based, as 300-W has them); comma-separated (annotated,jsonl; "
        "nothing of what is shown live, unless this or --out is given)",
    )
    predict.add_argument(
        "--backend", choices=("auto", "torch", "onnx"), default="auto",
        help="what computes the network: PyTorch, or onnxruntime, which on a processor is about 1.5 times as fast and needs "
        "'uv sync --extra export'; auto takes onnxruntime for videos and cameras where it can, without a GPU (auto)",
    )  # fmt: skip
    faces = predict.add_argument_group("finding faces")
    faces.add_argument(
        "--smallest_face", type=within(int, Limits(12, 2000)), metavar="PX",
        help="side of the smallest face to look for, in pixels; larger is faster (20; 40 in videos)",
    )  # fmt: skip
    faces.add_argument(
        "--thresholds", type=within(float, Limits(above=0, below=1)), nargs=3, metavar="0..1",
        help="what a candidate needs after each of the detector's three stages; lower finds more, also what is no face "
        "(0.6 0.7 0.7)",
    )  # fmt: skip
    faces.add_argument("--max_faces", type=within(int, Limits(1, 1000)), default=100, help="of a picture, the largest (100)")
    video = predict.add_argument_group("videos and cameras")
    video.add_argument(
        "--every", type=within(int, Limits(1, 100_000)), default=25, metavar="N",
        help="faces are followed by their landmarks; the detector is asked every N frames, and when a face is lost (25)",
    )  # fmt: skip
    video.add_argument("--lost_below", type=SHARE, default=0.5, metavar="0..1", help="confidence below which it is (0.5)")
    video.add_argument("--smooth", action="store_true", help="smooth landmarks over time (One Euro filter)")
    video.add_argument(
        "--min_cutoff", type=within(float, Limits(above=0, most=1000)), default=1.0, metavar="HZ",
        help="of --smooth: lower is calmer at rest (1)",
    )  # fmt: skip
    video.add_argument(
        "--beta", type=within(float, Limits(0, 1000)), default=20.0, help="of --smooth: higher lags less in motion (20)"
    )
    video.add_argument("--frames", type=NUMBER, metavar="N", help="of each video or camera, the first N (all)")
    live = predict.add_argument_group(
        "live",
        "A camera is shown live: in a window where there is a display and an OpenCV with windows, else on\n"
        "a page of this machine's own. Frames that come while the network is busy are dropped.",
    )
    live.add_argument(
        "--serve",
        action="store_true",
        help="a page, also where there could be a window; of a camera, or of a video in its place",
    )
    live.add_argument("--against", type=expand, metavar="RUN", help="a second run, side by side with the first, live")
    live.add_argument(
        "--port", type=within(int, Limits(0, 65535)), metavar="N", help="of the page; 0 is any that is free (0)"
    )
    live.add_argument(
        "--host",
        help="where the page listens; another than 127.0.0.1 lets others see the camera (127.0.0.1: this machine alone)",
    )
    live.add_argument("--loop", action="store_true", help="a video that is shown live begins again when it ends")
    live.add_argument(
        "--no_view", action="store_true", help="of a camera, files alone: neither window nor page; Ctrl-C ends it"
    )

    report = add(
        "report", "experiments.commands.report:report",
        "Print what each strategy is worth: tables of the runs in a folder, with intervals and paired differences; or write "
        "them to one page with plots and faces.",
        "domaingap report runs/strategies --html report.html",
    )  # fmt: skip
    report.add_argument(
        "runs_dir", type=expand, metavar="DIR", nargs="?", default=Path("runs"), help="folder of runs (runs)"
    )
    report.add_argument(
        "--format", choices=("table", "markdown", "csv", "latex"), default="table", help="how to print it (table)"
    )
    report.add_argument(
        "--style",
        choices=STYLES,
        default="gap",
        help="which tables: strategies by budgets, their worst faces (P90, P95, P99), how well σ is calibrated, curves over "
        "n_real, α and n_synthetic (a row a point), real images saved, differences in pairs, the gap taken apart, label "
        "adapters, all runs, gap for all of these (in csv for all runs); NME by pose, light and occlusion (conditions), or "
        "the original study's beside the published one (gap)",
    )
    report.add_argument(
        "--on",
        default="common",
        help="the faces that strategies, curves, saved images and pairs are about (common, or the test set there is)",
    )
    report.add_argument("--out", type=expand, help="write it to this file instead")
    report.add_argument(
        "--html", type=expand, help="write a page to this file instead: words, plots, all tables, faces; it needs no network"
    )

    compare = add(
        "compare", "experiments.commands.compare:compare",
        "Print the difference of any runs to a chosen group of them, in pairs, whatever they differ in.",
        "domaingap compare runs/faces_parts --base synthetic_only synthetic.generated.n=4000 --on val\n"
        "  domaingap compare runs/pretraining --base real_only model.pretrained=False n_real=200\n"
        "  domaingap compare runs/pretraining --base runs/pretraining/real_only-n200-s0-fa4c4edd",
    )  # fmt: skip
    compare.add_argument("folders", type=expand, metavar="DIR", nargs="+", help="folders of runs")
    compare.add_argument(
        "--base",
        nargs="+",
        required=True,
        metavar="WORD",
        help="what picks the runs that the others are compared with: the folder of one of them, or a recipe and key=value "
        "of n_real (all or a number), alpha, steps, selection, source or any setting (as in result.json; - where there is "
        "none)",
    )
    compare.add_argument("--on", default="common", help="the faces (common)")
    compare.add_argument(
        "--format", choices=("table", "markdown", "csv", "latex"), default="table", help="how to print it (table)"
    )

    dashboard = add(
        "dashboard", "experiments.commands.dashboard:dashboard",
        "Make or update the W&B workspace and the W&B report of a study.",
        "domaingap dashboard runs/alpha --project faces\n  domaingap dashboard --project faces --group alpha\n"
        "  domaingap dashboard runs/alpha --dry_run > dashboard.json",
    )  # fmt: skip
    dashboard.add_argument(
        "runs_dir",
        type=expand,
        metavar="RUNS_DIR",
        nargs="?",
        help="folder of runs: they tell test sets, strategies and what differs, and their tables fill the report; without "
        "it the panels are made for every axis, and the report has no tables",
    )
    dashboard.add_argument("--project", help="W&B project of the runs (the runs' own, else domaingap)")
    dashboard.add_argument("--entity", help="W&B user or team (the login's own)")
    dashboard.add_argument("--group", help="show the runs of this W&B group (that of the runs, else all of the project)")
    dashboard.add_argument("--name", help="title of workspace and report (the group's name, else the folder's)")
    dashboard.add_argument(
        "--on", default="common", help="the faces that panels are about (common, or the test set there is)"
    )
    dashboard.add_argument(
        "--dry_run", action="store_true", help="print what would be sent as JSON; needs neither login nor network"
    )
    dashboard.add_argument_group(
        "again, and what it stands on",
        "Given again it updates the workspace and the report that it has made, and makes no second ones: their ids are\n"
        "  kept in RUNS_DIR/dashboard.json, and where that is missing they are found by their title. What was changed by\n"
        "  hand in them is lost. Needs 'wandb login'. Tested against a stand-in for W&B's service, and never run against\n"
        "  the service itself.",
    )

    bench = add(
        "bench",
        "experiments.commands.bench:bench",
        "Measure how well data keeps up with training, and how fast videos are, as ratios.",
        "domaingap bench --data_root data\n"
        "  domaingap bench --cases video --run runs/real_only-nall-s0-1a2b3c4d --video clip.avi",
    )
    bench.add_argument("--cases", choices=("all", "training", "video"), default="all", help="which ones (all)")
    bench.add_argument(
        "--run", type=expand, action="append", default=[],
        help="of videos: a finished run's folder, .ckpt or .onnx; repeat it for more (resnet18 and a smaller network, "
        "untrained)",
    )  # fmt: skip
    bench.add_argument("--video", type=expand, metavar="CLIP", help="of videos: a clip with a face (one of a drawn face)")
    bench.add_argument(
        "--data_root", type=expand, help="folder with face_synthetics/ to decode; generated pictures by default"
    )
    bench.add_argument(
        "--heads",
        type=expand,
        metavar="FOLDER",
        help="of training: folder with ict_facekit/, valid_avatars/ and hdris/, to measure photo-like faces, too",
    )
    bench.add_argument("--seconds", type=SECONDS, default=60.0, help="measuring time per case (60)")
    bench.add_argument("--threads", type=PROCESSES, default=2, help="training threads (2)")
    bench.add_argument("--out", type=expand, help="write the figures to this JSON file")

    data = commands.add_parser(
        "data",
        help="fetch, make, prepare and look at data sets",
        description="Fetch, make, prepare and look at data sets.",
        epilog="example:\n  domaingap data prepare --data_root data",
        formatter_class=formatter,
    )
    data_commands = data.add_subparsers(title="commands", metavar="COMMAND", dest="data_command")
    data.set_defaults(group_parser=data)
    generate = add(
        "generate", "experiments.commands.generate:generate",
        "Make faces with exact labels, as files in FaceSynthetics' layout.",
        "domaingap data generate --domain synthetic --n 10000 --out data/generated --seed 1\n"
        "  domaingap data generate --domain target --appearance_gap 0.5 --label_gap 1.0 --preview faces.png\n"
        "  domaingap data generate --geometry ict --model data/ict_facekit --albedo data/valid_avatars --light data/hdris "
        "--n 50000 --out data/ict_faces", data_commands,
    )  # fmt: skip
    generate.add_argument(
        "--domain",
        choices=("synthetic", "target"),
        default="synthetic",
        help="renderings, or faces that stand in for photographs (synthetic)",
    )
    generate.add_argument("--n", type=NUMBER, help="faces, the first of the seed (100; 24 for a sheet alone)")
    generate.add_argument("--out", type=expand, help="folder for the files; given again, it goes on")
    generate.add_argument("--seed", type=SEED, default=0, help="of the whole set (0)")
    generate.add_argument("--size", type=PICTURE_SIDE, default=256, help="side of the pictures in pixels (256)")
    for gap, what in (
        ("label_gap", "labels as people set them"),
        ("appearance_gap", "other light, textures, backgrounds, and a camera"),
        ("population_gap", "other identities, expressions and poses"),
    ):
        generate.add_argument(f"--{gap}", type=SHARE, metavar="0..1", help=f"of the target domain: {what} (1)")
    _heads(generate)
    generate.add_argument(
        "--labels",
        choices=("rendered", "people"),
        default="rendered",
        help="of the synthetic domain: 3D points projected, or where people set them (rendered)",
    )
    generate.add_argument(
        "--landmarks", choices=("68", "dense"), default="68", help="dense: many points in the picture and in space, too (68)"
    )
    generate.add_argument("--points", type=NUMBER, help="dense points, spread evenly over the face (320)")
    generate.add_argument(
        "--without", default="", metavar="PARTS", help="what heads with colour maps are to lack: albedo, light, hair, "
        "expressions, identity, things, camera; comma-separated",
    )  # fmt: skip
    generate.add_argument("--preview", type=expand, metavar="FILE.png", help="a sheet of the first faces with their labels")
    generate.add_argument("--plain", action="store_true", help="no labels on the sheet")
    generate.add_argument(
        "--beside", type=expand, metavar="DATA_ROOT", help="photographs of its 300w/ on the sheet's other half"
    )
    generate.add_argument("--workers", type=PROCESSES, help="processes (all cores)")
    generate.add_argument("--jobs", type=PROCESSES, dest="workers", help="the same as --workers")
    judge = add(
        "judge", "experiments.commands.judge:judge", "Ask a face detector about generated faces and about photographs.",
        "domaingap data judge --data_root data --n 300", data_commands,
    )  # fmt: skip
    judge.add_argument("--data_root", type=expand, default=Path("data"), help="folder that holds 300w/ with HELEN (data)")
    judge.add_argument("--n", type=NUMBER, default=300, help="generated faces of each domain (300)")
    judge.add_argument("--size", type=PICTURE_SIDE, default=256, help="side of the generated pictures in pixels (256)")
    judge.add_argument("--seed", type=SEED, default=0, help="of the generated faces (0)")
    _heads(judge)
    judge.add_argument("--out", type=expand, help="write the figures to this JSON file")
    judge.add_argument("--workers", type=PROCESSES, help="processes (all cores)")
    doctor = add(
        "doctor", "experiments.commands.doctor:doctor",
        "Say what is wrong with the data sets, where, and what to do; reads everything once and changes nothing.",
        "domaingap data doctor --data_root data --sheet suspects.png", data_commands,
    )  # fmt: skip
    doctor.add_argument("--data_root", type=expand, default=Path("data"), help="folder that holds the data sets (data)")
    doctor.add_argument("--source", help="one data set by name, such as 300w; all that are present by default")
    doctor.add_argument(
        "--root", type=expand, help="the folder of --source below the data root, where it isn't the usual one"
    )
    doctor.add_argument(
        "--out", type=expand, default=Path("doctor.json"), help="where every finding is written (doctor.json)"
    )
    doctor.add_argument("--sheet", type=expand, metavar="FILE.png", help="draw the worst faces with landmarks and reasons")
    doctor.add_argument("--n", type=within(int, Limits(1, 400)), default=40, help="faces on the sheet at most (40)")
    doctor.add_argument("--rows", type=NUMBER, default=20, help="findings to print of each data set at most (20)")
    doctor.add_argument(
        "--no_detector", action="store_true", help="don't ask the face detector, which takes nearly all of the time"
    )
    doctor.add_argument(
        "--prepared_dir", type=expand, default=Path("prepared"),
        help="where prepared crops are kept: their boxes are used again, and nothing is written there (prepared)",
    )  # fmt: skip
    doctor.add_argument("--workers", type=PROCESSES, help="processes (all cores)")
    doctor.add_argument_group(
        "severities and exit code",
        "fault: preparation refuses it or leaves it out; suspect: look at it; note: nothing to mend.\n"
        "  Exit code 0 where nothing is a fault, 1 where something is, 2 on a mistake in the command.",
    )
    fetch = add(
        "fetch", "experiments.commands.fetch:fetch",
        "Download and unpack a data set that may be fetched openly; without NAME, list all with size, licence and how.",
        "domaingap data fetch\n  domaingap data fetch face_synthetics_100 --data_root data", data_commands,
    )  # fmt: skip
    fetch.add_argument(
        "name", metavar="NAME", nargs="?",
        help="face_synthetics_100, face_synthetics_1000, face_synthetics_100000, ict_facekit or valid_avatars; for a data "
        "set that its owners hand out themselves it prints the page and the folder, and exits with 2",
    )  # fmt: skip
    fetch.add_argument("--data_root", type=expand, default=Path("data"), help="folder that holds the data sets (data)")
    fetch.add_argument("--to", type=expand, metavar="FOLDER", help="the data set's own folder, where it isn't the usual one")
    fetch.add_argument(
        "--url", help="another address of the same archive, such as a mirror's; HTTPS_PROXY and HTTP_PROXY name a proxy"
    )
    prepare = add(
        "prepare", "experiments.commands.data:prepare", "Find faces and cut crops, once; later runs map them from disk.",
        "domaingap data prepare --data_root data", data_commands,
    )  # fmt: skip
    preview = add(
        "preview", "experiments.commands.data:preview", "Write a sheet of augmented faces with their landmarks.",
        "domaingap data preview --data_root data --source 300w --out augmented.png", data_commands,
    )  # fmt: skip
    for sub in (prepare, preview):
        sub.add_argument("--data_root", type=expand, help="folder that holds the data sets (data, or the configuration's)")
        sub.add_argument(
            "--prepared_dir", type=expand, help="where prepared crops are kept (prepared, or the configuration's)"
        )
        sub.add_argument("--config", type=expand, help="recipe configuration whose crop and augment settings to use")
        sub.add_argument("--size", type=within(int, Limits(*SIZES)), help="side of the crop in pixels (128)")
        sub.add_argument("--channels", choices=("gray", "rgb"), help="what the network sees (gray)")
        sub.add_argument("--box", choices=("mtcnn", "landmarks"), help="face box: detector, or oracle (mtcnn)")
        sub.add_argument(
            "--source",
            help="one data set by name, such as 300w or generated; the configuration's generated ones and all that are "
            "present by default",
        )
    prepare.add_argument("--workers", type=PROCESSES, help="processes (all cores)")
    preview.add_argument("--out", type=expand, default=Path("augmented.png"), help="the PNG to write (augmented.png)")
    preview.add_argument("--strength", type=within(float, Limits(0, 2)), help="augmentation's strength, 0 to 2 (1)")
    preview.add_argument("--seed", type=SEED, help="run seed (0)")
    return parser


def normalize(arguments: Sequence[str]) -> list[str]:
    """Options with hyphens become options with underscores, --no_reuse becomes --reuse=false; values stay as they are."""
    result = []
    for argument in arguments:
        if argument.startswith("--") and len(argument) > 2:
            name, equals, value = argument.partition("=")
            option = "--" + name[2:].replace("-", "_") + equals + value
            result.append("--reuse=false" if option == "--no_reuse" else option)
        else:
            result.append(argument)
    return result


def dispatch(arguments: list[str]) -> int:
    """Run the command that the arguments name; returns the exit code."""
    parser = build_parser()
    arguments = normalize(arguments)
    if arguments[:1] == ["run"] and len(arguments) > 1 and not arguments[1].startswith("-"):
        return run(arguments[1], arguments[2:])
    if arguments[:1] == ["laboratory"] and (len(arguments) == 1 or arguments[1].startswith("-")):
        # Not by argparse: the value of an option of the runs would be taken for an optional FILE.
        arguments.insert(1, LABORATORY)
    parsed, rest = parser.parse_known_args(arguments)
    takes_more = parsed.command in ("sweep", "trial", "laboratory")
    if rest and not takes_more:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options = vars(parsed)
    if takes_more:
        options["overrides"] = rest
    if run_parser := options.get("run_parser"):
        if not options["help"]:
            raise UserError("which recipe? known: " + ", ".join(RECIPES))
        run_parser.print_help()
        return 0
    group = options.pop("group_parser", None)
    target = options.pop("target", None)
    if target is None:
        (group or parser).print_help()
        return 0 if not arguments else 2
    options = {key: value for key, value in options.items() if key not in ("command", "data_command")}
    module, function = target.split(":")
    return int(getattr(importlib.import_module(module), function)(**options) or 0)


TRAINS = ("run", "sweep", "trial", "demo", "laboratory")
PRINTS = ("report", "dashboard", "predict", "evaluate", "bench", "judge", "preview")
"""Commands whose work is what they print; of the others it lies in files."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Entry point of ``domaingap``: 0 on success, 1 when some runs failed, 2 on a user's mistake, 130 after Ctrl-C, and
    128 more than the signal where one ended it."""
    if arguments is None:
        if sys.argv[1:2] and sys.argv[1] in TRAINS:
            use_huge_pages()
        tame_shell()
    with tolerant_streams(), ends_on_signals():
        code = _guarded(list(sys.argv[1:] if arguments is None else arguments))
    sys.exit(code)


def _guarded(arguments: list[str]) -> int:
    """The command's exit code; whatever ends it, it ends with a line that says so."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    warnings.filterwarnings("ignore", category=FutureWarning)
    try:
        code = dispatch(arguments)
        if (error := lost_output()) is not None:
            _say(f"domaingap: standard output isn't whole ({error.strerror}); make room there, and give the command again")
            code = code or (2 if any(argument in PRINTS for argument in arguments[:2]) else 0)
        return code
    except UserError as error:
        _say(f"domaingap: {error}{where_relative_paths_lead()}")
        return 2
    except KeyboardInterrupt:
        _say(again("interrupted"))
        return 128 + signal.SIGINT
    except Terminated as terminated:
        _say(again(f"terminated ({terminated.name})"))
        return terminated.code
    except SystemExit as exit:  # of help and version; of a library that knows no other way
        return exit.code if isinstance(exit.code, int) else 1 if exit.code else 0
    except Exception as error:
        if traceback_wanted():
            traceback.print_exc()
        if (cause := _of_the_system(error)) is not None:
            _say(f"domaingap: {printable(cause)}")
            return 2
        _say(
            f"domaingap: {type(error).__name__}: {error} - a mistake of ours; "
            "set DOMAINGAP_TRACEBACK=1 to see where, and report it"
        )
        return 1


def _of_the_system(error: BaseException) -> str | None:
    """What the machine refuses rather than we got wrong: files, memory, processes."""
    if isinstance(error, OSError) and not isinstance(error, TimeoutError | ConnectionError):
        return trouble(error) + where_relative_paths_lead()
    if isinstance(error, MemoryError):
        return f"out of memory ({error}); close other programs, or make --fit.batch_size or --crop.size smaller"
    return None


def _say(line: str) -> None:
    print(line, file=sys.stderr)


if __name__ == "__main__":
    main()
