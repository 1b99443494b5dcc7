"""``python -m tests.large_report``: how long the page of a study of 200 runs takes, and how large it is.

The runs never ran: four strategies and real data alone at five numbers of real images with eight seeds, and synthetic data
alone with eight, each with predictions on as many faces as 300-W Common and the validation set have.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from domaingap.predictions import Predictions, save_predictions
from domaingap.study.record import RunRecord
from tests.conftest import MEAN_FACE
from tests.study.records import run_record

BUDGETS = (10, 50, 250, 1000, 2848)
SEEDS = 8
STRATEGIES: dict[str, dict[str, Any]] = {
    "label_adaptation": {}, "mixing": {"alpha": 0.5}, "data_adaptation": {}, "fine_tuning": {}, "real_only": {},
}  # fmt: skip
FACES = {"val": 300, "common": 554}


def records() -> list[RunRecord]:
    """The runs."""
    made = [run_record("synthetic_only", seed, 12 + 0.3 * float(np.sin(seed)), n_real=None) for seed in range(SEEDS)]
    for recipe, more in STRATEGIES.items():
        for number, n in enumerate(BUDGETS):
            nme = 14 - 2 * number if recipe == "real_only" else 10 - number
            for seed in range(SEEDS):
                made.append(run_record(recipe, seed, nme + 0.3 * float(np.sin(7 * seed + number)), n_real=n, **more))
    return made


def write(root: Path) -> int:
    """Write the runs with their predictions; how many there are."""
    rng = np.random.default_rng(0)
    truth = {on: MEAN_FACE * rng.uniform(2, 4, (n, 1, 1)) + rng.normal(0, 2, (n, 68, 2)) for on, n in FACES.items()}
    made = records()
    for record in made:
        folder = root / record.name
        folder.mkdir(parents=True)
        replace(record, folder=folder).write()
        sets = {}
        for on, points in truth.items():
            names = np.array([f"{on}/face_{i:04d}.jpg" for i in range(len(points))])
            noise = rng.normal(0, (record.value("common") or 6.0) / 6, points.shape)
            sets[on] = Predictions(names, names, points + noise, points, np.full(len(points), "mtcnn"))
        save_predictions(folder / "predictions.npz", sets)
    return len(made)


def main() -> int:
    """Write the study, time the command, print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, help="a new folder to keep the study and its page in")
    keep = parser.parse_args().keep
    with tempfile.TemporaryDirectory() as temporary:
        root = keep or Path(temporary)
        n = write(root / "study")
        page = root / "report.html"
        began = time.perf_counter()
        command = [sys.executable, "-m", "experiments", "report", str(root / "study"), "--html", str(page)]
        subprocess.run(command, check=True)
        seconds = time.perf_counter() - began
        print(f"{n} runs: {seconds:.1f} s, {page.stat().st_size / 1e6:.1f} MB (wanted: under 60 s and 15 MB)")
        return int(seconds >= 60 or page.stat().st_size >= 15e6)


if __name__ == "__main__":
    sys.exit(main())
