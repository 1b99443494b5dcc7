"""What label adapters should do to pairs of labels of the same face; no network is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from domaingap.config import AdapterConfig
from domaingap.data.datamodules import RealDataModule, SyntheticDataModule
from domaingap.errors import UserError
from domaingap.hashing import finite
from domaingap.landmarks import IBUG68
from domaingap.metrics import normalizer_length
from domaingap.models.adapter_choice import AdapterFamily
from domaingap.models.label_adapter import LabelAdapter
from domaingap.shapes import frame_of, mean_shape_of
from domaingap.stages import Use
from domaingap.statistics import Interval
from domaingap.study.laboratory import (
    MOVEMENT,
    ON,
    SHARE,
    Check,
    CheckVerdict,
    Condition,
    PlannedRun,
    over_seeds,
    plain_interval,
)
from domaingap.study.run import adapter_file
from domaingap.study.tables import Column, Table, interval_column, metric, number_column, percent

Points = NDArray[np.float64]


class Removed(NamedTuple):
    """What an adapter takes away of the difference between S and R labels of held-out faces.

    ``distance``: of the mean distance, with its interval over faces; ``squared``: of the mean squared distance;
    ``mean``: of each point's mean displacement, in the face's own frame. ``nme``: NME in % before and after by region.
    ``means``: as ``mean``, for each adapter; ``points``: how many points' mean displacement is gone to :data:`SHARE`, and of
    how many that are :data:`MOVEMENT` % of the eyes' distance or more away.
    """

    distance: Interval
    squared: float
    mean: float
    nme: dict[str, tuple[float, float]]
    means: list[float]
    points: tuple[int, int]


def removed(given: Points, moved: Sequence[Points], exact: Points, resamples: int = 2000) -> Removed:
    """The share of the difference that adapters take away; their mean where there are several.

    Args:
        given: [N, 68, 2] S labels.
        moved: the same [N, 68, 2] after each adapter.
        exact: [N, 68, 2] R labels without the annotator's noise.
        resamples: of the faces, for the interval.
    """
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
    start, *ends = (_mean_displacements(points, exact) for points in (given, *moved))
    far = start >= MOVEMENT
    gone = np.mean(ends, axis=0) <= (1 - SHARE) * start
    return Removed(
        Interval(whole, float(low), float(high)),
        float(_share(np.square(before).mean(), np.square(after).mean())),
        float(_share(start.mean(), np.mean(ends))),
        nme,
        [float(_share(start.mean(), end.mean())) for end in ends],
        (int((gone & far).sum()), int(far.sum())),
    )


def _share(before: Any, after: Any) -> Any:
    """Share of ``before`` that is gone; NaN of nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.asarray(before) > 0, 1 - np.asarray(after) / np.asarray(before), np.nan)


def _distances(points: Points, exact: Points) -> Points:
    """Distance of each point [N, 68] in % of the true outer eye corners' distance."""
    a, b = IBUG68.outer_corners
    eyes = np.linalg.norm(exact[:, a] - exact[:, b], axis=-1)
    return np.asarray(100 * np.linalg.norm(points - exact, axis=-1) / eyes[:, None])


def _mean_displacements(points: Points, exact: Points) -> Points:
    """Length [68] of each point's mean displacement from ``exact``, in the faces' own upright frames, in % of the outer eye
    corners' distance of their mean shape."""
    truth = torch.from_numpy(exact)
    frame = frame_of(truth, mean_shape_of(truth))
    away = (frame.enter(torch.from_numpy(points)) - frame.enter(truth)).mean(dim=0)
    unit = 100 / float(normalizer_length(frame.enter(truth).mean(dim=0)))
    return np.asarray(torch.linalg.vector_norm(away, dim=-1).numpy() * unit)


@dataclass(frozen=True)
class PairsRow:
    """Adapters of one make: what they were fitted on and for, their kinds, what they remove, and whether it is judged:
    on all distances or, with ``seeds``, on points' mean displacements."""

    adapter: str
    kinds: str
    removed: Removed
    judged: bool
    seeds: tuple[int, ...] = ()


@dataclass(frozen=True)
class Pairs:
    """What adapters do to the S labels of the held-out target faces of a condition."""

    condition: str
    n_train: int
    n_test: int
    rows: list[PairsRow]

    def checks(self) -> list[Check]:
        """The rows as checks: an adapter that was fitted on S labels should remove most of the difference; one that was
        fitted on a network's predictions, most of points' mean displacement."""
        result = []
        for row in self.rows:
            if row.seeds:
                result.append(self._of_means(row))
                continue
            much = f"at least {SHARE:.0%}" if row.judged else "a share"
            asked = f"adapter {row.adapter}: removes {much} of S minus R, held out"
            passed = row.removed.distance.mean >= SHARE
            verdict: CheckVerdict = "reported" if not row.judged else "passed" if passed else "MISSED"
            note = f"{row.removed.squared:.0%} of its square, {row.removed.mean:.0%} of its mean; {row.kinds}"
            over = f"{self.n_test} faces"
            result.append(Check(self.condition, asked, row.removed.distance, True, over, verdict, note))
        return result

    def _of_means(self, row: PairsRow) -> Check:
        by_seed = dict(zip(row.seeds, row.removed.means, strict=True))
        asked = f"adapter {row.adapter}: removes at least {SHARE:.0%} of points' mean displacement"
        measured = over_seeds(by_seed)
        verdict: CheckVerdict = "passed" if measured is not None and measured.mean >= SHARE else "MISSED"
        gone, far = row.removed.points
        note = (
            f"so at {gone} of {far} far points; {row.removed.distance.mean:.0%} of the mean distance, "
            f"{row.removed.squared:.0%} of its square; {row.kinds}"
        )
        over = f"{len(by_seed)} seed{'s' if len(by_seed) != 1 else ''}"
        return Check(self.condition, asked, measured, True, over, verdict, note, by_seed)

    def table(self) -> Table:
        """The rows with regions."""

        def change(pair: tuple[float, float]) -> str:
            return " to ".join(map(metric("nme"), pair))

        columns = [
            Column("adapter"),
            Column("kind"),
            interval_column("distance", percent),
            number_column("squared", percent),
            number_column("mean", percent),
            *(number_column(region, change) for region in self.rows[0].removed.nme),
        ]
        rows = [[row.adapter, row.kinds, *row.removed[:3], *row.removed.nme.values()] for row in self.rows]
        notes = [
            f"S labels of {self.n_test} held-out target faces, moved by each adapter, against their R labels without noise; "
            f"those on S labels were fitted on {self.n_train} pairs of S labels and noisy R labels.",
            "distance, squared, mean: share removed of the mean distance (interval over faces), of its mean square "
            "and of each point's mean displacement. Regions: NME % before and after.",
            "any kind: the one that does best on the faces that choose; for labels: the one among those that keep the "
            "synthetic labels' spread. fitted on predictions: the runs' own; those for labels have learned the difference "
            "of a network's errors on both domains' faces, unless the runs' settings say plain.",
        ]
        return Table(f"Held-out pairs of labels, {self.condition}", columns, rows, notes)

    def plain(self) -> dict[str, Any]:
        """For ``laboratory.json``."""
        return {
            "condition": self.condition,
            "n_train": self.n_train,
            "n_test": self.n_test,
            "adapters": [
                {
                    "adapter": row.adapter,
                    "kinds": row.kinds,
                    "distance": plain_interval(row.removed.distance),
                    "squared": finite(row.removed.squared),
                    "mean": finite(row.removed.mean),
                    "points": {"gone": row.removed.points[0], "far": row.removed.points[1]},
                    "nme": {region: {"before": b, "after": a} for region, (b, a) in row.removed.nme.items()},
                }
                for row in self.rows
            ],
        }


def pairs_settings(condition: Condition, plan: Sequence[PlannedRun]) -> Any:
    """The settings of the run whose faces and adapter :func:`pairs_of` takes: of the first seed, with an adapter where any
    run of the condition has one.

    Raises:
        UserError: no run of the condition has synthetic faces.
    """
    mine = [run.settings for run in plan if run.settings.real.generated == condition.dials]
    mine = [settings for settings in mine if hasattr(settings, "synthetic")]
    if not mine:
        raise UserError(f"{condition.name}: no run with synthetic faces in the study, whose labels an adapter must keep")
    return next((settings for settings in mine if hasattr(settings, "adapter")), mine[0])


def pairs_of(condition: Condition, settings: Any, real: RealDataModule, synthetic: SyntheticDataModule) -> Pairs:
    """Fit adapters on S and R labels of the training faces, and apply them and the runs' own to the S labels of the test
    faces.

    Args:
        condition: the finished runs, whose adapters are tried, too.
        settings: see :func:`pairs_settings`.
        real: target faces, set up; generated ones, which have labels of both conventions.
        synthetic: synthetic faces, set up.
    """
    indexes = [part.index() for part in real.faces.prepared]
    s, r, exact = (
        np.concatenate([index[name] for index in indexes])[:, :68]
        for name in ("landmarks_s", "landmarks_r", "landmarks_r_exact")
    )
    train, val, test = real.train_positions, real.val_positions, real.test_positions[ON]
    fitted: dict[str, list[LabelAdapter]] = {}
    chosen_on = (s[val], r[val]) if settings.selection == "real_val" else None
    config = getattr(settings, "adapter", AdapterConfig()).of_pairs()
    if set(condition.gaps) == {"label_gap"}:  # pairs of labels know nothing of other gaps
        family = AdapterFamily(s[train], r[train], config, chosen_on, real.faces.photographs[train], settings.seed)
        fitted = {
            "fitted on S labels, any kind": [family.choose().adapter],
            "fitted on S labels, for labels": [family.choose(synthetic.faces.landmarks[synthetic.train_positions]).adapter],
        }
    # Asked of an adapter fitted on S labels; what the runs' guard of the spread would leave of it stands beside.
    rows = [_row(name, adapters, s[test], exact[test], judged="any kind" in name) for name, adapters in fitted.items()]
    uses: dict[Use, tuple[str, ...]] = {"labels": ("data_adaptation", "mixing"), "predictions": ("label_adaptation",)}
    for use, recipes in uses.items():
        if by_seed := _adapters(condition, use, recipes):
            seeds = tuple(by_seed) if use == "labels" else ()
            name = f"fitted on predictions, for {use}"
            rows.append(_row(name, list(by_seed.values()), s[test], exact[test], bool(seeds), seeds))
    return Pairs(condition.name, len(train), len(test), rows)


def _row(
    name: str,
    adapters: Sequence[LabelAdapter],
    given: Points,
    exact: Points,
    judged: bool,
    seeds: tuple[int, ...] = (),
) -> PairsRow:
    strengths: dict[str, list[float]] = {}
    for adapter in adapters:
        strengths.setdefault(adapter.kind, []).append(adapter.strength)
    counted = []
    for kind, of in sorted(strengths.items()):
        span = f"{min(of):g}" + (f" to {max(of):g}" if max(of) > min(of) else "")
        at = f" at {span}" if kind in ("linear", "mlp", "modes") else ""
        counted.append(f"{kind}{at}" + (f" ({len(of)})" if len(adapters) > 1 else ""))
    return PairsRow(name, ", ".join(counted), removed(given, [a.adapt(given) for a in adapters], exact), judged, seeds)


def _adapters(condition: Condition, use: Use, recipes: Sequence[str]) -> dict[int, LabelAdapter]:
    """The adapters of the first of the recipes that has runs, one for each seed."""
    for recipe in recipes:
        if runs := condition.of(recipe):
            return {seed: LabelAdapter.load(run.folder / "checkpoints" / adapter_file(use)) for seed, run in runs.items()}
    return {}
