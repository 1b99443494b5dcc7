"""VERSION is part of every key of generated faces: it is raised when, and only when, other faces are drawn."""

from __future__ import annotations

import json

import numpy as np
import pytest

from domaingap.data.generated import FaceGenerator, accessories, labels, population
from tests.data.generated import probe


@pytest.fixture(scope="module")
def kept():
    return json.loads(probe.PATH.read_text())


def test_faces_are_drawn_as_version_says(kept):
    assert probe.failure(kept, probe.probe()) is None


def test_a_raised_version_asks_for_a_new_probe(kept):
    assert "python -m tests.data.generated.probe" in probe.failure(kept, {**kept, "version": kept["version"] + 1})


@pytest.mark.parametrize(
    ("module", "name", "factor", "what"),
    [
        (population, "_IRISES", 1.1, "colours"),
        (accessories, "_LINE_AT", 1.02, "classes"),
        (labels, "_BROW_EDGE", 0.98, "points_r"),
    ],
)
def test_a_changed_drawing_asks_for_a_raised_version(kept, monkeypatch, tmp_path, module, name, factor, what):
    monkeypatch.setattr(module, name, getattr(module, name) * factor)
    now = probe.probe()
    why = probe.failure(kept, now)
    assert what in why and "raise VERSION" in why
    # Without that, the command renews nothing.
    path = tmp_path / "probe.json"
    path.write_text(json.dumps(kept))
    with pytest.raises(SystemExit, match="raise VERSION"):
        probe.renew(path)
    assert json.loads(path.read_text()) == kept
    path.write_text(json.dumps({**kept, "version": 0}))
    probe.renew(path)
    assert json.loads(path.read_text()) == now


def test_the_probe_shows_all_that_is_drawn():
    faces = [FaceGenerator(domain, 1, dials).parameters(i) for domain, dials, indices in probe.FACES for i in indices]
    looks = [face.look for face in faces]
    assert {look["style"] for look in looks if look["hat"] < 0} == {0, 1, 2, 3, 4}
    assert {look["hat"] for look in looks} == {look["occluder"] for look in looks} == {-1, 0, 1, 2, 3}
    for name in ("glasses", "sunglasses", "fringe", "male"):
        assert {look[name] for look in looks} == {False, True}, name
    for name in ("beard_full", "moustache", "stubble", "freckles", "wrinkles", "hair_wave", "cloth_mix"):
        values = np.array([look[name] for look in looks])
        assert values.min() < 0.2 < values.max(), name
    assert {int(4 * look["background"]) for look in looks} == {0, 1, 2, 3}
