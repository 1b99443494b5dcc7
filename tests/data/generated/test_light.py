"""Light: spherical harmonics against sums over the sphere, rotation, the key light, backgrounds."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from domaingap.data.generated import light
from domaingap.errors import UserError


def sky(seed=0, rows=64):
    rng = np.random.default_rng(seed)
    small = rng.uniform(0.2, 1.0, (4, 8, 3)).astype(np.float32)
    return cv2.resize(small, (2 * rows, rows), interpolation=cv2.INTER_CUBIC).clip(0.05)


def directions(rows, columns):
    """Worked out here: the first row is up, the middle column looks away from the camera's z."""
    up = np.pi / 2 - np.pi * (np.arange(rows) + 0.5) / rows
    around = 2 * np.pi * (np.arange(columns) + 0.5) / columns
    up, around = np.meshgrid(up, around, indexing="ij")
    return np.stack([np.cos(up) * np.sin(around), np.sin(up), np.cos(up) * np.cos(around)], -1), np.cos(up)


def summed(picture, normal):
    """Irradiance over π on a surface by a plain sum over the picture."""
    ways, solid = directions(*picture.shape[:2])
    solid = solid * 4 * np.pi / solid.sum()
    return np.einsum("hwc,hw->c", picture, np.clip(ways @ normal, 0, None) * solid) / np.pi


def test_soft_and_key_light_together_are_the_surroundings():
    picture = sky()
    place = light.environment("sky", picture)
    mean = float((picture @ light.LUMA * directions(64, 128)[1]).sum() / directions(64, 128)[1].sum())
    for normal in np.eye(3):
        found = light.irradiance(place.soft, normal) + place.key * max(0.0, float(normal @ place.key_direction))
        np.testing.assert_allclose(found, summed(picture, normal) / mean, rtol=0.06)


def test_a_sun_is_the_key_light_and_leaves_the_soft_light_alone():
    picture = np.full((64, 128, 3), 0.5, np.float32)
    picture[14:17, 40:43] = [300.0, 280.0, 200.0]
    place = light.environment("sun", picture)
    there = directions(64, 128)[0][15, 41]
    assert place.key_direction @ there > 0.999
    assert place.key[0] > place.key[1] > place.key[2] > 0
    # What is left is the even sky.
    around = [light.irradiance(place.soft, way) for way in np.concatenate([np.eye(3), -np.eye(3)])]
    assert np.ptp(around, axis=0).max() < 0.12 * np.mean(around)


def test_turning_a_place_turns_its_light():
    place = light.environment("sky", sky(1))
    for azimuth, mirrored in ((0.7, False), (-2.0, True)):
        turn = light.about_vertical(azimuth, mirrored)
        soft = light.turned(place.soft, azimuth, mirrored)
        for drawn in np.random.default_rng(0).normal(size=(5, 3)):
            way = drawn / np.linalg.norm(drawn)
            np.testing.assert_allclose(light.irradiance(soft, turn @ way), light.irradiance(place.soft, way), atol=1e-6)


def test_the_background_is_where_the_light_comes_from():
    """The camera looks along -z: a lamp there stands in the picture's middle, and lights a surface that looks at it."""
    picture = np.full((64, 128, 3), 0.1, np.float32)
    ways, _ = directions(64, 128)
    picture[ways @ [0, 0, -1] > 0.995] = 50.0
    seen = light.seen_background(picture, 0.0, False, 1.0, 0.0, 65)
    y, x = np.argwhere(seen.sum(-1) > 20).mean(0)
    assert abs(x - 32) < 1 and abs(y - 32) < 1
    assert light.environment("lamp", picture).key_direction[2] < -0.99
    right = light.seen_background(picture, 0.3, False, 1.0, 0.0, 65).sum((0, 2)).argmax()
    turned = light.about_vertical(0.3, False) @ [0, 0, -1]
    assert np.sign(right - 32) == np.sign(turned[0])


def test_a_folder_without_light_is_named(tmp_path):
    with pytest.raises(UserError, match="--light"):
        light.read_environments(tmp_path / "none")
    with pytest.raises(UserError, match=r"holds no \.hdr"):
        light.read_environments(tmp_path)
    (tmp_path / "a.hdr").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"a\.hdr.*isn't a Radiance picture"):
        light.read_environments(tmp_path)
    cv2.imwrite(str(tmp_path / "a.hdr"), sky(2)[..., ::-1])
    (place,) = light.read_environments(tmp_path)
    assert place.name == "a" and place.picture.shape == (64, 128, 3)
