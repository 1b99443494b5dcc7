"""``domaingap laboratory``: does the suite measure what it should? Generated faces with one gap at a time, and the answers
that are known beforehand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from domaingap.config import AdapterConfig, TargetConfig
from domaingap.errors import UserError
from domaingap.hashing import write_atomically, write_json
from domaingap.progress import console
from domaingap.results import finite, read_results
from domaingap.statistics import Interval, t_interval
from experiments.report import RECIPE_ORDER, Finished, Section, markdown, print_sections

if TYPE_CHECKING:
    from domaingap.models.label_adapter import LabelAdapter
    from experiments.sweep import Planned

Points = NDArray[np.float64]
Verdict = Literal["passed", "MISSED", "reported", "not measured"]

MARGIN = 0.3
"""NME in % by which a strategy may differ from real_only and still equal it."""
SHARE = 0.8
"""Share of a gap that has to go."""
MOVEMENT = 0.5
"""How far, in % of the eyes' distance, an adapter may move true labels where these are right already."""
ON = "generated"
"""The target domain's test faces."""
GAPS = ("label_gap", "appearance_gap", "population_gap")

SHORT = (
    "--finetune.steps=2", "--synthetic.generated.n=240", "--synthetic.val_split=0.1667", "--real.generated.n_train=240",
    "--real.n_val=40",
    "--real.generated.n_test=60", "--crop.size=32", "--model.backbone=test_resnet", "--fit.steps=8", "--fit.val_every=4",
    "--fit.batch_size=16", "--fit.precision=32", "--adapter.kind=linear", "--wandb.mode=off",
)  # fmt: skip
"""What --short makes smaller: 200 faces of each domain to train on, and too few steps for any network's answer."""
SHORT_SEEDS = 2


@dataclass(frozen=True)
class Check:
    """One thing that the laboratory should find.

    Attributes:
        condition: which gaps there are.
        asked: what should hold.
        measured: mean with its 95% interval, whose bounds are NaN for a single seed; None where runs are missing.
        share: it is a share, not NME in %.
        over: what the interval is over.
        verdict: ``reported`` where nothing in particular is expected.
        note: what else there is to know.
        by_seed: what the mean is of, where it is over seeds.
    """

    condition: str
    asked: str
    measured: Interval | None
    share: bool
    over: str
    verdict: Verdict
    note: str = ""
    by_seed: Mapping[int, float] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The measured value as tables show it."""
        if self.measured is None:
            return "-"
        mean, low, high = (f"{100 * v:.0f}%" if self.share else f"{v:+.2f}" for v in self.measured)
        return f"{mean} [{low}, {high}]" if math.isfinite(self.measured.low) else mean


@dataclass(frozen=True)
class Condition:
    """Target faces with the same gaps, and the finished runs on them; those under real_only's selection rule alone."""

    dials: TargetConfig
    runs: list[Finished]

    @property
    def gaps(self) -> dict[str, float]:
        """The gaps that are open."""
        return {name: getattr(self.dials, name) for name in GAPS if getattr(self.dials, name)}

    @property
    def name(self) -> str:
        """What tables call it."""
        return ", ".join(f"{name} {value:g}" for name, value in self.gaps.items()) or "all dials 0"

    def of(self, recipe: str) -> dict[int, Finished]:
        """A strategy's runs by seed; for real_only those of the shortest training."""
        runs = sorted((run for run in self.runs if run.recipe == recipe), key=lambda run: -run.answering)
        return {run.seed: run for run in runs}

    def against_real(self, recipe: str) -> dict[int, tuple[float, float]]:
        """NME in % of a strategy and of real_only by seed: the real_only of the same seed and of as many steps as stand
        behind the strategy's answers."""
        pairs = {}
        for seed, run in sorted(self.of(recipe).items()):
            for base in self.runs:
                if (base.recipe, base.seed, base.answering) == ("real_only", seed, run.answering):
                    pairs[seed] = (_nme(run), _nme(base))
        return pairs


def _nme(run: Finished) -> float:
    value = run.nme(ON)
    return float("nan") if value is None else value


def laboratory(file: Path, short: bool, check_only: bool, overrides: Sequence[str]) -> int:
    """Run the study, then print and write what it should have found and what it did.

    Args:
        file: the study's sweep file.
        short: a small one, for a look at whether it works: two seeds, few faces and steps.
        check_only: train nothing; check the runs that are finished.
        overrides: options of the runs, over the file.

    Returns:
        0, whatever the checks say, as a miss is a finding; 1 where some runs failed.
    """
    from experiments.sweep import finished_runs, planned_runs, run_all

    small = [*SHORT, f"--runs_dir={Path('runs') / f'{file.stem}-short'}"] if short else []
    plan = planned_runs(file, [*small, *overrides])
    if short:
        seeds = sorted({run.values["seed"] for run in plan})[:SHORT_SEEDS]
        plan = [run for run in plan if run.values["seed"] in seeds]
    for run in plan:
        if run.values["real"].source != "generated_target":
            raise UserError(f"{file}: a laboratory is of generated faces; set real.source to generated_target")
    folder = Path(plan[0].values["runs_dir"])
    failed = []
    if not check_only:
        finished = finished_runs(folder)
        done = sum(run.key in finished for run in plan)
        console.print(f"{file}: {len(plan)} runs, {done} of them finished before; files go to {folder}")
        failed = run_all(plan, finished)
    conditions = read_conditions(plan, folder)
    checks: list[Check] = []
    pairs: list[Pairs] = []
    for condition in conditions:
        checks += network_checks(condition)
        if set(condition.gaps) == {"label_gap"}:
            pairs.append(pairs_of(condition, plan))
            checks += pairs[-1].checks()
    sections = [checks_section(checks, short), nme_section(conditions), *(of.section() for of in pairs)]
    _write(folder, file, short, conditions, checks, pairs, sections)
    print_sections(sections)
    console.print(f"written to {folder / 'laboratory.json'} and {folder / 'laboratory.md'}")
    return 1 if failed else 0


def read_conditions(plan: Sequence[Planned], folder: Path) -> list[Condition]:
    """The planned runs that are finished, by the gaps of their target faces, in the plan's order.

    Raises:
        UserError: none is finished, they are on different versions of the faces, or a strategy was run twice with a seed.
    """
    from experiments.sweep import key_of

    keys = {run.key for run in plan}
    results = [(path, content) for path, content in (read_results(folder) if folder.is_dir() else [])]
    # The newest last: where the generator has changed, runs on the faces of before may lie beside those on today's.
    results.sort(key=lambda result: (result[0] / "result.json").stat().st_mtime)
    newest = {key: Finished(path, content) for path, content in results if (key := key_of(content)) in keys}
    if not newest:
        raise UserError(f"{folder}: none of the study's runs is finished; give the command without --check_only")
    conditions: dict[tuple[float, ...], Condition] = {}
    for run in plan:
        dials = run.values["real"].generated
        condition = conditions.setdefault(tuple(getattr(dials, name) for name in GAPS), Condition(dials, []))
        if run.key in newest:
            condition.runs.append(newest[run.key])
    for condition in conditions.values():
        for domain in ("real", "synthetic"):
            of = {r.content["data"][domain]["fingerprint"] for r in condition.runs if domain in r.content["data"]}
            if len(of) > 1:
                raise UserError(f"{folder}: runs on different versions of the faces; give the command without --check_only")
        rules = {run.rule for run in condition.runs if run.recipe == "real_only"}
        condition.runs[:] = [run for run in condition.runs if run.rule in rules or not rules]
        cells = [(run.recipe, run.seed, run.answering) for run in condition.runs]
        if twice := [recipe for recipe, *_ in cells if recipe in {c[0] for c in cells if cells.count(c) > 1}]:
            raise UserError(f"{folder}: several runs of {twice[0]} with one seed; a laboratory has one of each strategy")
    return list(conditions.values())


# What the networks should show.


def over_seeds(values: Mapping[int, float]) -> Interval | None:
    """Mean and Student's t interval of a value by seed; bounds of NaN for a single seed, None without any."""
    given = list(values.values())
    if len(given) < 2:
        return Interval(given[0], float("nan"), float("nan")) if given else None
    return t_interval(given)


def differences(pairs: Mapping[int, tuple[float, float]]) -> dict[int, float]:
    """The first of each pair minus the second, by seed."""
    return {seed: one - other for seed, (one, other) in pairs.items()}


def shares_closed(synthetic: Mapping[int, tuple[float, float]], own: Mapping[int, float]) -> dict[int, float]:
    """Share of the gap that a strategy closes, by seed.

    Args:
        synthetic: NME of synthetic_only and of real_only by seed: the gap.
        own: the strategy's NME by seed.

    Returns:
        (synthetic_only - strategy) / (synthetic_only - real_only), where that gap is above zero.
    """
    return {
        seed: (worse - own[seed]) / (worse - better)
        for seed, (worse, better) in synthetic.items()
        if seed in own and worse > better
    }


def _seeds(values: Mapping[int, float]) -> str:
    return f"{len(values)} seed{'s' if len(values) != 1 else ''}"


def difference_check(condition: str, strategy: str, pairs: Mapping[int, tuple[float, float]], what: str) -> Check:
    """Whether a strategy equals real_only: the whole interval of the paired difference within the margin.

    Args:
        condition: which gaps there are.
        strategy: its name.
        pairs: NME in % of the strategy and of its real_only by seed.
        what: ``equals`` for within ±margin; ``closes`` where being better is as good.
    """
    values = differences(pairs)
    measured = over_seeds(values)
    bound = f"within ±{MARGIN}" if what == "equals" else f"below +{MARGIN}"
    asked = f"{strategy} minus real_only {bound}"
    if measured is None or not math.isfinite(measured.low):
        note = "no interval from a single seed" if measured else "runs are missing"
        return Check(condition, asked, measured, False, _seeds(values), "not measured", note, values)
    kept = measured.high <= MARGIN and (what == "closes" or measured.low >= -MARGIN)
    return Check(condition, asked, measured, False, _seeds(values), "passed" if kept else "MISSED", "", values)


def share_check(
    condition: str, strategy: str, synthetic: Mapping[int, tuple[float, float]], own: Mapping[int, float], judged: bool
) -> Check:
    """Whether a strategy closes enough of the gap, on the mean over seeds; see :func:`shares_closed`."""
    shares = shares_closed(synthetic, own)
    asked = f"{strategy} closes {f'at least {SHARE:.0%}' if judged else 'a share'} of synthetic_only minus real_only"
    both = [seed for seed in synthetic if seed in own]
    if not both:
        return Check(condition, asked, None, True, "0 seeds", "not measured", "runs are missing")
    measured = over_seeds(shares)
    without = [str(seed) for seed in both if seed not in shares]
    note = f"no gap to close with seed {', '.join(without)}" if without else ""
    # Where there is no gap, it can't be told that it was closed.
    passed = measured is not None and not without and measured.mean >= SHARE
    verdict: Verdict = "reported" if not judged else "passed" if passed else "MISSED"
    return Check(condition, asked, measured, True, _seeds(shares), verdict, note, shares)


def movement_check(condition: str, moved: Mapping[int, tuple[float, str | None]]) -> Check:
    """Whether the adapter for labels leaves labels alone that are right already, or says that it doesn't.

    Args:
        condition: which gaps there are.
        moved: by seed how far it moves true labels, in % of the eyes' distance, and the warning that was recorded.
    """
    values = {seed: distance for seed, (distance, _) in moved.items()}
    asked = f"the adapter for labels moves true ones by less than {MOVEMENT}, or warns"
    if not moved:
        return Check(condition, asked, None, False, "0 seeds", "not measured", "runs are missing")
    kept = all(distance < MOVEMENT or warning for distance, warning in moved.values())
    warned = sum(warning is not None for _, warning in moved.values())
    note = f"warned with {warned} of {len(moved)}"
    return Check(condition, asked, over_seeds(values), False, _seeds(values), "passed" if kept else "MISSED", note, values)


def network_checks(condition: Condition) -> list[Check]:
    """What the runs of a condition should show; nothing but the gap where several dials are turned at once."""
    name, gaps = condition.name, set(condition.gaps)
    synthetic = condition.against_real("synthetic_only")
    if not gaps:
        strategies = [recipe for recipe in RECIPE_ORDER if recipe != "real_only"]
        return [difference_check(name, recipe, condition.against_real(recipe), "equals") for recipe in strategies]
    gap = differences(synthetic)
    checks = [_reported(name, "the gap: synthetic_only minus real_only", gap)]
    adapted = {seed: _nme(run) for seed, run in condition.of("label_adaptation").items()}
    if gaps == {"label_gap"}:
        checks.append(share_check(name, "label_adaptation", synthetic, adapted, True))
    elif gaps == {"appearance_gap"}:
        gain = {seed: worse - adapted[seed] for seed, (worse, _) in synthetic.items() if seed in adapted}
        repair = "repair of the network's errors: the labels are the same"
        checks.append(_reported(name, "label_adaptation's gain over synthetic_only", gain, repair))
        checks.append(movement_check(name, _movements(condition, "data_adaptation") or _movements(condition, "mixing")))
        other = {seed: distance for seed, (distance, _) in _movements(condition, "label_adaptation").items()}
        checks.append(_reported(name, "the adapter for predictions would move true labels by", other))
        tuned = condition.against_real("fine_tuning")
        checks.append(difference_check(name, "fine_tuning", tuned, "closes"))
        # The gap to the same real_only that it is compared with.
        synthetic_at = {seed: (synthetic[seed][0], real) for seed, (_, real) in tuned.items() if seed in synthetic}
        own = {seed: value for seed, (value, _) in tuned.items()}
        checks.append(share_check(name, "fine_tuning", synthetic_at, own, False))
    return checks


def _reported(condition: str, asked: str, values: Mapping[int, float], note: str = "") -> Check:
    measured = over_seeds(values)
    verdict: Verdict = "reported" if measured else "not measured"
    return Check(
        condition, asked, measured, False, _seeds(values), verdict, note if measured else "runs are missing", values
    )


def _movements(condition: Condition, recipe: str) -> dict[int, tuple[float, str | None]]:
    records = {seed: run.content["adapter"] for seed, run in sorted(condition.of(recipe).items())}
    return {
        seed: (float(record["movement_labels"]["all"]), record["warning"] or record.get("movement_warning"))
        for seed, record in records.items()
    }


# What adapters should do to pairs of labels of the same face.


class Removed(NamedTuple):
    """What an adapter takes away of the difference between S and R labels of held-out faces.

    ``distance``: of the mean distance, with its interval over faces; ``squared``: of the mean squared distance;
    ``mean``: of each point's mean displacement, in the face's own frame. ``nme``: NME in % before and after by region.
    """

    distance: Interval
    squared: float
    mean: float
    nme: dict[str, tuple[float, float]]


def removed(given: Points, moved: Sequence[Points], exact: Points, resamples: int = 2000) -> Removed:
    """The share of the difference that adapters take away; their mean where there are several.

    Args:
        given: [N, 68, 2] S labels.
        moved: the same [N, 68, 2] after each adapter.
        exact: [N, 68, 2] R labels without the annotator's noise.
        resamples: of the faces, for the interval.
    """
    from domaingap.landmarks import IBUG68

    before = _distances(given, exact)
    after = np.stack([_distances(points, exact) for points in moved])
    faces_before, faces_after = before.mean(axis=1), after.mean(axis=(0, 2))
    drawn = np.random.default_rng(0).integers(len(before), size=(resamples, len(before)))
    low, high = np.quantile(_share(faces_before[drawn].mean(axis=1), faces_after[drawn].mean(axis=1)), [0.025, 0.975])
    whole = float(_share(faces_before.mean(), faces_after.mean()))
    nme = {}
    for region in ("all", *IBUG68.regions):
        points = list(IBUG68.region_indices(region))
        nme[region] = (float(before[:, points].mean()), float(after[..., points].mean()))
    means = [_mean_displacement(points, exact) for points in (given, *moved)]
    return Removed(
        Interval(whole, float(low), float(high)),
        float(_share(np.square(before).mean(), np.square(after).mean())),
        float(_share(means[0], np.mean(means[1:]))),
        nme,
    )


def _share(before: Any, after: Any) -> Any:
    """Share of ``before`` that is gone; NaN of nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.asarray(before) > 0, 1 - np.asarray(after) / np.asarray(before), np.nan)


def _distances(points: Points, exact: Points) -> Points:
    """Distance of each point [N, 68] in % of the true outer eye corners' distance."""
    from domaingap.landmarks import IBUG68

    a, b = IBUG68.outer_corners
    eyes = np.linalg.norm(exact[:, a] - exact[:, b], axis=-1)
    return np.asarray(100 * np.linalg.norm(points - exact, axis=-1) / eyes[:, None])


def _mean_displacement(points: Points, exact: Points) -> float:
    """Length of each point's mean displacement from ``exact``, in the faces' own upright frames, averaged over points."""
    import torch

    from domaingap.shapes import frame_of, mean_shape_of

    truth = torch.from_numpy(exact)
    frame = frame_of(truth, mean_shape_of(truth))
    away = (frame.enter(torch.from_numpy(points)) - frame.enter(truth)).mean(dim=0)
    return float(torch.linalg.vector_norm(away, dim=-1).mean())


@dataclass(frozen=True)
class PairsRow:
    """Adapters of one make: what they were fitted on and for, their kinds, what they remove, and whether it is judged."""

    adapter: str
    kinds: str
    removed: Removed
    judged: bool


@dataclass(frozen=True)
class Pairs:
    """What adapters do to the S labels of the held-out target faces of a condition."""

    condition: str
    n_train: int
    n_test: int
    rows: list[PairsRow]

    def checks(self) -> list[Check]:
        """The rows as checks: an adapter that was fitted on S labels should remove most of the difference."""
        result = []
        for row in self.rows:
            much = f"at least {SHARE:.0%}" if row.judged else "a share"
            asked = f"adapter {row.adapter}: removes {much} of S minus R, held out"
            passed = row.removed.distance.mean >= SHARE
            verdict: Verdict = "reported" if not row.judged else "passed" if passed else "MISSED"
            note = f"{row.removed.squared:.0%} of its square, {row.removed.mean:.0%} of its mean; {row.kinds}"
            over = f"{self.n_test} faces"
            result.append(Check(self.condition, asked, row.removed.distance, True, over, verdict, note))
        return result

    def section(self) -> Section:
        """The rows as a table with regions."""
        regions = list(self.rows[0].removed.nme)
        header = ["adapter", "kind", "distance", "squared", "mean", *regions]
        rows = []
        for row in self.rows:
            distance = row.removed.distance
            rows.append(
                [row.adapter, row.kinds, f"{distance.mean:.0%} [{distance.low:.0%}, {distance.high:.0%}]",
                 f"{row.removed.squared:.0%}", f"{row.removed.mean:.0%}",
                 *(f"{before:.2f} to {after:.2f}" for before, after in row.removed.nme.values())]
            )  # fmt: skip
        notes = [
            f"S labels of {self.n_test} held-out target faces, moved by each adapter, against their R labels without noise; "
            f"those on S labels were fitted on {self.n_train} pairs of S labels and noisy R labels.",
            "distance, squared, mean: share removed of the mean distance (interval over faces), of its mean square "
            "and of each point's mean displacement. Regions: NME % before and after.",
            "any kind: the one that does best on the faces that choose; for labels: the one among those that keep the "
            "synthetic labels' spread, as the runs do, whose adapters are fitted on a network's predictions.",
        ]
        return Section(f"Held-out pairs of labels, {self.condition}", header, rows, notes)


def pairs_of(condition: Condition, plan: Sequence[Planned]) -> Pairs:
    """Fit adapters on S and R labels of the first seed's training faces, and apply them and the runs' own to the S labels
    of the test faces. No network is needed; faces that aren't there yet are made."""
    from domaingap.models.adapter_choice import AdapterFamily
    from experiments.run import open_real, open_synthetic

    mine = [run for run in plan if run.values["real"].generated == condition.dials and "synthetic" in run.values]
    if not mine:
        raise UserError(f"{condition.name}: no run with synthetic faces in the study, whose labels an adapter must keep")
    values = next((run.values for run in mine if "adapter" in run.values), mine[0].values)
    roots, seed = (values["data_root"], values["prepared_dir"]), values["seed"]
    common = (seed, values["crop"], values["augment"])
    real = open_real(*roots, values["real"], values.get("n_real"), *common)
    synthetic = open_synthetic(*roots, values["synthetic"], values["n_synthetic"], *common)
    indexes = [part.index() for part in real.faces.prepared]
    s, r, exact = (
        np.concatenate([index[name] for index in indexes])[:, :68]
        for name in ("landmarks_s", "landmarks_r", "landmarks_r_exact")
    )
    train, val, test = real.train_positions, real.val_positions, real.test_positions[ON]
    chosen_on = (s[val], r[val]) if values["selection"] == "real_val" else None
    config: AdapterConfig = values.get("adapter", AdapterConfig())
    family = AdapterFamily(s[train], r[train], config, chosen_on, real.faces.photographs[train], seed)
    fitted = {
        "fitted on S labels, any kind": [family.choose().adapter],
        "fitted on S labels, for labels": [family.choose(synthetic.faces.landmarks[synthetic.train_positions]).adapter],
    }
    # Asked of an adapter fitted on S labels; what the runs' guard of the spread would leave of it stands beside.
    rows = [_row(name, adapters, s[test], exact[test], "any kind" in name) for name, adapters in fitted.items()]
    for use, recipes in (("labels", ("data_adaptation", "mixing")), ("predictions", ("label_adaptation",))):
        if adapters := _adapters(condition, use, recipes):
            rows.append(_row(f"fitted on predictions, for {use}", adapters, s[test], exact[test], False))
    return Pairs(condition.name, len(train), len(test), rows)


def _row(name: str, adapters: Sequence[LabelAdapter], given: Points, exact: Points, judged: bool) -> PairsRow:
    kinds = sorted(f"{a.kind}{f' at {a.strength:g}' if a.kind in ('linear', 'mlp') else ''}" for a in adapters)
    counted = [f"{kind} ({kinds.count(kind)})" if len(kinds) > 1 else kind for kind in dict.fromkeys(kinds)]
    return PairsRow(name, ", ".join(counted), removed(given, [a.adapt(given) for a in adapters], exact), judged)


def _adapters(condition: Condition, use: str, recipes: Sequence[str]) -> list[LabelAdapter]:
    """The adapters of the first of the recipes that has runs, one for each seed."""
    from domaingap.models.label_adapter import LabelAdapter
    from experiments.run import adapter_file

    for recipe in recipes:
        if runs := condition.of(recipe):
            files = [runs[seed].folder / "checkpoints" / adapter_file(use) for seed in sorted(runs)]  # type: ignore[arg-type]
            return [LabelAdapter.load(file) for file in files]
    return []


# Tables and files.


def checks_section(checks: Sequence[Check], short: bool) -> Section:
    """All checks as a table, misses included."""
    rows = [[check.condition, check.asked, check.text, check.over, check.verdict, check.note] for check in checks]
    counts = [f"{sum(check.verdict == verdict for check in checks)} {verdict}" for verdict in ("passed", "MISSED")]
    unmeasured = sum(check.verdict == "not measured" for check in checks)
    notes = [
        ", ".join([*counts, *([f"{unmeasured} not measured"] if unmeasured else [])])
        + ("; a short study: its networks' figures mean nothing." if short else "."),
        "NME and differences in % of the outer eye corners' distance, on the target domain's test faces.",
        "every strategy is compared with the real_only of the same seed and of as many steps as stand behind its answers: "
        "fine_tuning, whose two stages both count, with the longer of the two.",
        "[ ]: 95% interval, Student's t on paired differences over seeds; of pairs of labels over faces (bootstrap).",
    ]
    return Section("Checks", ["condition", "asked", "measured", "over", "verdict", "note"], rows, notes)


def nme_section(conditions: Sequence[Condition]) -> Section:
    """NME of every strategy under every condition."""
    lines: dict[tuple[str, int], dict[str, dict[int, float]]] = {}
    for condition in conditions:
        for run in condition.runs:
            line = lines.setdefault((run.recipe, run.answering), {})
            line.setdefault(condition.name, {})[run.seed] = _nme(run)
    rows = []
    for recipe, steps in sorted(lines, key=lambda line: (RECIPE_ORDER.index(line[0]), line[1])):
        cells = []
        for condition in conditions:
            interval = over_seeds(lines[recipe, steps].get(condition.name, {}))
            known = interval is not None and math.isfinite(interval.low)
            cells.append(
                f"{interval.mean:.2f}{f' [{interval.low:.2f}, {interval.high:.2f}]' if known else ''}" if interval else "-"
            )
        rows.append([recipe, str(steps), *cells])
    budgets = sorted({(run.n, run.content["n_synthetic"]) for c in conditions for run in c.runs if run.n and run.source})
    notes = [f"trained on {n} real and {m} synthetic faces." for n, m in budgets]
    return Section("NME % on the target's test faces", ["strategy", "steps", *(c.name for c in conditions)], rows, notes)


def _write(
    folder: Path,
    file: Path,
    short: bool,
    conditions: Sequence[Condition],
    checks: Sequence[Check],
    pairs: Sequence[Pairs],
    sections: Sequence[Section],
) -> None:
    from experiments.run import git_commit

    content = {
        "file": str(file),
        "short": short,
        "git_commit": git_commit(),
        "checks": [
            {
                "condition": check.condition,
                "asked": check.asked,
                "verdict": check.verdict,
                "unit": "share" if check.share else "% of the outer eye corners' distance",
                "measured": _plain(check.measured),
                "over": check.over,
                "by_seed": {str(seed): finite(value) for seed, value in check.by_seed.items()},
                "note": check.note,
            }
            for check in checks
        ],
        "conditions": {
            condition.name: {
                "dials": {name: getattr(condition.dials, name) for name in GAPS},
                "runs": [
                    {"recipe": r.recipe, "seed": r.seed, "steps": r.answering, "nme": finite(_nme(r)), "name": r.folder.name}
                    for r in condition.runs
                ],
            }
            for condition in conditions
        },
        "pairs": [
            {
                "condition": of.condition,
                "n_train": of.n_train,
                "n_test": of.n_test,
                "adapters": [
                    {
                        "adapter": row.adapter,
                        "kinds": row.kinds,
                        "distance": _plain(row.removed.distance),
                        "squared": finite(row.removed.squared),
                        "mean": finite(row.removed.mean),
                        "nme": {region: {"before": b, "after": a} for region, (b, a) in row.removed.nme.items()},
                    }
                    for row in of.rows
                ],
            }
            for of in pairs
        ],
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "laboratory.json", content)
        write_atomically(folder / "laboratory.md", markdown(sections))
    except OSError as error:
        raise UserError(f"{folder}: can't be written ({error.strerror}); choose another --runs_dir") from error


def _plain(interval: Interval | None) -> dict[str, float | None] | None:
    return {key: finite(value) for key, value in interval._asdict().items()} if interval is not None else None
