"""``domaingap demo``: all six strategies on generated faces, their table, what it means, and the page of it all."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from domaingap.progress import console
from domaingap.statistics import Interval
from experiments.recipes import RECIPES

if TYPE_CHECKING:
    from domaingap.data.datamodules import RealDataModule
    from domaingap.study.record import RunRecord

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
    "model.head": "regression",
    "fit.steps": 360,
    "fit.val_every": 60,
    "augment.strength": 0.4,
    "adapter.epochs": 300,
}
"""3,000 faces, and about 12,000 samples per network: a ResNet10-T is further after these than MobileNetV3-Small
after twice as many, and light augmentation lets so short a training get further. The head is the
laboratory's. What else there is to set is as recommended."""

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
    "adapter.epochs": 40,
}

ON = "generated"
"""The target domain's test faces."""
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
    from domaingap.study.arguments import parse_settings, takes
    from domaingap.study.plan import Planned, finished_runs, with_companions
    from domaingap.study.preflight import check_run
    from domaingap.study.record import read_records
    from domaingap.study.run import open_real, open_synthetic
    from domaingap.study.tables import terminal
    from domaingap.study.workers import run_all
    from experiments.commands.estimate import say_estimate
    from experiments.commands.report import report, write_page

    began = time.monotonic()
    folder = runs_dir or Path("runs/demo-quick" if quick else "runs/demo")
    settings = QUICK if quick else SETTINGS
    shared = {**settings, "seed": seed, "wandb.mode": wandb, "runs_dir": folder, "prepared_dir": prepared_dir}
    plan = []
    for recipe in (RECIPES[name] for name in STRATEGIES):
        arguments = [f"--{key}={value}" for key, value in shared.items() if takes(recipe, key)]
        plan.append(Planned(recipe, parse_settings(recipe, arguments)))
    # Not the other selection rule: this is about the strategies.
    plan = [run for run in with_companions(plan, RECIPES) if run.recipe.name != "synthetic_only" or not run.why]
    n = sum(settings[key] for key in ("synthetic.generated.n", "real.generated.n_train", "real.generated.n_test"))
    finished = finished_runs(folder)
    left = sum(run.key not in finished for run in plan)
    console.print(
        f"{n:,} generated faces, {len(STRATEGIES)} strategies, {len(plan)} runs"
        + (f", {len(plan) - left} of them finished before" if left < len(plan) else "")
        + f"; files go to {folder}",
        markup=False,
    )
    check_run(plan[0].settings)
    # Faces of both domains are made here where they aren't yet.
    open_synthetic(plan[0].settings)
    real = open_real(plan[0].settings)
    console.print(f"faces made, or found made before, in {time.monotonic() - began:.0f} s")
    if left and not quick:
        say_estimate(plan, finished, 1)
    if run_all(plan, finished):
        return 1
    records = finished_runs(folder)
    runs = {run.recipe.name: records[run.key] for run in plan if not run.why}
    longer = next(records[run.key] for run in plan if run.why)
    report(folder, "table", "strategies", None, on=ON)
    print()
    report(folder, "table", "pairs", None, on=ON)
    picture = folder / "faces.png"
    _write_faces(runs, real, picture)
    page = folder / "report.html"
    write_page(folder, read_records(folder), page, ON)
    console.print(f"demo done in {(time.monotonic() - began) / 60:.1f} min")
    print()
    for sentence in sentences(runs, longer, page, picture, quick):
        terminal().print(sentence)
    return 0


def _write_faces(runs: Mapping[str, RunRecord], real: RealDataModule, path: Path) -> None:
    """A sheet: a test face a row, from an easy to a hard one; truth green, each strategy's prediction red."""
    import numpy as np

    from domaingap.pictures import draw_prediction, save_picture, sheet
    from domaingap.predictions import load_predictions

    answers = {name: load_predictions(runs[name].folder / "predictions.npz")[ON] for name in STRATEGIES}
    nme = {name: predictions.nme() for name, predictions in answers.items()}
    dataset = real.test_set(ON)
    order = np.argsort(np.mean(list(nme.values()), axis=0))
    # Neither the easiest nor the hardest: these are often odd.
    chosen = order[np.linspace(0.05 * len(order), 0.95 * len(order) - 1, ROWS).round().astype(int)]
    tiles = [
        draw_prediction(dataset, predictions, int(i), f"{name}  NME {nme[name][i]:.1f}")
        for i in chosen
        for name, predictions in answers.items()
    ]
    save_picture(path, sheet(tiles, len(answers)))


def sentences(
    runs: Mapping[str, RunRecord], longer: RunRecord, page: Path, picture: Path, quick: bool = False
) -> tuple[str, str, str]:
    """What the gap was; what closed it; what to look at and to type next.

    A difference counts where its 95% interval, over photographs in pairs, excludes zero. Of the strategies the one with
    the lowest error on validation faces is named first: the test faces must not pick it. fine_tuning has more steps than
    the others: it is compared with the better on validation of real_only and of ``longer``, a real_only of as many.
    """
    gap = _difference(runs["synthetic_only"], runs["real_only"])
    worse, better = (_nme(runs[name]) for name in ("synthetic_only", "real_only"))
    n_test = runs["real_only"].counts[f"test/{ON}"].images
    first = (
        f"The gap: on {n_test} target faces, which stand in for real photographs, the points of a network trained on "
        f"synthetic faces alone are off by {worse:.2f}% of the distance between the outer eye corners, those of one trained "
        f"on {runs['real_only'].n_real_train:,} target faces by {better:.2f}%"
    )
    if gap.low > 0:
        first += f": a gap of {_points(gap)}."
    elif gap.high < 0:
        opposite = Interval(-gap.mean, -gap.high, -gap.low)
        first += f": here the synthetic faces alone are the better ones, by {_points(opposite)}."
    else:
        first += f": a difference of {_points(gap)}, too small for these faces to tell from none."
    return first, _second(runs, longer, gap), _third(page, picture, quick)


def _second(runs: Mapping[str, RunRecord], longer: RunRecord, gap: Interval) -> str:
    ways = sorted(STRATEGIES[2:], key=lambda name: _nme(runs[name], "val"))
    base = dict.fromkeys(ways, runs["real_only"])
    base["fine_tuning"] = min(runs["real_only"], longer, key=lambda run: _nme(run, "val"))
    against_synthetic = {name: _difference(runs[name], runs["synthetic_only"]) for name in ways}
    against_real = {name: _difference(runs[name], base[name]) for name in ways}
    helped = [name for name in ways if against_synthetic[name].high < 0]
    harmed = [name for name in ways if against_synthetic[name].low > 0]

    def told(name: str) -> str:
        own, worst = _nme(runs[name]), _nme(runs["synthetic_only"])
        share = (worst - own) / (worst - _nme(base[name])) if gap.low > 0 else 0
        return f"{name} ({own:.2f}%{f', {100 * share:.0f}% of the gap' if share > 0 else ''})"

    if not helped:
        text = "one of the four ways of using both domains did measurably better than synthetic faces alone"
        return f"What closed it: n{text}." if gap.low > 0 else f"N{text}."
    best = helped[0]
    beaten = "beats even" if against_real[best].high < 0 else "falls short of" if against_real[best].low > 0 else "equals"
    lead = "What closed it" if gap.low > 0 else "What helped"
    margin = "" if beaten == "equals" else f" by {abs(against_real[best].mean):.2f} points"
    within = ", as far as these faces can tell" if beaten == "equals" else ""
    picked = ", the best on validation faces," if best == ways[0] else ""
    steps = f" for as many steps ({_nme(longer):.2f}%)" if base[best] is longer else ""
    text = f"{lead}: {told(best)}{picked} {beaten} training on the target faces alone{steps}{margin}{within}"
    if len(helped) > 1:
        text += f"; {_listed([told(name) for name in helped[1:]])} helped as well"
    if open_ := [name for name in ways if name not in helped and name not in harmed]:
        text += f"; {_listed([told(name) for name in open_])} made no measurable difference"
    if harmed:
        text += f"; {_listed([told(name) for name in harmed])} made it worse"
    return text + "."


def _third(page: Path, picture: Path, quick: bool) -> str:
    warning = " (this was --quick: its figures mean nothing)" if quick else ""
    return (
        f"To look at: {page}, with plots, tables and faces, in a browser; and {picture}, with every strategy's predictions"
        f"{warning}. For real data put 300-W and FaceSynthetics below data/ as README, section Data, says, and type: {NEXT}"
    )


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _points(interval: Interval) -> str:
    return f"{interval.mean:.2f} points (95% interval {interval.low:.2f} to {interval.high:.2f})"


def _nme(run: RunRecord, on: str = ON) -> float:
    value = run.value(on)
    assert value is not None, f"{run.name} was scored on {on}"
    return value


def _difference(one: RunRecord, other: RunRecord) -> Interval:
    """NME of one strategy minus that of another on the test faces, with its interval over photographs in pairs."""
    from domaingap.study.compare import Group, difference

    compared = difference(Group((one,)), Group((other,)), ON)
    assert compared is not None, "all strategies are scored on the same faces"
    return compared.interval
