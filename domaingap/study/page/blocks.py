"""What a page is made of: sections of words, tables, plots and faces; nothing here knows HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from domaingap.study.tables import Table


@dataclass(frozen=True)
class Words:
    """A paragraph.

    Attributes:
        text: plain text; it is escaped.
        emphasis: whether it is an answer that the eye should find first.
    """

    text: str
    emphasis: bool = False


@dataclass(frozen=True)
class Plot:
    """An interactive plot with the words that stand for it where it can't be seen.

    Attributes:
        id: unique on the page, of letters, digits and hyphens.
        title: above it.
        figure: without a title of its own.
        words: one or two sentences: what it shows, and what one sees in it.
        height: in pixels on a wide screen.
        data: the same numbers as a table, folded away below it; None where a table beside it has them.
    """

    id: str
    title: str
    figure: go.Figure
    words: str
    height: int = 420
    data: Table | None = None


@dataclass(frozen=True)
class Face:
    """A face with its points.

    Attributes:
        jpeg: the picture, as a file.
        side: of the picture in pixels.
        truth: [68, 2] in pixels of the picture, whose centres lie at integers.
        prediction: likewise.
        nme: of the prediction in % of the outer eye corners' distance.
        name: of the face in its data set.
    """

    jpeg: bytes
    side: int
    truth: NDArray[np.float64]
    prediction: NDArray[np.float64]
    nme: float
    name: str


@dataclass(frozen=True)
class FaceRow:
    """The answers of one strategy, or of several on one face, side by side.

    Attributes:
        label: what all of them share.
        faces: with what stands below each.
    """

    label: str
    faces: Sequence[tuple[str, Face]]


@dataclass(frozen=True)
class Gallery:
    """Rows of faces.

    Attributes:
        id: unique on the page.
        title: above it.
        rows: in order.
        words: how they were chosen.
    """

    id: str
    title: str
    rows: Sequence[FaceRow]
    words: str


@dataclass(frozen=True)
class Listing:
    """Text as it is typed or stands in a file, to be copied.

    Attributes:
        title: above it; folded away below that where ``folded``.
        text: the text.
        folded: whether one has to open it.
    """

    title: str
    text: str
    folded: bool = True


Block: TypeAlias = Words | Table | Plot | Gallery | Listing


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading of its own.

    Attributes:
        id: its anchor.
        title: its heading, which also stands in the list of contents.
        blocks: in order.
    """

    id: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """A whole page.

    Attributes:
        title: its heading.
        facts: a line below it: how many runs, of what, when.
        sections: in order; the first one is what a person sees without scrolling.
    """

    title: str
    facts: str
    sections: Sequence[Section]
