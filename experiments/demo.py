"""``domaingap demo``: all six strategies on generated faces, their table, a sheet of predictions, and what it means."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from domaingap.errors import UserError
from domaingap.progress import console
from domaingap.statistics import Interval

STRATEGIES = ("synthetic_only", "real_only", "label_adaptation", "data_adaptation", "mixing", "fine_tuning")
"""In this order: the first run trains the synthetic network that four others start from."""

SETTINGS: dict[str, Any] = {
    "synthetic.source": "generated",
    "synthetic.generated.n": 1500,
    "real.source": "generated_target",
    "real.generated.n_train": 1100,
    "real.generated.n_test": 400,
    "crop.size": 64,
    "model.backbone": "resnet10t",
    "fit.steps": 360,
    "fit.val_every": 60,
    "augment.strength": 0.4,
    "adapter.epochs": 300,
}
"""3,000 faces, and about 12,000 samples per network: a ResNet10-T is further after these than MobileNetV3-Small
after twice as many, and light augmentation lets so short a training get further. What else there is to set is as
recommended."""

QUICK: dict[str, Any] = {
    **SETTINGS,
    "synthetic.generated.n": 40,
    "real.generated.n_train": 40,
    "real.generated.n_test": 12,
    "real.n_val": 10,
    "crop.size": 32,
    "model.backbone": "test_resnet",
    "fit.steps": 4,
    "fit.batch_size": 8,
    "adapter.kind": "linear",
}

ROWS = 6
"""Faces on the sheet."""

NEXT = "domaingap sweep configs/sweeps/strategies.yaml --data_root data"


def demo(runs_dir: Path | None, prepared_dir: Path, seed: int, quick: bool, wandb: str) -> int:
    """Make the faces, run the strategies, print their table and three sentences; given again, it goes on.

    Args:
        runs_dir: where runs are kept.
        prepared_dir: where faces are kept.
        seed: of weights, order and augmentation.
        quick: a few faces and steps only.
        wandb: Weights & Biases' mode.

    Returns:
        0, or 1 where a run failed.
    """
    from experiments.report import report
    from experiments.sweep import finished_runs, run_all

    began = time.monotonic()
    folder = runs_dir or Path("runs/demo-quick" if quick else "runs/demo")
    settings = QUICK if quick else SETTINGS
    shared = {**settings, "seed": seed, "wandb.mode": wandb, "runs_dir": folder, "prepared_dir": prepared_dir}
    plan = [_planned(name, shared) for name in STRATEGIES]
    n = sum(settings[key] for key in ("synthetic.generated.n", "real.generated.n_train", "real.generated.n_test"))
    finished = finished_runs(folder)
    left = sum(run.key not in finished for run in plan)
    console.print(
        f"{n:,} generated faces, {len(plan)} strategies"
        + (f", {len(plan) - left} of them finished before" if left < len(plan) else "")
        + (f": about five minutes on two cores; files go to {folder}" if left and not quick else f"; files go to {folder}")
    )
    values = plan[0].values
    real = _open_faces(values)
    console.print(f"faces made, or found made before, in {time.monotonic() - began:.0f} s")
    if run_all(plan, finished):
        return 1
    runs = _results(folder, {run.key for run in plan})
    report(folder, "table", "strategies", None, on="generated")
    print()
    report(folder, "table", "pairs", None, on="generated")
    picture = folder / "faces.png"
    _write_faces(runs, real, picture)
    console.print(f"demo done in {(time.monotonic() - began) / 60:.1f} min")
    print()
    for sentence in sentences(runs, folder, picture, quick):
        print(sentence)
    return 0


def _planned(name: str, settings: Mapping[str, Any]) -> Any:
    from experiments.__main__ import parse_recipe
    from experiments.sweep import Planned, recipe_function, takes

    arguments = [f"--{key}={value}" for key, value in settings.items() if takes(name, key)]
    return Planned(name, parse_recipe(name, recipe_function(name), arguments))


def _open_faces(values: Mapping[str, Any]) -> Any:
    """The real faces' module; those of both domains are made here where they aren't yet."""
    from experiments.run import open_real, open_synthetic

    roots = (values["data_root"], values["prepared_dir"])
    common = (values["seed"], values["crop"], values["augment"])
    open_synthetic(*roots, values["synthetic"], None, *common)
    return open_real(*roots, values["real"], None, *common)


def _results(folder: Path, keys: set[str]) -> dict[str, Any]:
    """The demo's own finished runs by recipe, whatever else lies in the folder."""
    from domaingap.results import read_results
    from experiments.report import Finished
    from experiments.sweep import key_of

    return {content["recipe"]: Finished(path, content) for path, content in read_results(folder) if key_of(content) in keys}


def _write_faces(runs: Mapping[str, Any], real: Any, path: Path) -> None:
    """A sheet: a test face a row, from an easy to a hard one; truth green, each strategy's prediction red."""
    import numpy as np
    from PIL import Image

    from domaingap.data.crops import apply_transform
    from domaingap.pictures import GREEN, RED, draw_face, sheet
    from domaingap.predictions import load_predictions

    answers = {name: load_predictions(runs[name].folder / "predictions.npz")["generated"] for name in STRATEGIES}
    nme = {name: predictions.nme() for name, predictions in answers.items()}
    dataset = real.test_set("generated")
    order = np.argsort(np.mean(list(nme.values()), axis=0))
    # Neither the easiest nor the hardest: these are often odd.
    chosen = order[np.linspace(0.05 * len(order), 0.95 * len(order) - 1, ROWS).round().astype(int)]
    tiles = []
    for i in chosen:
        image, to_crop = dataset[int(i)]["image"].numpy(), dataset.faces.image_to_crop[dataset.positions[i]]
        for name, predictions in answers.items():
            points = [
                (apply_transform(to_crop, predictions.truth[i]), GREEN),
                (apply_transform(to_crop, predictions.prediction[i]), RED),
            ]
            tiles.append(draw_face(image, points, caption=f"{name}  NME {nme[name][i]:.1f}"))
    try:
        Image.fromarray(sheet(tiles, len(answers))).save(path)
    except OSError as error:
        raise UserError(f"{path}: can't be written ({error.strerror})") from error


def sentences(runs: Mapping[str, Any], folder: Path, picture: Path, quick: bool = False) -> tuple[str, str, str]:
    """What the gap was; what closed it; where the files are and what to type next.

    A difference counts where its 95% interval, over photographs in pairs, excludes zero. Of the strategies the one with
    the lowest error on validation faces is named first: the test faces must not pick it.
    """
    nme = {name: float(run.nme("generated")) for name, run in runs.items()}
    gap = _difference(runs, "synthetic_only", "real_only")
    n_test = runs["real_only"].content["counts"]["test/generated"]["images"]
    n_real = runs["real_only"].n
    first = (
        f"The gap: on {n_test} target faces, which stand in for real photographs, the points of a network trained on "
        f"synthetic faces alone are off by {nme['synthetic_only']:.2f}% of the distance between the outer eye corners, "
        f"those of one trained on {n_real:,} target faces by {nme['real_only']:.2f}%"
    )
    if gap.low > 0:
        first += f": a gap of {_points(gap)}."
    elif gap.high < 0:
        first += f": here the synthetic faces alone are the better ones, by {_points(_negated(gap))}."
    else:
        first += f": a difference of {_points(gap)}, too small for these faces to tell from none."
    return first, _second(runs, nme, gap), _third(folder, picture, quick)


def _negated(interval: Interval) -> Interval:
    """The interval of the opposite difference."""
    return Interval(-interval.mean, -interval.high, -interval.low)


def _second(runs: Mapping[str, Any], nme: Mapping[str, float], gap: Interval) -> str:
    ways = sorted(STRATEGIES[2:], key=lambda name: float(runs[name].nme("val")))
    against_synthetic = {name: _difference(runs, name, "synthetic_only") for name in ways}
    against_real = {name: _difference(runs, name, "real_only") for name in ways}
    helped = [name for name in ways if against_synthetic[name].high < 0]
    harmed = [name for name in ways if against_synthetic[name].low > 0]

    def told(name: str) -> str:
        return f"{name} ({nme[name]:.2f}%{_share(nme, name) if gap.low > 0 else ''})"

    if not helped:
        text = "None of the four ways of using both domains did measurably better than synthetic faces alone"
        return f"What closed it: {_lower(text)}." if gap.low > 0 else f"{text}."
    best = helped[0]
    beaten = "beats even" if against_real[best].high < 0 else "falls short of" if against_real[best].low > 0 else "equals"
    lead = "What closed it" if gap.low > 0 else "What helped"
    margin = "" if beaten == "equals" else f" by {abs(against_real[best].mean):.2f} points"
    within = ", as far as these faces can tell" if beaten == "equals" else ""
    picked = ", the best on validation faces," if best == ways[0] else ""
    text = f"{lead}: {told(best)}{picked} {beaten} training on the target faces alone{margin}{within}"
    if len(helped) > 1:
        text += f"; {_listed([told(name) for name in helped[1:]])} helped as well"
    if open_ := [name for name in ways if name not in helped and name not in harmed]:
        text += f"; {_listed([told(name) for name in open_])} made no measurable difference"
    if harmed:
        text += f"; {_listed([told(name) for name in harmed])} made it worse"
    return text + "."


def _third(folder: Path, picture: Path, quick: bool) -> str:
    warning = " (this was --quick: its figures mean nothing)" if quick else ""
    return (
        f"Everything is in {folder}, with the predictions to look at in {picture}{warning}; for real data put 300-W and "
        f"FaceSynthetics below data/ as README, section Data, says, and type: {NEXT}"
    )


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _points(interval: Interval) -> str:
    return f"{interval.mean:.2f} points (95% interval {interval.low:.2f} to {interval.high:.2f})"


def _share(nme: Mapping[str, float], name: str) -> str:
    """The share of the gap that is gone."""
    share = (nme["synthetic_only"] - nme[name]) / (nme["synthetic_only"] - nme["real_only"])
    return f", {100 * share:.0f}% of the gap" if share > 0 else ""


def _difference(runs: Mapping[str, Any], one: str, other: str) -> Interval:
    """NME of one strategy minus that of another on the test faces, with its interval over photographs in pairs."""
    from experiments.report import difference

    compared = difference([runs[one]], [runs[other]], "generated")
    assert compared is not None, "all strategies are scored on the same faces"
    return Interval(*compared[1])
