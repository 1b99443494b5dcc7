"""Seeded interleavings of commands over one stage, one part and one run, some killed; each must end as if it were alone.

``python -m tests.stress_stores --interleavings 20`` runs them all (about three minutes on two cores) and prints a line
each; the tests run the first few.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.conftest import write_300w, write_face_synthetics

RECIPES = ("label_adaptation", "mixing", "fine_tuning", "data_adaptation")
"""All start from one synthetic network; three of them share an adapter."""

# A server that has imported what takes seconds, and forks a process for each command.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["domaingap.study.run", "experiments.commands.report", "experiments.commands.data"])


def call(arguments: list[str], log: Path) -> None:
    """A command in a process of its own, which writes to a file."""
    from experiments.__main__ import main

    os.environ["WANDB_MODE"] = "disabled"
    sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    sys.stdout, sys.stderr = (os.fdopen(n, "w", buffering=1) for n in (os.dup(1), os.dup(2)))
    main(arguments)


@dataclass
class Commands:
    """The commands over one pair of folders."""

    data: Path
    root: Path
    logs: dict[int, Path] = field(default_factory=dict)

    def arguments(self, what: str) -> list[str]:
        """A command by a word: a recipe, or ``prepare``."""
        places = [f"--data_root={self.data}", f"--prepared_dir={self.root / 'prepared'}"]
        if what == "prepare":
            return ["data", "prepare", *places, "--size=32", "--box=landmarks", "--workers=2"]
        options = ["--adapter.kind=mlp", "--adapter.epochs=40"] if what == "label_adaptation" else []
        return [
            "run", what, *places, *options, f"--runs_dir={self.root / 'runs'}", "--n_real=9", "--real.n_val=6",
            "--crop.size=32", "--crop.box=landmarks", "--model.backbone=test_resnet", "--fit.steps=50", "--fit.val_every=7",
            "--fit.batch_size=8", "--fit.precision=32", "--wandb.mode=off",
        ]  # fmt: skip

    def start(self, what: str) -> Any:
        """Start a command."""
        log = self.root / f"log-{len(self.logs)}-{what}.txt"
        process = CONTEXT.Process(target=call, args=(self.arguments(what), log))
        process.start()
        assert process.pid is not None
        self.logs[process.pid] = log
        return process

    def finish(self, what: str) -> None:
        """Run a command to its end, alone."""
        process = self.start(what)
        process.join()
        assert process.exitcode == 0, f"{what}: exit code {process.exitcode}\n{self.logs[process.pid].read_text()}"

    def results(self) -> dict[str, Any]:
        """Everything that must not depend on who did what when."""
        found: dict[str, Any] = {}
        for path in sorted(self.root.glob("runs/*/result.json")):
            content = json.loads(path.read_text())
            found[content["recipe"]] = {key: content[key] for key in ("metrics", "intervals", "n_real_train", "steps_total")}
            with np.load(path.parent / "predictions.npz") as arrays:
                found[content["recipe"]] |= {key: arrays[key].tobytes() for key in sorted(arrays.files)}
        for path in sorted(self.root.glob("prepared/*/*/crops-*")):
            crops = np.load(path / "crops.npy")
            assert all(crop.std() > 1 for crop in crops), f"{path}: black crops"
            with np.load(path / "index.npz") as arrays:
                index = {key: arrays[key].tobytes() for key in sorted(arrays.files)}
            found[f"{path.parent.parent.name}/{path.parent.name}"] = (crops.tobytes(), index)
        return found

    def networks(self) -> list[str]:
        """Everything that lies in the store of stages."""
        return sorted(path.name for path in (self.root / "runs" / "stages").iterdir())


def undisturbed(data: Path, root: Path) -> tuple[dict[str, Any], list[str]]:
    """What the commands leave behind one after the other."""
    commands = Commands(data, root)
    root.mkdir()
    for what in RECIPES:
        commands.finish(what)
    return commands.results(), commands.networks()


def interleaving(seed: int, data: Path, root: Path, expected: dict[str, Any], networks: list[str]) -> str:
    """Two to four commands at once, some killed at seeded moments; then those again, alone. Says what happened."""
    draw = random.Random(seed)
    commands = Commands(data, root)
    root.mkdir()
    shared = draw.choice(RECIPES)
    # The same run twice at least, so that they also meet over its folder.
    wanted = [shared, shared, *(draw.choice([*RECIPES, "prepare"]) for _ in range(draw.randint(0, 2)))]
    draw.shuffle(wanted)
    running, victims = [], []
    for what in wanted:
        running.append((what, commands.start(what)))
        time.sleep(draw.uniform(0, 0.8))
    for what, process in running:
        if draw.random() < 0.5:
            process.join(draw.uniform(0, 3))
            if process.is_alive():
                process.kill()
                victims.append(what)
    codes = []
    for what, process in running:
        process.join()
        codes.append((what, process.exitcode))
        assert process.exitcode in (0, -9), f"seed {seed}: {what}: {codes}\n{commands.logs[process.pid].read_text()}"
    for what in RECIPES:
        commands.finish(what)
    found = commands.results()
    assert found.keys() == expected.keys(), f"seed {seed}: {found.keys() ^ expected.keys()}"
    differing = [name for name in found if found[name] != expected[name]]
    assert not differing, f"seed {seed}: {differing} differ"
    assert commands.networks() == networks, f"seed {seed}: {commands.networks()}"
    text = "".join(path.read_text() for path in commands.logs.values())
    assert "damaged" not in text, f"seed {seed}: {text}"
    trained = text.count(" faces, 32 precision") - text.count("going on from its last checkpoint")
    most = sum(name.startswith("network-") for name in networks) + len(victims)
    assert trained <= most, f"seed {seed}: {trained} trainings of {most} at most"
    waited = text.count("waiting for another process")
    return f"{len(wanted)} commands at once, {len(victims)} killed, {waited} waited, {trained} trainings"


def main() -> None:
    """Run interleavings and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--interleavings", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="seed of the first")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_300w(root / "data" / "300w")
        write_face_synthetics(root / "data" / "face_synthetics")
        expected, networks = undisturbed(root / "data", root / "alone")
        for seed in range(options.first, options.first + options.interleavings):
            began = time.monotonic()
            line = interleaving(seed, root / "data", root / f"{seed}", expected, networks)
            print(
                f"interleaving {seed}: {line}, equal to the undisturbed one ({time.monotonic() - began:.0f} s)", flush=True
            )
            shutil.rmtree(root / f"{seed}")


if __name__ == "__main__":
    main()
