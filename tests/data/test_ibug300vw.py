"""300-VW's layout: clips, categories and annotations, and what is wrong with a download."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from domaingap.data.readers.ibug300vw import CATEGORIES, SETS, category_of, find_clips, present
from domaingap.errors import DataError, UserError
from tests.inference.clips_300vw import write_clip


def test_the_release_s_clips() -> None:
    """Protocol, section 2: 114 clips, of which 50 train, and 31, 19 and 14 test."""
    assert {name: len(clips) for name, clips in CATEGORIES.items()} == {
        "category1": 31, "category2": 19, "category3": 14, "train": 50,
    }  # fmt: skip
    every = [clip for clips in CATEGORIES.values() for clip in clips]
    assert len(set(every)) == 114 and all(len(clip) == 3 and clip.isdigit() for clip in every)
    assert SETS["300vw_original_study"] == ("223", "224", "405", "406") and len(SETS["300vw_test"] or ()) == 64
    assert [category_of(name) for name in ("223", "224", "114", "562", "999")] == [
        "train", "category2", "category1", "category3", "other",
    ]  # fmt: skip


def test_clips_are_found_and_points_counted_from_0(tmp_path: Path) -> None:
    root = tmp_path / "300VW"
    truth = write_clip(root / "224", 5)
    write_clip(root / "001", 4, annotated=(1, 2, 4, 7))
    write_clip(root / "999", 3)
    (root / "224" / "annot" / "notes.txt").write_text("x")
    (root / "extra").mkdir()
    found = find_clips(tmp_path)
    assert [(clip.name, clip.category) for clip in found.clips] == [("001", "train"), ("224", "category2"), ("999", "other")]
    assert list(found.clips[0].annotations) == [1, 2, 4, 7] and not found.left_out
    points, left_out = found.clips[1].landmarks()
    assert list(points) == [1, 2, 3, 4, 5] and not left_out
    for number, expected in truth.items():
        np.testing.assert_allclose(points[number], expected, atol=1e-5)
    assert found.clips[1].passed_over == {"other file": 1}
    assert present([clip.category for clip in found.clips]) == {
        "category2": "1 of 19", "train": "1 of 50", "other": "1 that aren't in the release",
    }  # fmt: skip
    assert [clip.name for clip in find_clips(tmp_path, "300vw_original_study").clips] == ["224"]
    # As the archive unpacks, and the folder itself.
    root.rename(tmp_path / "300VW_Dataset_2015_12_14")
    for place in (tmp_path, tmp_path / "300VW_Dataset_2015_12_14"):
        assert len(find_clips(place).clips) == 3
    (tmp_path / "300vw").mkdir()
    with pytest.raises(DataError, match="could each be 300-VW"):
        find_clips(tmp_path)


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    root = tmp_path / "300vw"
    with pytest.raises(UserError, match="no such folder.*--data_root"):
        find_clips(tmp_path / "nothing")
    with pytest.raises(UserError, match="holds no 300vw/"):
        find_clips(tmp_path)
    root.mkdir()
    with pytest.raises(UserError, match="holds no clip"):
        find_clips(tmp_path)
    for name in ("001", "002", "003", "004", "005"):
        write_clip(root / name, 3)
    (root / "001" / "vid.avi").unlink()
    shutil.rmtree(root / "002" / "annot")
    for path in (root / "003" / "annot").iterdir():
        path.unlink()
    shutil.copy(root / "004" / "annot" / "000001.pts", root / "004" / "annot" / "1.pts")
    found = find_clips(tmp_path)
    assert [clip.name for clip in found.clips] == ["005"]
    problems = [str(error).split(": ", 1)[1] for error in found.left_out]
    for problem, words in zip(problems, ("no vid.avi", "no annot/", "no annotation", "are of one frame"), strict=True):
        assert words in problem
    with pytest.raises(UserError, match="none of its 4 clips is in"):
        find_clips(tmp_path, "300vw_original_study")
    with pytest.raises(UserError, match="no such set of clips; known: 300vw, 300vw_test"):
        find_clips(tmp_path, "300vw_best")
    (root / "005" / "annot" / "000002.pts").write_text("version: 1\nn_points: 68\n{\n1 2\n}\n")
    with pytest.raises(DataError, match=r"000002\.pts:4: 1 points, expected 68"):
        found.clips[0].landmarks()
    lines = (root / "005" / "annot" / "000001.pts").read_text().splitlines()
    zeros = [line if i < 3 or i > 70 else "0 0" for i, line in enumerate(lines)]
    (root / "005" / "annot" / "000002.pts").write_text("\n".join(zeros) + "\n")
    points, left_out = found.clips[0].landmarks()
    assert list(points) == [1, 3] and sum(left_out.values()) == 1 and "placeholder" in next(iter(left_out))


def test_the_samples_are_read(sample_data: Path) -> None:
    found = find_clips(sample_data, "300vw_original_study")
    assert [clip.name for clip in found.clips] == ["223", "224", "405", "406"]
    assert [len(clip.annotations) for clip in found.clips] == [75] * 4
