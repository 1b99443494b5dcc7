"""Textures, backgrounds and the camera, all made from noise of our own."""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from domaingap.data.generated.geometries.builtin.template import BROWS, SIDE, azimuth_of, eye_curve
from domaingap.data.generated.geometry import rotation
from domaingap.data.generated.population import FaceParameters
from domaingap.data.generated.shader import (
    A_BAGS,
    A_BEARD,
    A_BROW_U,
    A_BROW_V,
    A_LASH,
    A_MOUSTACHE,
    A_REDNESS,
    A_WRINKLES,
    ATLAS_LEFT,
    ATLAS_SCALE,
    ATLAS_TOP,
)

Float = NDArray[np.float32]


def _tiling_noise(rng: np.random.Generator, size: int, low: float, high: float, stretch: float = 1.0) -> NDArray[Any]:
    """Noise of a band of frequencies (cycles per tile), zero mean, clipped to about -1..1; tiles without a seam."""
    fy, fx = np.meshgrid(np.fft.fftfreq(size) * size, np.fft.fftfreq(size) * size, indexing="ij")
    frequency = np.hypot(fx / stretch, fy * stretch)
    band = np.exp(-((np.maximum(low - frequency, 0) / (0.3 * low + 1e-3)) ** 2)) * np.exp(
        -((np.maximum(frequency - high, 0) / (0.3 * high)) ** 2)
    )
    wave = np.fft.ifft2(np.fft.fft2(rng.standard_normal((size, size))) * band / np.maximum(frequency, 1) ** 0.5).real
    return np.asarray(np.clip(wave / (2.2 * wave.std()), -1, 1))


@cache
def noise_bank() -> Float:
    """Tiling noises [512, 512, 4]: blotches, grain, streaks along the second axis, spots."""
    rng = np.random.default_rng(12)
    bands = ((4, 14, 1.0), (24, 110, 1.0), (12, 150, 2.6), (30, 60, 1.0))
    layers = [_tiling_noise(rng, 512, *band) for band in bands]
    return np.ascontiguousarray(np.stack(layers, -1), dtype=np.float32)


@cache
def skin_atlas() -> Float:
    """Where on the template the skin is red, bearded, wrinkled, browed: [H, W, 8], see the A_ names."""
    width, height = int(2 * -ATLAS_LEFT * ATLAS_SCALE), int((ATLAS_TOP + 128) * ATLAS_SCALE)
    side = ATLAS_LEFT + (np.arange(width) + 0.5) / ATLAS_SCALE
    up = ATLAS_TOP - (np.arange(height) + 0.5) / ATLAS_SCALE
    u, v = np.meshgrid(side, up)
    atlas = np.zeros((height, width, 8), np.float32)
    a = np.abs(u)

    def soft(distance: NDArray[Any], width_: float) -> NDArray[Any]:
        return np.asarray(1 / (1 + np.exp(-np.clip(distance / width_, -30, 30))))

    def spot(cx: float, cy: float, sx: float, sy: float) -> NDArray[Any]:
        return np.asarray(np.exp(-(((a - cx) / sx) ** 2) - ((v - cy) / sy) ** 2))

    atlas[..., A_REDNESS] = (
        spot(36, -26, 16, 13) + 0.8 * spot(0, -34, 12, 9) + 0.4 * spot(0, -100, 14, 8) + 0.35 * spot(86, -10, 10, 25)
    )
    jaw_line = np.interp(a, [0, 20, 40, 60, 80, 100, 112], [-80, -76, -66, -56, -38, -12, 8])
    beard = soft(jaw_line - v, 4.0) * soft(116 - a, 5)
    beard *= soft(v - np.interp(a, [0, 60, 130], [-132, -118, -100]), 5)
    beard = np.maximum(beard, spot(0, -84, 6, 5) * 0.9)
    moustache = soft(v + 61, 1.8) * soft(-48 - 0.22 * a - v, 1.5) * soft(27 - a, 2.5)
    goatee = soft(-52 - v, 3) * soft(v + 84, 4) * np.exp(-(((a - 29) / 5.5) ** 2))
    atlas[..., A_BEARD] = beard
    atlas[..., A_MOUSTACHE] = np.clip(
        np.maximum(moustache, 0.9 * goatee) + 0.8 * soft(-80 - v, 3) * soft(26 - a, 4) * soft(v + 118, 4), 0, 1
    )
    wrinkles = np.zeros_like(u)
    for k, y in enumerate((30, 39, 48)):
        bend = y + 1.6 * np.sin(u / 11.0 + k) - 0.0016 * u**2
        wrinkles += 0.7 * np.exp(-(((v - bend) / 1.1) ** 2)) * soft(44 - a, 5)
    fold = 19 + 0.5 * np.clip(-40 - v, 0, 40)
    wrinkles += 1.0 * np.exp(-(((a - fold) / 1.5) ** 2)) * soft(v + 70, 2.5) * soft(-37 - v, 2)
    for k in range(3):
        crow = 1.0 + (k - 1) * 0.38 * (a - 50)
        wrinkles += 0.6 * np.exp(-(((v - crow) / 0.9) ** 2)) * soft(a - 50, 1.5) * soft(62 - a, 2)
    wrinkles += 0.7 * np.exp(-(((a - 4) / 1.0) ** 2)) * soft(v - 13, 2) * soft(28 - v, 2)
    wrinkles += 0.5 * np.exp(-(((v + 84 - 0.004 * u**2) / 1.6) ** 2)) * soft(14 - a, 3)
    atlas[..., A_WRINKLES] = np.clip(wrinkles, 0, 1)

    # Template positions of the lids and brows: the front's x unrolled.
    eye = eye_curve()
    eye_side = azimuth_of(eye[:, 0], eye[:, 1]) * SIDE
    n = len(eye) // 2
    crease = np.zeros_like(u)
    lash = np.zeros_like(u)
    order = np.argsort(-eye_side[: n + 1])
    top_side, top = -eye_side[: n + 1][order], eye[: n + 1, 1][order]
    lower_side = np.concatenate([eye_side[n:], eye_side[:1]])
    lower = np.concatenate([eye[n:, 1], eye[:1, 1]])
    low_order = np.argsort(-lower_side)
    inside = (a > -eye_side.max()) & (a < -eye_side.min() + 1.5)
    top_at = np.interp(a, top_side, top)
    bottom_at = np.interp(a, -lower_side[low_order], lower[low_order])
    lash += np.exp(-((np.maximum(v - top_at, 0) / 1.3) ** 2)) * (v > top_at - 2) * inside
    lash += 0.45 * np.exp(-((np.maximum(bottom_at - v, 0) / 0.9) ** 2)) * (v < bottom_at + 2) * inside
    crease += np.exp(-(((v - top_at - 5.0) / 1.1) ** 2)) * inside
    atlas[..., A_LASH] = np.clip(lash + 0.30 * crease, 0, 1)
    atlas[..., A_BAGS] = np.exp(-(((v - bottom_at + 7) / 3.5) ** 2)) * (a > 12) * (a < 44) + 0.5 * spot(15, 1, 5, 6)
    brow = np.array(BROWS)[::-1]
    brow_side = -azimuth_of(brow[:, 0], brow[:, 1]) * SIDE
    centre = np.interp(a, brow_side, brow[:, 1], left=brow[0, 1] - 0.3, right=brow[-1, 1])
    centre = np.where(a > brow_side[-1], brow[-1, 1] - 0.9 * (a - brow_side[-1]), centre)
    atlas[..., A_BROW_V] = v - cv2.GaussianBlur(centre, (0, 0), 3)
    atlas[..., A_BROW_U] = (a - brow_side[0] + 2) / (brow_side[-1] - brow_side[0] + 2)
    return np.ascontiguousarray(atlas)


def background(seed: int, kind: float, tone: float, size: int, appearance: float) -> Float:
    """A linear RGB picture [size, size, 3] behind the head: plain, gradient, cloudy, a room's edges, or lights."""
    rng = np.random.default_rng(seed)
    small = 64

    def colour(bright: float = 1.0) -> NDArray[np.float32]:
        mixed = rng.random(3) ** 1.5 * tone * bright
        gray = mixed.mean()
        return np.asarray(gray + (mixed - gray) * rng.random() ** 1.5, np.float32)

    base = colour()
    image = np.ones((small, small, 3), np.float32) * base
    other = colour(1.4)
    y, x = np.mgrid[0:small, 0:small].astype(np.float32) / small
    angle = rng.uniform(0, 2 * np.pi)
    ramp = np.clip(0.5 + (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle), 0, 1)[..., None]
    busy = 0.75 if rng.random() < 0.55 + 0.4 * appearance else 0.0
    image += (other - image) * ramp * rng.random()
    if kind > 0.25:
        for octave in (3, 6, 12, 24):
            layer = rng.standard_normal((octave, octave, 3)).astype(np.float32)
            layer = layer.mean(-1, keepdims=True) * 0.85 + layer * 0.15
            image *= np.exp(
                0.5 * cv2.resize(layer, (small, small), interpolation=cv2.INTER_CUBIC) * rng.random() * (0.5 + busy)
            )
    if kind > 0.5:
        for _ in range(int(rng.integers(2, 14))):
            paint = tuple(float(c) for c in colour(1.4))
            px, py = rng.uniform(-10, small + 10, 2)
            w, h = np.exp(rng.uniform(np.log(2), np.log(40), 2))
            if kind > 0.75:
                centre, axes = (int(px), int(py)), (int(w / 2) + 1, int(h / 2) + 1)
                cv2.ellipse(image, centre, axes, float(rng.uniform(0, 180)), 0, 360, paint, -1, cv2.LINE_AA)
            else:
                turn = rng.normal(0, 0.15)
                corner = np.array([[-w, -h], [w, -h], [w, h], [-w, h]]) / 2
                turned = corner @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
                cv2.fillConvexPoly(image, np.round(turned + [px, py]).astype(np.int32), paint, cv2.LINE_AA)
    image = cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC)
    sigma = size * rng.uniform(0.0, 0.03)
    if sigma > 0.5:
        image = cv2.GaussianBlur(image, (0, 0), sigma)
    return np.ascontiguousarray(np.clip(image, 0, 2), dtype=np.float32)


def meter(look: dict[str, Any]) -> float:
    """Log exposure that a camera would choose: it sees the light on a face, and of the skin's tone only a part."""
    weights = np.array([0.3, 0.6, 0.1])
    light = (
        0.55 * look["light"] * max(0.25, float(look["light_dir"][2]))
        + 0.4 * look["fill"]
        + 0.5 * (look["sky"] + look["ground"])
    )
    skin = float(look["skin"] @ weights)
    return float(-np.log(float(light @ weights)) - 0.6 * np.log(skin / 0.3))


MIDDLE_GREY = 0.18
"""Reflectance of a photographer's grey card, in linear light."""


def light_on_face(face: FaceParameters) -> tuple[float, float]:
    """How one-sided the light on a face is, and how bright the face, both in stops (factors of two).

    One-sided: light on the brighter over light on the darker cheek, whose normals lie 45 degrees to the head's left and
    right; photographers call it the lighting ratio. Bright: the skin's light on a cheek turned to the camera, after
    exposure, over middle grey. Light is the shader's for skin (key light that reaches around by ``wrap``, fill, sky and
    ground), without cast shadows and shine.
    """
    look, weights, wrap = face.look, np.array([0.3, 0.6, 0.1]), 0.25
    key, fill, sky, ground = (float(look[name] @ weights) for name in ("light", "fill", "sky", "ground"))

    def light(normal: NDArray[Any]) -> float:
        facing, from_fill = float(normal @ look["light_dir"]), float(normal @ look["fill_dir"])
        ambient = ground + (sky - ground) * (0.5 + 0.5 * float(normal[1]))
        return key * max(0.0, (facing + wrap) / (1 + wrap)) + fill * max(0.0, from_fill + 0.3) / 1.3 + ambient

    yaw, pitch, roll = np.radians(face.pose)
    turn, half = rotation(yaw, -pitch, roll), np.sqrt(0.5)
    cheeks = [light(turn @ np.array([side, 0.0, half])) for side in (-half, half)]
    exposed = light(np.array([0.0, 0.0, 1.0])) * float(look["skin"] @ weights) * np.exp(meter(look) + look["exposure"])
    return float(np.log2(max(cheeks) / min(cheeks))), float(np.log2(exposed / MIDDLE_GREY))


def develop(linear: Float, exposure: float) -> NDArray[np.float32]:
    """Linear light [H, W, 3] to display values 0 to 1: exposure, a film's S-curve."""
    light = np.maximum(linear * np.float32(np.exp(exposure)), 0)
    # The rational fit to ACES' curve (Narkowicz 2015): deep blacks, rolled-off whites.
    curve = light * (2.51 * light + 0.03) / (light * (2.43 * light + 0.59) + 0.14)
    return np.asarray(np.clip(curve, 0, 1) ** np.float32(1 / 2.2), np.float32)


def photograph(image: Float, seed: int, strength: float, eye_distance: float) -> NDArray[np.uint8]:
    """Display values [H, W, 3] through a camera of some quality, as uint8.

    Args:
        image: 0 to 1.
        seed: of the camera and its noise.
        strength: the appearance dial; at 0 the camera is perfect.
        eye_distance: outer eye corners' distance in pixels: blur is relative to the face, not to the crop.
    """
    if strength > 0:
        rng = np.random.default_rng(seed)
        draws = rng.random(12)
        image = image ** np.float32(np.exp((draws[0] - 0.25) * 0.4 * strength))
        contrast = 1 + (draws[1] - 0.15) * 0.4 * strength
        image = (image - 0.45) * np.float32(contrast) + np.float32(0.45 + (draws[2] - 0.6) * 0.08 * strength)
        balance = 1 + (rng.random(3) - 0.5) * 0.13 * strength
        image = image * balance.astype(np.float32)
        sigma = strength * eye_distance * 0.018 * draws[3] ** 2
        if sigma > 0.25:
            image = cv2.GaussianBlur(image, (0, 0), sigma)
        if draws[4] < 0.25 * strength:
            length = max(2, round(eye_distance * 0.06 * draws[5]))
            kernel = np.zeros((2 * length + 1, 2 * length + 1), np.float32)
            dx, dy = np.cos(draws[6] * np.pi) * length, np.sin(draws[6] * np.pi) * length
            start, end = ((round(length + s * dx), round(length + s * dy)) for s in (-1, 1))
            cv2.line(kernel, start, end, 1.0, 1, cv2.LINE_AA)
            image = cv2.filter2D(image, -1, kernel / kernel.sum())
        noise = strength * 0.035 * draws[7] ** 2
        if noise > 0.002:
            image = image + rng.standard_normal(image.shape, dtype=np.float32) * np.float32(noise)
    out = np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8)
    if strength > 0 and draws[8] < 0.7 * strength:
        quality = int(95 - 60 * strength * draws[9])
        encoded = cv2.imencode(".jpg", out[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        out = np.ascontiguousarray(np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))[..., ::-1])
    return np.asarray(out)
