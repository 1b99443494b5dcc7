"""Who is in the picture: identity, expression, pose, hair and things worn, light, all drawn from one seeded stream.

Every dial blends between two ranges of one draw, so face i changes smoothly, and at 0 it is a face of the
synthetic domain's distribution.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domaingap.data.generated.geometry import FaceGeometry

LIMIT = 2.5
"""Standard deviations at which normal draws are cut, unless said otherwise."""
POSE = {"yaw": ((0, 17), (0, 17)), "pitch": ((0, 8.5), (-2, 9)), "roll": ((0, 9), (0, 11))}
"""Mean and standard deviation in degrees with the population dial at 0 and at 1; drawn in this order."""

DISTANCES = (520.0, 3000.0)
"""mm from the camera to the middle of the head, nearest and farthest; drawn evenly in their logarithm."""


class Draws:
    """Seeded draws as Python numbers; dials blend their ranges (:func:`blend`)."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def uniform(self, low: float, high: float) -> float:
        return float(low + (high - low) * self.rng.random())

    def normal(self, mean: float = 0.0, sd: float = 1.0, limit: float = LIMIT) -> float:
        return float(mean + sd * np.clip(self.rng.standard_normal(), -limit, limit))

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)


def blend(dial: float, at_0: float, at_1: float) -> float:
    """Linear between two values."""
    return at_0 + (at_1 - at_0) * dial


@dataclass
class FaceParameters:
    """One face in its photograph. Angles in degrees, lengths in mm, colours linear RGB."""

    identity: NDArray[np.float32]
    expression: dict[str, float]
    gaze: tuple[float, float]
    pose: tuple[float, float, float]
    distance: float  # from the camera to the middle of the head
    face_share: float  # outer eye corners' distance, seen frontally, as a share of the photograph's side
    centre: tuple[float, float]  # where the eyes' middle lies, as shares of the photograph's side
    look: dict[str, Any] = field(default_factory=dict)


_HAIR_COLOURS = np.array(
    [[0.010, 0.008, 0.007], [0.030, 0.018, 0.011], [0.075, 0.040, 0.020], [0.16, 0.090, 0.042], [0.38, 0.25, 0.12],
     [0.28, 0.10, 0.035], [0.34, 0.33, 0.32], [0.62, 0.60, 0.57]]
)  # fmt: skip
_IRISES = np.array([[0.06, 0.028, 0.012], [0.10, 0.05, 0.02], [0.14, 0.16, 0.09], [0.14, 0.22, 0.30], [0.20, 0.24, 0.26]])


def skin_colour(melanin: float, blood: float) -> NDArray[np.float64]:
    """Linear RGB of skin from its two pigments' amounts, 0 to 1 each: a smooth fit by eye to photographs' range."""
    light, dark = np.array([0.72, 0.50, 0.40]), np.array([0.075, 0.036, 0.022])
    colour = light ** (1 - melanin) * dark**melanin
    return np.asarray(colour * np.array([1.0, 1 - 0.22 * blood, 1 - 0.20 * blood]))


def draw_face(rng: np.random.Generator, geometry: FaceGeometry, appearance: float, population: float) -> FaceParameters:
    """One face.

    Args:
        rng: the face's own generator.
        geometry: whose identities and expressions are drawn.
        appearance: the appearance dial, 0 to 1.
        population: the population dial.
    """
    d = Draws(rng)
    spread = blend(population, 0.85, 1.0)
    identity = np.clip(rng.standard_normal(len(geometry.identity)), -2.2, 2.2).astype(np.float32) * np.float32(spread)
    # A fifth are children.
    young = d.uniform(0.4, 1.3) if d.chance(0.2) else 0.0
    if len(geometry.other_population):
        identity += np.float32(population) * geometry.other_population.astype(np.float32)
    if len(geometry.child):
        identity += (young * geometry.child).astype(np.float32)
    expression = {name: strength for name, strength in _expression(d, population).items() if name in geometry.expression}
    gaze = (d.normal(0, 0.16), d.normal(-0.03, 0.10))
    yaw, pitch, roll = (
        d.normal(*(blend(population, *at) for at in zip(*parameters, strict=True))) for parameters in POSE.values()
    )
    distance = float(np.exp(d.uniform(*np.log(DISTANCES))))
    face_share = d.uniform(0.20, 0.30)
    centre = (0.5 + d.normal(0, 0.03), 0.44 + d.normal(0, 0.03))
    face = FaceParameters(identity, expression, gaze, (yaw, pitch, roll), distance, face_share, centre)
    face.look = {
        **_person(d, population, young),
        **_things(d, population),
        **_light(d, appearance),
        "appearance": appearance,
        "young": young,
    }
    # Other textures: skin more uneven, more shiny, hair of more contrast.
    for name, stronger in (("blotch", 1.0), ("specular", 0.8), ("redness", 0.4), ("wrinkles", 0.4), ("hair_contrast", 0.35)):
        face.look[name] *= 1 + stronger * appearance
    return face


_MOODS = {
    "frown": 0.25, "pucker": 0.18, "mouth_side": 0.22, "jaw_side": 0.18, "smile_left": 0.14, "smile_right": 0.14,
    "brows_up": 0.35, "brow_left_up": 0.18, "brow_right_up": 0.18, "inner_brows_up": 0.25, "brows_down": 0.32,
    "nose_wrinkle": 0.22, "cheek_puff": 0.18,
}  # fmt: skip
"""Standard deviations of movements that come with any expression."""


def _expression(d: Draws, population: float) -> dict[str, float]:
    strength: dict[str, float] = {}
    kind = d.rng.random()
    talk, laugh = blend(population, 0.25, 0.38), blend(population, 0.42, 0.30)
    jaw, smile = d.rng.random(2)
    opened = d.rng.random()
    if kind < laugh:  # smiling, often with teeth
        strength["smile"] = 0.25 + 0.95 * float(smile)
        strength["jaw_open"] = 0.45 * max(0.0, float(jaw) - 0.45)
        if opened < 0.62:
            strength["upper_lip_up"] = 0.75 * float(opened) + 0.15
            strength["lower_lip_down"] = 0.8 * float(jaw)
        strength["squint"] = 0.9 * float(smile)
        strength["blink_right"] = strength["blink_left"] = 0.35 * float(smile) ** 2
    elif kind < laugh + talk:  # talking, shouting
        strength["jaw_open"] = float(jaw) ** 1.4 * 1.25
        strength["smile"] = 0.5 * float(smile) - 0.1
        strength["upper_lip_up"] = 0.4 * float(opened)
        strength["lower_lip_down"] = 0.6 * float(opened)
        strength["pucker"] = 0.6 * max(0.0, 0.5 - float(smile))
    else:
        strength["smile"] = 0.35 * float(smile) - 0.1
        strength["jaw_open"] = 0.10 * max(0.0, float(jaw) - 0.6)
        strength["lips_in"] = max(0.0, float(opened) - 0.6)
    for name, sd in _MOODS.items():
        value = d.normal(0, sd * blend(population, 1.0, 1.25))
        both = name in ("mouth_side", "jaw_side", "brows_up", "smile_left", "smile_right")
        strength[name] = strength.get(name, 0.0) + (value if both else max(0.0, value))
    lids = d.rng.random()
    droop = d.normal(0.08, 0.14)
    closed = 1.0 if lids < 0.035 else 0.25 + 0.5 * d.rng.random() if lids < 0.14 else 0.0
    wink = d.rng.random()
    laughing = strength.get("blink_left", 0.0)
    strength["blink_right"] = min(1.0, max(closed, droop + laughing) if wink > 0.008 else 1.0)
    strength["blink_left"] = min(1.0, max(closed, droop + laughing + d.normal(0, 0.03)))
    return strength


def _person(d: Draws, population: float, young: float) -> dict[str, Any]:
    melanin = d.rng.beta(1.1, 2.3) if not d.chance(0.5 * population) else d.rng.beta(2.4, 1.3)
    blood = d.rng.random()
    age = d.rng.random() ** 1.4
    male = d.chance(0.5)
    if young:
        age = 0.0
    # Fair hair goes with fair skin, mostly.
    gray = 0.25 if age > 0.55 else 0.02
    dark = np.array([0.24, 0.19, 0.17, 0.14, 0.13, 0.05, gray * 0.6, gray * 0.4])
    if melanin > 0.42 and not d.chance(0.06):
        dark = np.array([0.58, 0.28, 0.06, 0.0, 0.0, 0.0, gray * 0.6, gray * 0.4])
    hair = _HAIR_COLOURS[d.rng.choice(8, p=dark / dark.sum())] * d.uniform(0.7, 1.4)
    skin = skin_colour(0.92 * float(melanin), float(blood)) * d.uniform(0.85, 1.15)
    lip_colour = skin * np.array([0.86, 0.48, 0.50]) * d.uniform(0.75, 1.1)
    if not male and d.chance(0.35):
        lip_colour = np.array([d.uniform(0.15, 0.5), d.uniform(0.01, 0.09), d.uniform(0.02, 0.12)])
    beard_kind = int(d.rng.choice(5, p=[0.48, 0.2, 0.14, 0.1, 0.08])) if male and not young else 0
    style = d.rng.choice(7, p=[0.12, 0.42, 0.22, 0.10, 0.14, 0.0, 0.0] if male else [0.02, 0.12, 0.16, 0.14, 0.56, 0.0, 0.0])
    return {
        "skin": skin,
        "lip": lip_colour,
        "lip_share": d.uniform(0.35, 0.95),
        "hair": hair,
        "brow": hair * 0.7 + skin * d.uniform(0.0, 0.22),
        "iris": _IRISES[d.rng.choice(5, p=[0.34, 0.26, 0.14, 0.16, 0.10])],
        "beard": hair * d.uniform(0.6, 1.3),
        "beard_full": d.uniform(0.6, 1.0) if beard_kind == 3 else 0.0,
        "moustache": d.uniform(0.6, 1.0) if beard_kind in (2, 3) else 0.0,
        "stubble": d.uniform(0.2, 0.85) if beard_kind in (1, 2, 4) else d.uniform(0, 0.2) if male and not young else 0.0,
        "brow_half": d.normal(2.5, 0.7, 1.8) + (0.6 if male else 0.0),
        "brow_density": d.uniform(0.55, 1.0),
        "brow_taper": d.uniform(0.2, 0.75),
        "redness": d.uniform(0.0, 0.9),
        "blotch": d.uniform(0.03, 0.16),
        "freckles": d.uniform(0.2, 1.0) if d.chance(0.2) else 0.0,
        "wrinkles": age * d.uniform(0.3, 1.2),
        "bags": d.uniform(0, 1),
        "lash": d.uniform(0.45, 0.95) if not male else d.uniform(0.3, 0.7),
        "specular": d.uniform(0.02, 0.20),
        "gloss": d.uniform(6, 26),
        "noise": (d.uniform(0, 512), d.uniform(0, 512)),
        "iris_r": d.normal(0.49, 0.02),
        "pupil_r": d.uniform(0.14, 0.24),
        "teeth": d.uniform(0.45, 0.85),
        "style": int(style),
        "hairline": d.normal(64, 7) + (10 if male and age > 0.6 else 0),
        "recession": max(0.0, d.normal(4, 6)) + (8 * age if male else 0),
        "hair_volume": d.rng.random(),
        "hair_noise": d.uniform(0.0, 0.35),
        "fringe": d.chance(0.28),
        "sweep": d.normal(0, 1),
        "parting": d.normal(0, 1),
        "length": d.rng.random(),
        "hair_front": d.uniform(56, 84),
        "hair_fine": d.uniform(1.2, 5.0),
        "hair_contrast": d.uniform(0.25, 0.65),
        "hair_wave": d.uniform(0, 14) if d.chance(0.5) else 0.0,
        "scalp": d.uniform(0.2, 0.9) if male else 0.9,
        "male": male,
    }


def _things(d: Draws, population: float) -> dict[str, Any]:
    glasses, hat, thing = d.rng.random(3)

    def colour() -> NDArray[np.float64]:
        mixed = d.rng.random(3) ** 1.6 * 0.8 * float(d.rng.random()) ** 0.7
        gray = float(mixed.mean())
        return np.asarray(gray + (mixed - gray) * d.rng.random() ** 1.5)

    return {
        "glasses": bool(glasses < 0.20),
        "sunglasses": bool(glasses < 0.045),
        "rim": d.uniform(0.8, 3.2),
        "rim_half": (d.normal(25.5, 1.8), d.normal(19.5, 3.2)),
        "rim_power": d.uniform(2.0, 4.5),
        "frame": colour() * 0.4 if d.chance(0.8) else colour(),
        "lens_alpha": d.uniform(0.0, 0.15),
        "lens_dark": d.uniform(0.72, 0.97),
        "lens": d.rng.random(3) * 0.05,
        "glasses_down": d.uniform(-2, 7),
        "hat": (int(d.rng.choice(4)) if hat < blend(population, 0.11, 0.16) else -1),
        "hat_line": d.uniform(26, 52),
        "hat_colour": colour(),
        "brim": d.uniform(35, 75),
        "hat_tilt": d.normal(0, 0.08),
        "occluder": (int(d.rng.choice(4)) if thing < 0.11 else -1),
        "occluder_at": (d.normal(0, 1), d.normal(0, 1)),
        "occluder_turn": d.uniform(0, 2 * np.pi),
        "occluder_size": d.uniform(0.7, 1.3),
        "occluder_colour": colour(),
        "cloth": colour(),
        "cloth2": colour(),
        "cloth_frequency": d.uniform(0.1, 1.4),
        "cloth_mix": d.uniform(0.2, 1) if d.chance(0.4) else 0.0,
        "collar": d.uniform(-160, -128),
        "shoulders": d.normal(1.0, 0.1),
        "body_turn": d.normal(0, 15),
    }


def _light(d: Draws, appearance: float) -> dict[str, Any]:
    azimuth = np.radians(d.normal(0, blend(appearance, 62, 70)))
    elevation = np.radians(np.clip(d.normal(blend(appearance, 32, 27), blend(appearance, 18, 23)), -25, 80))
    direction = np.array([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])
    warm = d.normal(0, 1)
    tint = np.exp(np.array([0.16, 0.0, -0.20]) * warm * blend(appearance, 0.6, 0.7))
    other = np.exp(d.rng.standard_normal(3) * blend(appearance, 0.10, 0.15))
    hard = float(d.rng.random())
    key = blend(appearance, 1.1, 1.2) * (0.35 + 1.3 * hard)
    fill_azimuth = azimuth + np.radians(d.uniform(90, 220))
    return {
        "light_dir": direction,
        "light": tint * key,
        "shadow": d.uniform(0.25, 0.95),
        "fill_dir": np.array([np.sin(fill_azimuth), 0.2, np.cos(fill_azimuth)]),
        "fill": other * d.uniform(0.05, 0.4),
        "sky": (0.5 + 0.5 * other) * d.uniform(0.10, 0.65) * (1.25 - 0.85 * hard),
        "ground": other[::-1] * d.uniform(0.02, 0.22),
        "exposure": d.normal(0.0, 0.22),
        "background": d.rng.random(),
        "background_seed": int(d.rng.integers(2**31)),
        "background_tone": 0.03 + 0.9 * float(d.rng.random()) ** 1.5,
        "camera_seed": int(d.rng.integers(2**31)),
    }
