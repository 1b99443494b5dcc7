"""Heads whose skin is a picture: who is drawn, in what light, and how the scene is shaded."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from domaingap.config import POPULATION, PopulationConfig
from domaingap.data.generated import light
from domaingap.data.generated.accessories import BALD, SCARF, hair_line
from domaingap.data.generated.geometries.builtin.template import EYE_R
from domaingap.data.generated.geometry import FaceGeometry
from domaingap.data.generated.materials import LINEAR, Materials, WigMesh
from domaingap.data.generated.mesh import SEG, WIG, Mesh, uniform
from domaingap.data.generated.photo_shader import (
    HAIRLINE,
    N_SKIN,
    Q_BLOTCH,
    Q_CLOTH_B,
    Q_CLOTH_G,
    Q_CLOTH_R,
    Q_EYE_WHITE,
    Q_FLAT,
    Q_GAIN_B,
    Q_GAIN_G,
    Q_GAIN_R,
    Q_HAIR,
    Q_HAIR_TONE,
    Q_MIX,
    Q_REDNESS,
    Q_WIG_B,
    Q_WIG_G,
    Q_WIG_R,
)
from domaingap.data.generated.population import DISTANCES, POSE, Draws, FaceParameters
from domaingap.data.images import read_rgb

Array = NDArray[Any]

# Logarithms of skin's colour per unit of its pigments (population.skin_colour).
_MELANIN = np.log(np.array([0.075, 0.036, 0.022]) / np.array([0.72, 0.50, 0.40]))
_BLOOD = np.log(np.array([1.0, 0.78, 0.80]))
_LIMIT = 2.4  # standard deviations of an identity
_BROWN = np.array([0.05, 0.022, 0.010])
_SHARP_EYES = 100.0  # pixels between the eyes' outer corners from which colour maps are used in full size


def draw_photo(
    face: FaceParameters,
    rng: np.random.Generator,
    geometry: FaceGeometry,
    materials: Materials,
    without: tuple[str, ...] = (),
    population: PopulationConfig = POPULATION,
) -> None:
    """What a head with pictures has beside what all heads have; changes ``face``. ``without`` is config.FACE_PARTS'."""
    d, look = Draws(rng), face.look
    n = len(materials.names)
    one, other = (_person(d, look["male"], materials) for _ in range(2))
    if look["young"] and d.chance(0.85):  # a child has no beard
        one, other = (_person(d, False, materials) for _ in range(2))
    if look["hat"] in (SCARF,) or (look["hat"] >= 0 and d.chance(0.4)):
        look["hat"] = -1
    mix = d.uniform(0.1, 0.45) if other != one and d.chance(0.6) else 0.0
    look.update(skin_map=one, second_map=other, skin_mix=mix)

    # Shape: the mesh's own components, the named ones of the built-in head, brows and hair of the textures' people.
    identity = np.zeros(len(geometry.identity), np.float32)
    free = len(identity) - 2 * geometry.people
    spread = np.where(np.arange(free) < geometry.own, population.identity, population.features)
    identity[:free] = np.clip(rng.standard_normal(free), -_LIMIT, _LIMIT) * spread
    brows, hair = identity[free : free + geometry.people], identity[free + geometry.people :]
    if geometry.people == n:
        brows[one], brows[other] = brows[one] + 1 - mix, brows[other] + mix
        hair[one] = d.uniform(0.7, 1.25) if look["hat"] < 0 else 0.3
    if len(geometry.child):
        identity += (0.9 * look["young"] * geometry.child).astype(np.float32)
    face.identity = identity

    bare = bool(materials.bald[one])
    look["wig"] = -1
    if not bare:
        look["style"] = BALD
    elif look["hat"] < 0 and materials.wigs and d.chance(0.85 if not look["male"] else 0.35):
        look["wig"], look["style"] = int(rng.integers(len(materials.wigs))), BALD
    elif look["male"] and look["hat"] < 0 and d.chance(0.4):
        look["style"] = BALD

    base = materials.skin[one] * (1 - mix) + materials.skin[other] * mix
    gain = np.exp(_MELANIN * d.normal(0, 0.035) + _BLOOD * d.normal(-0.1, 0.35) + d.normal(0.08, 0.08))
    look["skin"], look["skin_gain"] = base * gain, gain
    look["hair_tone"] = float(np.exp(d.normal(0.1, 0.3)))
    look["wig_colour"] = look["hair"] * d.uniform(0.8, 1.6)
    look["skin_blotch"], look["skin_redness"] = d.uniform(0.0, 0.10), d.uniform(0.0, 0.12)
    dark = float(look["skin"] @ light.LUMA) < 0.12
    look["eye_white"] = d.uniform(0.20, 0.30) if dark else d.uniform(0.34, 0.52)
    if dark or (look["hair"] @ light.LUMA < 0.05 and d.chance(0.8)):
        look["iris"] = _BROWN * d.uniform(0.5, 1.6)
    elif d.chance(0.5):
        look["iris"] = look["iris"] * d.uniform(0.4, 0.9)
    for name, left in (("hat_colour", 0.4), ("cloth", 0.5), ("cloth2", 0.5), ("occluder_colour", 0.5), ("frame", 0.3)):
        gray = float(np.mean(look[name]))
        look[name] = gray + (look[name] - gray) * left * d.rng.random()
    if d.chance(0.7):
        look["frame"] = look["frame"] * 0.15
    face.expression = {k: v for k, v in expression(d, population).items() if k in geometry.expression}
    _stand(face, population, d.chance(population.turned))
    if d.chance(population.into_camera):
        yaw, pitch = np.radians(face.pose[:2])
        share = d.uniform(0.6, 1.0)
        face.gaze = (
            float(np.clip(-share * yaw + d.normal(0, 0.05), -0.45, 0.45)),
            float(np.clip(-share * pitch + d.normal(0, 0.04), -0.2, 0.2)),
        )
    look["cloth_gain"] = np.exp(rng.normal(0, 0.4) + rng.normal(0, 0.15, 3))
    look["specular"] = d.uniform(0.01, 0.10)
    look["gloss"] = d.uniform(7, 22)
    look["lens"] = np.minimum(look["lens"], 0.03)
    _draw_light(d, look, materials)
    # Last: where there are no such pictures, all else is drawn as ever.
    look["behind"] = None
    if materials.backgrounds and d.chance(0.5):
        look["behind"] = (
            int(rng.integers(len(materials.backgrounds))),
            d.uniform(0.35, 1.0),
            *rng.random(2).tolist(),
            d.chance(0.5),
        )
    _take_away(face, without, free)


def _stand(face: FaceParameters, population: PopulationConfig, turned: bool) -> None:
    """Pose and distance, drawn for all heads alike, as this population has them."""
    means, spreads = (0.0, population.pitch_mean, 0.0), (population.yaw, population.pitch, population.roll)
    yaw, pitch, roll = (
        mean + (angle - drawn) * spread / of_draw
        for angle, mean, spread, ((drawn, of_draw), _) in zip(face.pose, means, spreads, POSE.values(), strict=True)
    )
    face.pose = (float(np.clip(1.8 * yaw, -60, 60)) if turned else yaw, pitch, roll)
    near, far = np.log(DISTANCES)
    share = (np.log(face.distance) - near) / (far - near)
    face.distance = float(population.nearest * (population.farthest / population.nearest) ** share)


def _take_away(face: FaceParameters, without: tuple[str, ...], free: int) -> None:
    """What ablations leave out, after all is drawn: other faces' draws stay the same."""
    look = face.look
    look["flat"] = float("albedo" in without)
    if "identity" in without:
        face.identity[:free] = 0
    if "expressions" in without:
        face.expression = {}
    if "hair" in without:
        look["wig"], look["style"] = -1, BALD
        face.identity[free + (len(face.identity) - free) // 2 :] = 0
    if "things" in without:
        look.update(glasses=False, sunglasses=False, hat=-1, occluder=-1)
    if "light" in without:
        look["soft"] = np.zeros((9, 3))
        look["soft"][0] = 0.55 / 0.282095 / np.pi * np.pi
        look["light"], look["light_dir"] = np.full(3, 0.45), np.array([-0.3, 0.4, 0.866])
        look["environment"] = None


def _person(d: Draws, male: bool, materials: Materials) -> int:
    """A person of the materials. The lighter half is drawn more often, as in photographs of the public sets."""
    people = materials.of_sex(male)
    light_ones = np.array([materials.skin[k] @ light.LUMA for k in people]) ** 0.7
    return people[int(d.rng.choice(len(people), p=light_ones / light_ones.sum()))]


def _draw_light(d: Draws, look: dict[str, Any], materials: Materials) -> None:
    if materials.environments and d.chance(0.85):
        place = int(d.rng.integers(len(materials.environments)))
        environment = materials.environments[place]
        azimuth, mirrored = d.uniform(0, 2 * np.pi), d.chance(0.5)
        soft = light.turned(environment.soft, azimuth, mirrored)
        direction = light.about_vertical(azimuth, mirrored) @ environment.key_direction
        key = environment.key * float(np.exp(d.normal(-0.6, 0.6)))
        look["environment"] = (place, azimuth, mirrored, d.normal(0, 0.12))
    else:
        soft, direction, key = light.drawn_environment(look)
        look["environment"] = None
    # Photographers seldom let the only light come from behind: it is brightened from in front.
    front = np.array([[0.0, 0.1, 0.995]])
    frontal = float((light.irradiance(soft, front)[0] + key * max(0.0, direction[2])) @ light.LUMA)
    everywhere = float(soft[0] @ light.LUMA * 0.282095)
    if frontal < 0.6 * everywhere:
        lamp = (light.harmonics(_lamp(d))[:, None] * np.ones(3)) * 0.9 * everywhere
        soft = soft + lamp
    total = light.irradiance(soft, front)[0] + 0.7 * key * max(0.25, float(direction[2]))
    bright = float(total @ light.LUMA)
    # A camera's white balance takes most of the light's tint away.
    balance = (total / bright) ** -d.uniform(0.75, 1.0)
    look["soft"] = soft * balance / bright
    look["light"], look["light_dir"] = key * balance / bright, direction
    look["shadow"] = d.uniform(0.75, 1.0)
    # Of a darker skin a camera's meter takes back about half.
    look["meter"] = float(np.log(1.2) - 0.5 * np.log(float(look["skin"] @ light.LUMA) / 0.3))
    look["film"] = d.uniform(0.0, 0.7)
    look["sky"] = 0.3 * light.irradiance(look["soft"], np.array([[0.0, 0.7, 0.7]]))[0]
    look["ground"] = light.irradiance(look["soft"], np.array([[0.0, -0.7, 0.7]]))[0]
    look["defocus"] = 0.05 * d.rng.random() ** 3
    look["scenery"] = d.chance(0.65)
    look["lens_blur"] = d.uniform(0.001, 0.016)


def expression(d: Draws, population: PopulationConfig) -> dict[str, float]:
    """Movements in combinations that photographs show: half of all people smile, most of those with their teeth.

    Names that a geometry doesn't have are for the caller to leave out.
    """
    kind = d.rng.random()
    laugh, smile = population.grins, population.grins + population.smiles
    calm = 1 - population.talks - population.grimaces
    strength: dict[str, float] = {}
    if kind < laugh:
        strength["grin"] = d.uniform(0.35, 1.15)
        strength["upper_lip_up"] = d.uniform(0.0, 0.45)
        strength["lower_lip_down"] = d.uniform(-0.2, 0.55)
        strength["jaw_open"] = 0.5 * d.rng.random() ** 2.5
        strength["smile"] = d.uniform(0.0, 0.3)
        cheeks = strength["grin"] * d.rng.random()
    elif kind < smile:
        strength["smile"] = d.uniform(0.3, 1.25)
        strength["lips_in"] = d.uniform(-0.1, 0.3)
        cheeks = 0.8 * strength["smile"] * d.rng.random()
    elif kind < calm:
        strength["smile"] = d.uniform(-0.15, 0.3)
        strength["jaw_open"] = d.uniform(0.0, 0.15) if d.chance(0.3) else 0.0
        strength["frown"] = max(0.0, d.normal(-0.1, 0.3))
        strength["lips_in"] = max(0.0, d.normal(-0.2, 0.4))
        cheeks = 0.0
    elif kind < 1 - population.grimaces:
        said = ("say_a", "say_o", "say_e", "say_u", "say_f", "say_s", "say_sh", "say_t")
        strength[said[int(d.rng.integers(len(said)))]] = d.uniform(0.3, 1.0)
        strength["smile"] = d.uniform(-0.1, 0.5)
        cheeks = 0.3 * d.rng.random()
    else:
        odd = int(d.rng.integers(6))
        name = ("shout", "pucker", "frown", "cheek_puff", "nose_wrinkle", "jaw_open")[odd]
        strength[name] = d.uniform(0.3, 0.85) if name == "shout" else d.uniform(0.4, 1.1)
        if name in ("shout", "nose_wrinkle", "jaw_open"):
            strength["grin"] = d.uniform(0.0, 0.8)
        strength["brows_down"] = d.uniform(0, 0.8) if d.chance(0.4) else 0.0
        cheeks = 0.7 * d.rng.random()
    strength["squint"] = 0.6 * cheeks + max(0.0, d.normal(0.15, 0.3))
    for name, share, most in (
        ("brows_up", 0.3, 1.0), ("inner_brows_up", 0.15, 0.9), ("brows_down", 0.25, 0.9), ("sad_eyes", 0.08, 0.7),
        ("eyes_wide", 0.10, 0.9), ("brow_right_up", 0.08, 0.9), ("brow_left_up", 0.08, 0.9), ("nostrils", 0.15, 0.8),
        ("nose_wrinkle", 0.10, 0.5), ("chin_up", 0.12, 0.6),
    ):  # fmt: skip
        if d.chance(share):
            strength[name] = max(strength.get(name, 0.0), most * d.rng.random())
    for name, sd in (("smile_right", 0.10), ("smile_left", 0.10), ("jaw_side", 0.15), ("jaw_forward", 0.15)):
        strength[name] = d.normal(0, sd)
    lids = d.rng.random()
    closed = 1.0 if lids < 0.04 else d.uniform(0.3, 0.7) if lids < 0.12 else 0.0
    droop = max(0.0, d.normal(-0.03, 0.10)) + 0.15 * cheeks * d.rng.random()
    wink = d.rng.random()
    strength["blink_right"] = 1.0 if wink < 0.005 else min(1.0, max(closed, droop))
    strength["blink_left"] = 1.0 if wink > 0.995 else min(1.0, max(closed, droop + d.normal(0, 0.02)))
    return strength


def develop_photo(linear: Array, exposure: float, film: float) -> NDArray[np.float32]:
    """Linear light [H, W, 3] to display values 0 to 1: exposure, a rolled-off white, sRGB's curve, a film's contrast."""
    x = np.maximum(linear * np.float32(np.exp(exposure)), 0)
    knee = np.float32(0.6)
    # A camera's colours are paler than the pictures that skin is made of.
    gray = x @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    x = gray[..., None] + (x - gray[..., None]) * np.float32(0.85)
    x = np.where(x > knee, knee + (1 - knee) * (1 - np.exp(-(x - knee) / (1 - knee))), x)
    y = np.where(x <= 0.0031308, x * 12.92, 1.055 * np.maximum(x, 1e-6) ** np.float32(1 / 2.4) - 0.055)
    return np.asarray(y + np.float32(film) * (y * y * (3 - 2 * y) - y), np.float32)


def _lamp(d: Draws) -> Array:
    way = np.array([d.normal(0, 0.5), d.normal(0.3, 0.3), 1.0])
    return np.asarray(way / np.linalg.norm(way))


def wig(head: Array, scalp: Array, worn: WigMesh) -> Mesh:
    """A wig on a head [V, 3] whose ``scalp`` vertices say where and how large."""
    low, high = head[scalp].min(0), head[scalp].max(0)
    size = (high - low) / np.maximum(worn.scalp[1] - worn.scalp[0], 1.0)
    moved = (worn.vertices - worn.scalp.mean(0)) * size + (low + high) / 2
    attributes = np.stack([np.ones(len(moved)), worn.open_to_light], -1)
    return uniform(moved, worn.triangles, WIG, SEG["hair"], worn.uv, attributes)


def skin_numbers(look: dict[str, Any], materials: Materials) -> NDArray[np.float32]:
    """A face's look as the photo shader's numbers [N_SKIN]."""
    q = np.zeros(N_SKIN, np.float32)
    q[Q_MIX] = look["skin_mix"]
    q[[Q_GAIN_R, Q_GAIN_G, Q_GAIN_B]] = look["skin_gain"]
    q[Q_BLOTCH], q[Q_REDNESS] = look["skin_blotch"], look["skin_redness"]
    q[Q_EYE_WHITE], q[Q_HAIR_TONE] = look["eye_white"], look["hair_tone"]
    q[Q_FLAT] = look["flat"]
    q[Q_HAIR] = float(look["style"] != BALD)
    q[[Q_CLOTH_R, Q_CLOTH_G, Q_CLOTH_B]] = look["cloth_gain"]
    if look["wig"] >= 0:
        mean = LINEAR[materials.wigs[look["wig"]].colours].reshape(-1, 3).mean(0)
        # Half of the wig's own colour: its strands keep their variety.
        q[[Q_WIG_R, Q_WIG_G, Q_WIG_B]] = (look["wig_colour"] / mean) ** 0.8
    return q


def hairline(look: dict[str, Any]) -> NDArray[np.float32]:
    """The photo shader's table of where hair begins."""
    if look["style"] == BALD:
        return np.zeros(2 * HAIRLINE + 1, np.float32)
    return hair_line(np.arange(-HAIRLINE, HAIRLINE + 1).astype(float), look).astype(np.float32)


def iris_scale(geometry: FaceGeometry) -> float:
    """From radii of the built-in head's eyeballs to this mesh's, so that irises keep their size."""
    return EYE_R / geometry.eye_radius


def scenery(look: dict[str, Any], materials: Materials, focal: float, size: int) -> Array | None:
    """What lies behind the head [size, size, 3]: a picture, or the light's own place; None where neither is shown."""
    if look["behind"] is not None:
        return _picture_behind(look, materials, size)
    if look["environment"] is None or not look["scenery"]:
        return None
    place, azimuth, mirrored, pitch = look["environment"]
    picture = light.seen_background(materials.environments[place].picture, azimuth, mirrored, focal, pitch, size)
    behind = picture / (float(np.median(picture @ light.LUMA)) + 1e-6) * look["background_tone"] * 0.5
    sigma = size * look["defocus"]
    return cv2.GaussianBlur(behind, (0, 0), sigma) if sigma > 0.5 else np.ascontiguousarray(behind)


def _picture_behind(look: dict[str, Any], materials: Materials, size: int) -> Array:
    """A square part of a background picture as linear light, as bright as backgrounds are."""
    number, share, down, right, mirrored = look["behind"]
    picture = read_rgb(materials.backgrounds[number])
    height, width = picture.shape[:2]
    side = max(2, int(share * min(height, width)))
    top, left = int(down * (height - side)), int(right * (width - side))
    part = cv2.resize(picture[top : top + side, left : left + side], (size, size), interpolation=cv2.INTER_AREA)
    behind = LINEAR[part[:, ::-1] if mirrored else part]
    behind = behind / (float(np.median(behind @ light.LUMA)) + 0.02) * look["background_tone"] * 0.5
    sigma = size * look["defocus"]
    return cv2.GaussianBlur(behind, (0, 0), sigma) if sigma > 0.5 else np.ascontiguousarray(behind)


def textures_for(look: dict[str, Any], materials: Materials, eye_distance: float) -> tuple[Array, Array, Array]:
    """The two colour maps and the wig's for a face of this size in the drawn picture (pixels between outer eye corners)."""
    maps = materials.textures if eye_distance > _SHARP_EYES else materials.small
    own = materials.wigs[look["wig"]].colours if look["wig"] >= 0 else np.zeros((1, 1, 3), np.uint8)
    return maps[look["skin_map"]], maps[look["second_map"]], own
