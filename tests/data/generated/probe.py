"""What the generator draws, in a few numbers: the probe that VERSION is held against.

Where a change of drawing is meant: raise VERSION, then renew the probe with ``python -m tests.data.generated.probe``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from domaingap.config import CropConfig
from domaingap.data.generated import Dials, FaceGenerator
from domaingap.data.generated.face import VERSION, GeneratedFace

PATH = Path(__file__).with_name("probe.json")
RENEW = "raise VERSION in domaingap/data/generated/face.py, then renew the probe: python -m tests.data.generated.probe"
# Between them: every style of hair, hat and thing in front, glasses, beards, children, all sorts of background.
FACES = (
    ("synthetic", Dials(), (145, 335, 6)),
    ("target", Dials(), (244, 64, 4)),
    ("target", Dials(1, 1, 1), (299, 26, 29)),
)
# By how much numbers may differ on other machines, and how many of them by more: a pixel on an edge can fall either way.
TOLERANCES = {
    "points_s": (0.02, 0), "points_r": (0.02, 4), "visible": (0, 2), "pose": (0.02, 0), "box": (0.02, 0),
    "classes": (8, 0), "colours": (0.5, 3), "blocks": (0.15, 0), "crop": (0.3, 0),
}  # fmt: skip


def _blocks(image: Any, n: int) -> Any:
    """Means of n × n equal blocks."""
    side = image.shape[0] // n
    return image.reshape(n, side, n, side, -1).mean((1, 3, 4))


def describe(face: GeneratedFace, crop: GeneratedFace) -> dict[str, Any]:
    classes = face.segmentation == np.arange(19)[:, None, None]
    values = {
        "points_s": face.landmarks_s, "points_r": face.landmarks_r, "visible": face.visible, "pose": face.pose,
        "box": face.box, "classes": classes.sum((1, 2)),
        "colours": [face.image[here].mean(0) if here.any() else np.zeros(3) for here in classes],
        "blocks": _blocks(face.image, 8), "crop": _blocks(crop.image, 4),
    }  # fmt: skip
    return {name: np.round(np.asarray(value, float), 2).ravel().tolist() for name, value in values.items()}


def probe() -> dict[str, Any]:
    faces = {}
    for domain, dials, indices in FACES:
        generator = FaceGenerator(domain, 1, dials)
        for i in indices:
            name = f"{domain}, dials {dials.label_gap:g}, face {i}"
            faces[name] = describe(generator.photograph(i), generator.crop(i, CropConfig(size=64)))
    return {"version": VERSION, "faces": faces}


def differences(kept: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What two probes' faces differ in."""
    if kept["faces"].keys() != now["faces"].keys():
        return ["other faces"]
    return [
        f"{name}: {what}"
        for name, face in kept["faces"].items()
        for what, (tolerance, few) in TOLERANCES.items()
        if (np.abs(np.subtract(face[what], now["faces"][name][what])) > tolerance + 0.005).sum() > few
    ]


def failure(kept: dict[str, Any], now: dict[str, Any]) -> str | None:
    """Why a kept probe and a new one don't belong together; a changed drawing and a changed VERSION need each other."""
    found = differences(kept, now)
    if not found and kept["version"] == now["version"]:
        return None
    changed = f"faces are drawn otherwise ({'; '.join(found[:3])})" if found else "no face changed"
    return f"{changed}, VERSION was {kept['version']} and is {now['version']}: {RENEW}"


def renew(path: Path) -> None:
    now = probe()
    if path.exists() and (kept := json.loads(path.read_text()))["version"] == now["version"] and (why := failure(kept, now)):
        sys.exit(why)
    path.write_text(json.dumps(now).replace("], ", "],\n") + "\n")


if __name__ == "__main__":
    renew(PATH)
