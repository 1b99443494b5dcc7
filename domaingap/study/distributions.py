"""What a parameter of a random sweep is drawn from: W&B's distributions, by their quantile functions.

The names, their parameters and what they mean are W&B's (its ``sweeps`` package, 0.3.0, and its documentation of sweep
configurations): ``log_`` takes the logarithms of bounds, ``log_..._values`` the bounds, ``q_`` rounds to multiples of q.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

Spec = Mapping[str, Any]


class Distribution(NamedTuple):
    """A distribution of numbers.

    Attributes:
        needs: what has to be given.
        defaults: what may be given, and what it is otherwise.
        quantile: the value below which a share u of all lie, from u in (0, 1) and what is given; not yet rounded to
            multiples of q.
    """

    needs: tuple[str, ...]
    defaults: Mapping[str, float]
    quantile: Callable[[float, Spec], float]


def _between(u: float, low: float, high: float) -> float:
    return low + u * (high - low)


def _whole(u: float, given: Spec) -> int:
    n = given["max"] - given["min"] + 1
    return int(given["min"] + min(math.floor(u * n), n - 1))


def _normal(u: float, given: Spec) -> float:
    from scipy.special import ndtri

    return float(given["mu"] + given["sigma"] * ndtri(u))


def _beta(u: float, given: Spec) -> float:
    from scipy.stats import beta

    return float(beta.ppf(u, given["a"], given["b"]))


def _log_uniform_values(u: float, given: Spec) -> float:
    return math.exp(_between(u, math.log(given["min"]), math.log(given["max"])))


BOUNDS, STEP = ("min", "max"), {"q": 1}
GAUSS = {"mu": 0.0, "sigma": 1.0}
SHAPE = {"a": 1.0, "b": 1.0}

DISTRIBUTIONS: dict[str, Distribution] = {
    "int_uniform": Distribution(BOUNDS, {}, _whole),
    "uniform": Distribution(BOUNDS, {}, lambda u, s: _between(u, s["min"], s["max"])),
    "log_uniform": Distribution(BOUNDS, {}, lambda u, s: math.exp(_between(u, s["min"], s["max"]))),
    "log_uniform_values": Distribution(BOUNDS, {}, _log_uniform_values),
    # exp(-X) of an X between the bounds. The bounds of _values are those of the result, which is log-uniform between them.
    "inv_log_uniform": Distribution(BOUNDS, {}, lambda u, s: math.exp(-_between(1 - u, s["min"], s["max"]))),
    "inv_log_uniform_values": Distribution(BOUNDS, {}, _log_uniform_values),
    "normal": Distribution((), GAUSS, _normal),
    "log_normal": Distribution((), GAUSS, lambda u, s: math.exp(_normal(u, s))),
    "beta": Distribution((), SHAPE, _beta),
}
DISTRIBUTIONS |= {
    f"q_{name}": DISTRIBUTIONS[name]._replace(defaults={**DISTRIBUTIONS[name].defaults, **STEP})
    for name in ("uniform", "log_uniform", "log_uniform_values", "normal", "log_normal", "beta")
}
"""By name; beside them W&B has ``constant`` and ``categorical``."""


def value_at(u: float, name: str, given: Spec) -> float:
    """The quantile of a distribution: the value below which a share u in (0, 1) of all lie.

    Args:
        u: the share.
        name: one of :data:`DISTRIBUTIONS`.
        given: its parameters, all of them.
    """
    value = DISTRIBUTIONS[name].quantile(u, given)
    return multiple(value, given["q"]) if "q" in given else value


def multiple(value: float, q: float) -> float:
    """The multiple of q nearest to a value, as it is written: 0.3, not 3 × 0.1; a whole number where q is one."""
    n = Decimal(repr(q)) * round(value / q)
    return int(n) if isinstance(q, int) else float(n)


def choice_at(u: float, values: Sequence[Any], probabilities: Sequence[float] | None) -> Any:
    """The value that a share u in (0, 1) falls on; all are as likely where no probabilities are given."""
    if probabilities is None:
        return values[math.floor(u * len(values))]
    left = u * math.fsum(probabilities)
    for value, probability in zip(values, probabilities, strict=True):
        left -= probability
        if left < 0:
            return value
    return values[max(i for i, probability in enumerate(probabilities) if probability > 0)]


def share(seed: int, name: str, index: int) -> float:
    """A uniform random number in (0, 1): the index-th of a parameter's own, so that another parameter more or less, or a
    larger number of runs, changes nothing of it."""
    digest = hashlib.sha256(f"{seed}/{name}/{index}".encode()).digest()
    return ((int.from_bytes(digest[:8], "big") >> 12) + 0.5) / 2**52
