"""The real samples: counts, conventions and boxes as in the releases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from domaingap.config import CropConfig
from domaingap.data.boxes import FaceDetector
from domaingap.data.datamodules import RealDataModule
from domaingap.data.readers import open_reader, sources_in
from domaingap.landmarks import IBUG68
from tests.conftest import Answer


def test_counts(sample_data: Path) -> None:
    reader = open_reader("300w", sample_data)
    afw = reader.count("afw")
    assert (afw.found, afw.published, afw.partial) == (337, 337, False)
    assert len({record.photograph for record in reader.records("afw")}) == 185
    train, test = reader.count("helen/trainset"), reader.count("helen/testset")
    assert (train.found, train.partial, test.found, test.partial) == (870, True, 171, True)
    synthetic = open_reader("face_synthetics", sample_data).count("all")
    assert (synthetic.found, synthetic.published, synthetic.partial) == (100, 100, False)


def test_every_annotation_reads(sample_data: Path) -> None:
    for source in sources_in(sample_data):
        reader = open_reader(source.name, sample_data)
        for part in reader.parts():
            points = reader.landmarks(part)
            assert np.isfinite(points).all()
            # Faces stand upright: eyes above mouth, chin lowest of the jaw, in the median of every set.
            middle = np.median(points, axis=0)
            assert middle[36:48, 1].max() < middle[48:68, 1].min()
            assert middle[0:17, 1].argmax() == 8
            assert middle[36, 0] < middle[45, 0]


def test_pupils_belong_to_their_eyes(sample_data: Path) -> None:
    from domaingap.data.readers.synthface import pupils_in_eyes
    from domaingap.data.readers.text import parse_points

    for path in sorted((sample_data / "face_synthetics").glob("*_ldmks.txt")):
        points = parse_points(path, list(enumerate(path.read_text().splitlines(), start=1)), 70)
        eyes = [points[list(eye)].mean(axis=0) for eye in IBUG68.eyes]
        for pupil, (own, other) in ((68, eyes), (69, eyes[::-1])):
            assert np.linalg.norm(points[pupil] - own) < np.linalg.norm(points[pupil] - other), path
        # What SynthFace's reader warns by: true of every face, and of none whose pupils are exchanged.
        assert pupils_in_eyes(points) and not pupils_in_eyes(points[[*range(68), 69, 68]]), path


@pytest.mark.slow
def test_mtcnn_finds_the_annotated_face(sample_data: Path) -> None:
    detector = FaceDetector()
    for source, part in (("300w", "helen/testset"), ("face_synthetics", "all"), ("dgfaces", "all")):
        reader = open_reader(source, sample_data)
        samples = [reader.read(record) for record in reader.records(part)[:25]]
        found = [detector.face_box(sample.read_image(), sample.landmarks)[1] for sample in samples]
        assert found.count("mtcnn") >= 23, (source, found)


@pytest.mark.slow
def test_crops_hold_their_faces(sample_data: Path, tmp_path: Path) -> None:
    """Oracle boxes here, for time: nearly all landmarks lie inside the crop, and none of the face's middle is cut."""
    module = RealDataModule(data_root=sample_data, prepared_dir=tmp_path, crop=CropConfig(box="landmarks"))
    points = module.faces.crop_landmarks()
    inside = ((points > 0) & (points < 127)).all(axis=-1)
    assert inside.mean() > 0.995
    assert inside[:, 17:].all()
    assert len(module.val_positions) == 300
    assert len(module.train_positions) == 907
    assert len(module.test_positions["common"]) == 171


@pytest.mark.slow
def test_a_run_on_the_samples(cli: Callable[..., Answer], sample_data: Path, tmp_path: Path) -> None:
    """A minute of the real thing: a small network on real photographs gets far below the mean shape's 18%."""
    import json

    answer = cli(
        "run", "real_only", f"--data_root={sample_data}", f"--prepared_dir={tmp_path / 'p'}", f"--runs_dir={tmp_path / 'r'}",
        "--crop.size=64", "--crop.box=landmarks", "--model.backbone=mobilenetv3_small_100", "--fit.steps=600",
        "--fit.precision=32", "--wandb.mode=off",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    (path,) = tmp_path.rglob("result.json")
    assert json.loads(path.read_text())["metrics"]["val/nme"] < 12
