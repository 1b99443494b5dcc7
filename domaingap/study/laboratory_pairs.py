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
from domaingap.models.adapter_choice import AdapterFamily
from domaingap.models.label_adapter import LabelAdapter
from domaingap.shapes import frame_of, mean_shape_of
from domaingap.stages import Use
from domaingap.statistics import Interval
from domaingap.study.laboratory import ON, SHARE, Check, CheckVerdict, Condition, PlannedRun, plain_interval
from domaingap.study.run import adapter_file
from domaingap.study.tables import Column, Table, interval_column, metric, number_column, percent

Points = NDArray[np.float64]


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
    a, b = IBUG68.outer_corners
    eyes = np.linalg.norm(exact[:, a] - exact[:, b], axis=-1)
    return np.asarray(100 * np.linalg.norm(points - exact, axis=-1) / eyes[:, None])


def _mean_displacement(points: Points, exact: Points) -> float:
    """Length of each point's mean displacement from ``exact``, in the faces' own upright frames, averaged over points."""
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
            verdict: CheckVerdict = "reported" if not row.judged else "passed" if passed else "MISSED"
            note = f"{row.removed.squared:.0%} of its square, {row.removed.mean:.0%} of its mean; {row.kinds}"
            over = f"{self.n_test} faces"
            result.append(Check(self.condition, asked, row.removed.distance, True, over, verdict, note))
        return result

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
    chosen_on = (s[val], r[val]) if settings.selection == "real_val" else None
    config: AdapterConfig = getattr(settings, "adapter", AdapterConfig())
    family = AdapterFamily(s[train], r[train], config, chosen_on, real.faces.photographs[train], settings.seed)
    fitted = {
        "fitted on S labels, any kind": [family.choose().adapter],
        "fitted on S labels, for labels": [family.choose(synthetic.faces.landmarks[synthetic.train_positions]).adapter],
    }
    # Asked of an adapter fitted on S labels; what the runs' guard of the spread would leave of it stands beside.
    rows = [_row(name, adapters, s[test], exact[test], "any kind" in name) for name, adapters in fitted.items()]
    uses: dict[Use, tuple[str, ...]] = {"labels": ("data_adaptation", "mixing"), "predictions": ("label_adaptation",)}
    for use, recipes in uses.items():
        if adapters := _adapters(condition, use, recipes):
            rows.append(_row(f"fitted on predictions, for {use}", adapters, s[test], exact[test], False))
    return Pairs(condition.name, len(train), len(test), rows)


def _row(name: str, adapters: Sequence[LabelAdapter], given: Points, exact: Points, judged: bool) -> PairsRow:
    kinds = sorted(f"{a.kind}{f' at {a.strength:g}' if a.kind in ('linear', 'mlp') else ''}" for a in adapters)
    counted = [f"{kind} ({kinds.count(kind)})" if len(kinds) > 1 else kind for kind in dict.fromkeys(kinds)]
    return PairsRow(name, ", ".join(counted), removed(given, [a.adapt(given) for a in adapters], exact), judged)


def _adapters(condition: Condition, use: Use, recipes: Sequence[str]) -> list[LabelAdapter]:
    """The adapters of the first of the recipes that has runs, one for each seed."""
    for recipe in recipes:
        if runs := condition.of(recipe):
            return [LabelAdapter.load(run.folder / "checkpoints" / adapter_file(use)) for run in runs.values()]
    return []
