"""The tables of the gap taken apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from domaingap.landmarks import IBUG68
from domaingap.study.compare import Strategies, labels
from domaingap.study.gap_parts import DIALS, Diagnosis, Distance, GapParts
from domaingap.study.report_tables import headline_note
from domaingap.study.tables import BOUNDS, Column, Table, interval_column, metric, number, number_column


def gap_parts_tables(found: Sequence[GapParts], on: str, strategies: Strategies) -> list[Table]:
    """The gap in parts, and beside it what the adapter did, how far apart the domains lie, and the dials of generated faces;
    no table where no family has all three strategies."""
    return [_parts_table(found, on, strategies), _beside_table(found)] if found else []


def _names(found: Sequence[GapParts]) -> list[str]:
    """What tells the rows apart: the family, and settings of their own where several would look alike."""
    told = labels([parts.adapted for parts in found], lambda g: (g.first.source, g.budget, g.first.selection, g.trained))
    plain = [parts.family for parts in found]
    more = [told[parts.adapted].removeprefix(parts.adapted.label) for parts in found]
    return [name + own for name, own in zip(plain, more, strict=True)]


def _parts_table(found: Sequence[GapParts], on: str, strategies: Strategies) -> Table:
    rows: list[list[Any]] = [
        [name, parts.n_real, parts.selection, parts.steps, len(parts.seeds), parts.whole, parts.label, parts.visual,
         parts.rest, parts.gap, parts.over]
        for name, parts in zip(_names(found), found, strict=True)
    ]  # fmt: skip
    signed = number(2, sign=True)
    columns = [
        Column("faces"), number_column("real images"), Column("picked by"), number_column("steps"), number_column("seeds"),
        interval_column("whole", metric("nme")), interval_column("label part", signed),
        interval_column("visual part", signed), interval_column("rest", metric("nme")), interval_column("gap", signed),
        Column("[ ] over"),
    ]  # fmt: skip
    adapted = found[0].adapted.first.recipe
    notes = [
        f"whole: {strategies.floor} = label part + visual part + rest. label part: {strategies.floor} minus {adapted}, an "
        f"upper bound: the adapter also repairs errors of the network. visual part: {adapted} minus {strategies.ceiling}. "
        f"rest: {strategies.ceiling}. gap: label part + visual part.",
        "at the largest number of real images at which all three are there, of the same selection rule and number of steps.",
        "[ ]: 95% interval, over the seeds that all three have (Student's t, differences in pairs); of a single seed over "
        "images (photographs resampled, in pairs).",
    ]
    if on == "val":
        notes.append("on val: these faces picked checkpoints and adapter, and figures on them flatter.")
    notes += headline_note(min(len(parts.seeds) for parts in found))
    notes += dict.fromkeys(problem for parts in found for problem in parts.problems)
    return Table(f"The gap taken apart, NME % on {on}", columns, rows, notes)


def _beside_table(found: Sequence[GapParts]) -> Table:
    def kinds(of: Diagnosis) -> str:
        return ", ".join(f"{kind} {n}" if len(of.kinds) > 1 else kind for kind, n in of.kinds.items())

    def gain(of: Diagnosis) -> str:
        shift = f" (shift {of.by_shift:.2f})" if of.by_shift is not None else ""
        return f"{of.nme_before - of.nme:.2f}{shift}"

    def moved(of: Diagnosis) -> str:
        return f"{of.moves_predictions['all']:.1f} / {of.moves_labels['all']:.1f}"

    def apart(of: Diagnosis) -> str:
        return "-" if of.label_gap is None else f"{of.label_gap:.1f} / {of.own_error:.1f}"

    def distance(name: str, digits: int) -> Column:
        def text(of: Distance) -> str:
            (mean, low, high), null = getattr(of, name), getattr(of, f"{name}_null")
            ends = f" [{low:.{digits}g}, {high:.{digits}g}]"
            return f"{mean:.{digits}g}{ends}, chance to {null[1]:.{digits}g}"

        raw: dict[str, Callable[[Any], float | None]] = {
            **{end: attrgetter(f"{name}.{end}") for end in BOUNDS},
            "chance": lambda of: getattr(of, f"{name}_null")[1],
        }
        return Column({"kid": "KID", "mmd": "MMD²"}[name], text, right=True, raw=raw)

    def numbers(given: dict[str, float]) -> str:
        return " / ".join(f"{given[name]:g}" if name in given else "-" for name in DIALS)

    dialled = any(parts.dials for parts in found)
    rows: list[list[Any]] = [
        [name, parts.n_real, parts.selection, *[parts.diagnosis] * 6, parts.distance, parts.distance,
         parts.distance.p if parts.distance else None, *([parts.dials] if dialled else [])]
        for name, parts in zip(_names(found), found, strict=True)
    ]  # fmt: skip
    columns = [
        Column("faces"), number_column("real images"), Column("picked by"), Column("adapter", kinds),
        Column("gain", gain, right=True, raw={"all": lambda of: of.nme_before - of.nme, "shift": lambda of: of.by_shift}),
        Column("repair alone", lambda of: "-" if of.repair is None else f"{of.repair:.2f}", right=True,
               raw={"points": lambda of: of.repair}),
        Column("label gap / network's error %", apart, right=True,
               raw={"gap": lambda of: of.label_gap, "error": lambda of: of.own_error}),
        Column("moves % predictions / labels", moved, right=True,
               raw={"predictions": lambda of: of.moves_predictions["all"], "labels": lambda of: of.moves_labels["all"]}),
        Column("spread", lambda of: "-" if of.spread_ratio is None else f"{of.spread_ratio:.2f}", right=True,
               raw={"ratio": lambda of: of.spread_ratio}),
        distance("kid", 2), distance("mmd", 2), number_column("p", number(3)),
    ]  # fmt: skip
    columns += [Column("dials label / appearance / population", numbers, right=True)] if dialled else []
    notes = [
        "gain: what the adapter takes away of the NME of the predictions that chose it; shift: what one shift of each "
        "point, the same for every face, takes away of it: that is systematic, as a label gap is. The rest depends on the "
        "face, and is repair of the network's errors as well.",
        "repair alone: what such an adapter takes away of the NME on held-out synthetic faces, where there is no label gap: "
        "about so much of the gain is repair. label gap / network's error: the two parts of the mean displacement from "
        "answers to annotations, as these faces tell them apart.",
        f"moves: mean distance in % of the outer eye corners' distance over all {IBUG68.n_points} points, of predictions on "
        "real faces and of exact synthetic labels. spread: shape spread of these labels after over before.",
    ]
    known = [of for parts in found if parts.distance for of in parts.distance.by_seed.values()]
    if known:
        n = sorted({(of.n_synthetic, of.n_real) for of in known})
        counted = ", ".join(f"{synthetic} synthetic and {real} real" for synthetic, real in n)
        notes.append(
            f"KID, MMD²: unbiased squared maximum mean discrepancy between {counted} faces in the synthetic network's "
            "features (polynomial kernel of degree 3; Gaussian at the median distance), of several seeds their mean and "
            "the widest interval; below zero is no distance. chance to: 97.5% of 1,000 permutations lie below. p: that both "
            "are one distribution, the largest of all. KID grows with the features' scale: don't compare it between "
            "networks of other kinds."
        )
    without = sum(parts.distance is None for parts in found)
    notes += [f"{without} row{'s' if without > 1 else ''} without distances: runs of an earlier version."] if without else []
    if dialled:
        notes.append("dials: from 0, as synthetic faces are, to 1; what the target domain was made with.")
    return Table("Beside the parts: what the adapter did, and how far apart the domains lie", columns, rows, notes)
