"""Shader, compiled by numba: a rasterised scene → linear RGB and classes. A function for each material, then light.

All that :func:`shade` calls stands in this module: numba compiles a cached function anew when its own file changes,
not when another does. After a change of the numbers in mesh.py delete ``__pycache__``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from domaingap.data.generated.compiled import compiled
from domaingap.data.generated.mesh import CLOTH, EYE, GLASSES, HAIR, HAT, MOUTH, SEG, SKIN, TEETH

# Columns of a scene's parameters, [N_PARAMETERS] float32; colours are linear RGB.
(P_SKIN, P_LIP, P_HAIR, P_BROW, P_CLOTH, P_FRAME, P_HAT, P_OCCLUDER, P_IRIS, P_CLOTH2, P_LIGHT_DIR, P_LIGHT, P_FILL_DIR,
 P_FILL, P_SKY, P_GROUND, P_BEARD, P_LENS) = range(0, 54, 3)  # fmt: skip
(P_LIP_SHARE, P_BROW_HALF, P_BROW_DENSITY, P_BROW_TAPER, P_BEARD_FULL, P_MOUSTACHE, P_STUBBLE, P_REDNESS, P_BLOTCH,
 P_FRECKLES, P_WRINKLES, P_LASH, P_SPECULAR, P_GLOSS, P_NOISE_X, P_NOISE_Y, P_HAIR_FINE, P_HAIR_CONTRAST, P_IRIS_R,
 P_PUPIL_R, P_SHADOW, P_LENS_ALPHA, P_CLOTH_FREQ, P_CLOTH_MIX, P_TEETH, P_BAGS, P_HAIR_WAVE, P_SCALP,
 N_PARAMETERS) = range(54, 83)  # fmt: skip

# Atlas of the skin in template coordinates: pixels per mm, left and top in mm.
ATLAS_SCALE, ATLAS_LEFT, ATLAS_TOP = 2.0, -132.0, 66.0
(A_REDNESS, A_BEARD, A_MOUSTACHE, A_LASH, A_WRINKLES, A_BROW_V, A_BROW_U, A_BAGS) = range(8)

Function = TypeVar("Function", bound=Callable[..., Any])

_S_SKIN, _S_NECK, _S_BEARD, _S_GLASSES = SEG["skin"], SEG["neck"], SEG["beard"], SEG["glasses"]
_S_BROWS, _S_EARS = (SEG["right_brow"], SEG["left_brow"]), (SEG["right_ear"], SEG["left_ear"])

# Without counts of references to arrays, which cost 5% of the speed of making faces.
_inlined: Callable[[Function], Function] = njit(forceinline=True, fastmath=True, _nrt=False)  # type: ignore[call-overload]


@_inlined
def _smoothstep(low: float, high: float, value: float) -> float:
    t = min(max((value - low) / (high - low), 0.0), 1.0)
    return t * t * (3 - 2 * t)


@_inlined
def _noise(bank: Any, layer: int, x: float, y: float) -> float:
    """Nearest sample of a tiling noise [N, N, layers] (N a power of two), about -1 to 1."""
    mask = bank.shape[0] - 1
    return float(bank[int(np.floor(y)) & mask, int(np.floor(x)) & mask, layer])


@_inlined
def _toned(p: Any, start: int, tone: float) -> Any:
    """The parameters' colour that starts at ``start``, brighter or darker."""
    return p[start] * tone, p[start + 1] * tone, p[start + 2] * tone


@_inlined
def _covered(colour: Any, p: Any, start: int, tone: float, share: float) -> Any:
    """A colour, a share of it covered by the parameters' colour that starts at ``start``."""
    r, g, b = colour
    r += share * (p[start] * tone - r)
    g += share * (p[start + 1] * tone - g)
    b += share * (p[start + 2] * tone - b)
    return r, g, b


# Materials: from uv (u, v) and the surface's two attributes to what light needs to know of a surface:
# (colour, specular, gloss, wrap, openness), wrap being how far light reaches around it, openness how much sky it sees.


@_inlined
def _skin(u: float, v: float, first: float, second: float, segment: int, p: Any, atlas: Any, bank: Any) -> Any:
    """Skin with lips, and what grows on it; also the class, which beards and brows change."""
    n0 = _noise(bank, 0, u * 1.1 + p[P_NOISE_X], v * 1.1 + p[P_NOISE_Y])
    n1 = _noise(bank, 1, u * 3.1 + p[P_NOISE_Y], v * 3.1 + p[P_NOISE_X])
    colour = _toned(p, P_SKIN, 1.0 + p[P_BLOTCH] * (0.7 * n0 + 0.5 * n1))
    specular = p[P_SPECULAR]
    lip = _smoothstep(0.25, 0.75, first) * p[P_LIP_SHARE]
    if lip > 0:
        colour = _covered(colour, p, P_LIP, 1.0 + 0.10 * n1, lip)
        specular += 0.10 * lip
    row = int((ATLAS_TOP - v) * ATLAS_SCALE)
    column = int((u - ATLAS_LEFT) * ATLAS_SCALE)
    if 0 <= row < atlas.shape[0] and 0 <= column < atlas.shape[1] and segment not in _S_EARS:
        here = atlas[row, column]
        colour = _blemished(colour, u, v, here, p, bank)
        colour, specular, segment = _bearded(colour, specular, segment, u, v, n0, n1, lip, here, p, bank)
        colour, specular, segment = _browed(colour, specular, segment, u, v, n1, here, p, bank)
        lash = here[A_LASH] * p[P_LASH]
        colour = colour[0] * (1 - lash), colour[1] * (1 - lash), colour[2] * (1 - lash)
    if p[P_SCALP] > 0 and segment == _S_SKIN and v > 0:
        # Shaved or thin hair on the scalp, where no hair stands.
        line = 60.0 - 0.0058 * u * u
        cover = p[P_SCALP] * _smoothstep(line - 6, line + 8, v + 5 * n0) * (0.6 + 0.4 * n1)
        colour = _covered(colour, p, P_HAIR, 1.0, min(1.0, max(0.0, cover)))
    return colour, specular, p[P_GLOSS], 0.25, second, segment


@_inlined
def _blemished(colour: Any, u: float, v: float, here: Any, p: Any, bank: Any) -> Any:
    """Redness, freckles, wrinkles and bags; ``here`` are the atlas' numbers."""
    r, g, b = colour
    red = here[A_REDNESS] * p[P_REDNESS]
    g *= 1 - 0.35 * red
    b *= 1 - 0.35 * red
    freckle = _noise(bank, 3, u * 2.2 + p[P_NOISE_X], v * 2.2)
    if freckle > 0.9:
        dark = min(1.0, (freckle - 0.9) * 4) * p[P_FRECKLES] * (0.3 + here[A_REDNESS])
        r, g, b = r * (1 - 0.35 * dark), g * (1 - 0.5 * dark), b * (1 - 0.6 * dark)
    line = here[A_WRINKLES] * p[P_WRINKLES]
    bag = here[A_BAGS] * p[P_BAGS]
    dim = (1 - 0.38 * line) * (1 - 0.3 * bag)
    return r * dim, g * dim, b * dim


@_inlined
def _bearded(
    colour: Any, specular: float, segment: int, u: float, v: float, n0: float, n1: float, lip: float, here: Any, p: Any,
    bank: Any,
) -> Any:  # fmt: skip
    """Beard, moustache and stubble."""
    hairs = 0.5 + 0.5 * _noise(bank, 2, u * 6.0 + p[P_NOISE_Y], v * 2.6 + p[P_NOISE_X])
    beard, moustache = here[A_BEARD], here[A_MOUSTACHE]
    cover = max(beard * p[P_BEARD_FULL], moustache * p[P_MOUSTACHE])
    if cover > 0:
        ragged = _smoothstep(0.25, 0.85, cover + 0.30 * n1 - 0.1 + 0.2 * n0)
        share = min(1.0, cover) * ragged * (0.72 + 0.28 * hairs) * (1 - 0.9 * lip)
        colour = _covered(colour, p, P_BEARD, 0.5 + 0.9 * hairs, share)
        specular *= 1 - share
        if share > 0.5 and segment in (_S_SKIN, _S_NECK):
            segment = _S_BEARD
    stubble = max(beard, moustache) * p[P_STUBBLE] * (0.45 + 0.4 * hairs) * (1 - lip)
    r, g, b = colour
    r += stubble * (0.5 * p[P_BEARD] + 0.22 * r - r)
    g += stubble * (0.5 * p[P_BEARD + 1] + 0.24 * g - g)
    b += stubble * (0.5 * p[P_BEARD + 2] + 0.28 * b - b)
    return (r, g, b), specular, segment


@_inlined
def _browed(colour: Any, specular: float, segment: int, u: float, v: float, n1: float, here: Any, p: Any, bank: Any) -> Any:
    along = here[A_BROW_U]
    if -0.1 < along < 1.12:
        half = p[P_BROW_HALF] * (1.0 - p[P_BROW_TAPER] * max(0.0, along - 0.35) * 1.1)
        end = _smoothstep(-0.10, 0.06, along) * (1 - _smoothstep(0.97, 1.12, along))
        edge = 1 - _smoothstep(half - 1.1, half + 0.9, abs(here[A_BROW_V]) + 0.9 * n1)
        strand = 0.5 + 0.5 * _noise(bank, 2, u * 5.0 + v * 2.0 + p[P_NOISE_X], v * 3.4 - u * 1.5)
        brow = edge * end * p[P_BROW_DENSITY] * (0.62 + 0.38 * strand)
        if brow > 0:
            colour = _covered(colour, p, P_BROW, 1.0, brow)
            specular *= 1 - brow
            if brow > 0.35 and segment == _S_SKIN:
                segment = _S_BROWS[0] if u < 0 else _S_BROWS[1]
    return colour, specular, segment


@_inlined
def _eye(u: float, v: float, p: Any, bank: Any) -> Any:
    d = np.sqrt(u * u + v * v)
    veins = _noise(bank, 0, u * 40 + p[P_NOISE_X], v * 40)
    colour = 0.58 + 0.03 * veins, 0.52 + 0.05 * veins, 0.49 + 0.05 * veins
    if d < p[P_IRIS_R]:
        rays = 1.0 + 0.35 * _noise(bank, 1, np.arctan2(u, v) * 40 + p[P_NOISE_X], d * 8)
        dim = 1 - 0.75 * _smoothstep(0.78, 1.0, d / p[P_IRIS_R])
        colour = p[P_IRIS] * rays * dim, p[P_IRIS + 1] * rays * dim, p[P_IRIS + 2] * rays * dim
        if d < p[P_PUPIL_R]:
            colour = 0.004, 0.004, 0.004
    # The upper lid and its lashes shade the ball, most of all close below them.
    return colour, 0.9, 90.0, -0.15, max(0.12, 0.85 - 0.55 * max(0.0, v + 0.10) / 0.4 - 0.25 * abs(u))


@_inlined
def _teeth(u: float, p: Any) -> Any:
    gap = 1.0 - 0.25 * _smoothstep(0.82, 1.0, abs(((u / 7.5) % 1.0) * 2 - 1))
    inner = 1.0 - 0.55 * min(1.0, abs(u) / 24.0)
    tooth = p[P_TEETH] * gap * inner
    return (tooth, tooth * 0.93, tooth * 0.82), 0.25, 30.0, 0.0, 0.65


@_inlined
def _hair(u: float, v: float, first: float, second: float, p: Any, bank: Any) -> Any:
    s0 = _noise(bank, 2, u * p[P_HAIR_FINE] + p[P_NOISE_X] + p[P_HAIR_WAVE] * np.sin(v * 0.09), v * 0.7)
    s1 = _noise(bank, 0, u * 0.9 + p[P_NOISE_Y], v * 0.5)
    tone = max(0.12, 1.0 + p[P_HAIR_CONTRAST] * (0.75 * s0 + 0.45 * s1))
    return _toned(p, P_HAIR, tone), 0.07 * tone, 10.0, 0.2, second * (0.75 + 0.25 * first)


@_inlined
def _cloth(u: float, v: float, p: Any, bank: Any) -> Any:
    wave = _noise(bank, 2, u * p[P_CLOTH_FREQ], v * p[P_CLOTH_FREQ])
    mix = p[P_CLOTH_MIX] * _smoothstep(-0.1, 0.1, np.sin(v * p[P_CLOTH_FREQ] * 0.5) + 0.3 * wave)
    tone = 1 + 0.15 * wave
    r = (p[P_CLOTH] + mix * (p[P_CLOTH2] - p[P_CLOTH])) * tone
    g = (p[P_CLOTH + 1] + mix * (p[P_CLOTH2 + 1] - p[P_CLOTH + 1])) * tone
    b = (p[P_CLOTH + 2] + mix * (p[P_CLOTH2 + 2] - p[P_CLOTH + 2])) * tone
    return (r, g, b), 0.0, 20.0, 0.0, 1.0


@_inlined
def _lit(place: Any, normal: Any, p: Any, shadow: Any, to_shadow: Any) -> Any:
    """Share of the key light that arrives: four samples of the light's depth buffer."""
    if p[P_SHADOW] > 0:
        x, y, z = place[0] + normal[0] * 2.5, place[1] + normal[1] * 2.5, place[2] + normal[2] * 2.5
        sx = to_shadow[0, 0] * x + to_shadow[0, 1] * y + to_shadow[0, 2] * z + to_shadow[0, 3]
        sy = to_shadow[1, 0] * x + to_shadow[1, 1] * y + to_shadow[1, 2] * z + to_shadow[1, 3]
        sz = to_shadow[2, 0] * x + to_shadow[2, 1] * y + to_shadow[2, 2] * z + to_shadow[2, 3]
        fx, fy = int(np.floor(sx)), int(np.floor(sy))
        if 1 <= fx < shadow.shape[0] - 2 and 1 <= fy < shadow.shape[0] - 2:
            rx, ry = sx - fx, sy - fy
            free00 = 1.0 if shadow[fy, fx] <= sz + 3.0 else 0.0
            free01 = 1.0 if shadow[fy, fx + 1] <= sz + 3.0 else 0.0
            free10 = 1.0 if shadow[fy + 1, fx] <= sz + 3.0 else 0.0
            free11 = 1.0 if shadow[fy + 1, fx + 1] <= sz + 3.0 else 0.0
            free = (free00 * (1 - rx) + free01 * rx) * (1 - ry) + (free10 * (1 - rx) + free11 * rx) * ry
            return 1 - p[P_SHADOW] * (1 - free)
    return 1.0


@_inlined
def _reflect(
    out: Any, y: int, x: int, colour: Any, specular: float, gloss: float, wrap: float, openness: float, rim: float,
    lit: float, normal: Any, eye: Any, p: Any,
) -> None:  # fmt: skip
    """Write a pixel's light towards the eye: key light, fill, sky and ground, a highlight, and at grazing angles sky."""
    nx, ny, nz = normal
    ex, ey, ez = eye
    lx, ly, lz = p[P_LIGHT_DIR], p[P_LIGHT_DIR + 1], p[P_LIGHT_DIR + 2]
    facing = nx * lx + ny * ly + nz * lz
    key = max(0.0, (facing + wrap) / (1 + wrap)) * lit * (0.35 + 0.65 * openness)
    fill = max(0.0, nx * p[P_FILL_DIR] + ny * p[P_FILL_DIR + 1] + nz * p[P_FILL_DIR + 2] + 0.3) / 1.3 * openness
    up = 0.5 + 0.5 * ny
    hx, hy, hz = lx + ex, ly + ey, lz + ez
    length = 1.0 / (np.sqrt(hx * hx + hy * hy + hz * hz) + 1e-9)
    half = max(0.0, (nx * hx + ny * hy + nz * hz) * length)
    shine = specular * half**gloss * lit if specular > 0 and facing > 0 else 0.0
    grazing = 1 - max(0.0, nx * ex + ny * ey + nz * ez)
    rim = rim * grazing * grazing * grazing * grazing
    for i in range(3):
        ambient = (p[P_GROUND + i] + (p[P_SKY + i] - p[P_GROUND + i]) * up) * openness
        light = p[P_LIGHT + i] * key + p[P_FILL + i] * fill + ambient
        out[y, x, i] = colour[i] * light + p[P_LIGHT + i] * shine + rim * p[P_SKY + i]


@_inlined
def _put_lens(out: Any, y: int, x: int, p: Any) -> None:
    alpha = p[P_LENS_ALPHA]
    for i in range(3):
        out[y, x, i] = out[y, x, i] * (1 - alpha) + p[P_LENS + i] * alpha


@_inlined
def _mixed2(values: Any, corners: Any, weights: Any) -> Any:
    """Vertices' values [V, 2] at a place in a triangle."""
    (a, b, c), (wa, wb, wc) = corners, weights
    return (
        wa * values[a, 0] + wb * values[b, 0] + wc * values[c, 0],
        wa * values[a, 1] + wb * values[b, 1] + wc * values[c, 1],
    )


@_inlined
def _mixed3(values: Any, corners: Any, weights: Any) -> Any:
    first, second = _mixed2(values, corners, weights)
    (a, b, c), (wa, wb, wc) = corners, weights
    return first, second, wa * values[a, 2] + wb * values[b, 2] + wc * values[c, 2]


@_inlined
def _weights(points: Any, corners: Any, x: int, y: int) -> Any:
    """Of a triangle's corners at a pixel, true to perspective."""
    a, b, c = corners
    ax, ay, bx, by, cx, cy = points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1]
    inverse = 1.0 / ((bx - ax) * (cy - ay) - (by - ay) * (cx - ax))
    wb = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) * inverse
    wc = ((y - ay) * (bx - ax) - (x - ax) * (by - ay)) * inverse
    wa = (1 - wb - wc) * points[a, 2]
    wb *= points[b, 2]
    wc *= points[c, 2]
    total = 1.0 / (wa + wb + wc)
    return wa * total, wb * total, wc * total


@compiled(fastmath=True)
def shade(
    ids: Any, points: Any, vertices: Any, normals: Any, triangles: Any, material: Any, segment: Any, uv: Any,
    attributes: Any, p: Any, atlas: Any, bank: Any, shadow: Any, to_shadow: Any, eye_z: float, background: Any,
    lens_near: Any, near: Any, segments: Any,
) -> Any:  # fmt: skip
    """Linear RGB [H, W, 3] of a rasterised scene; fills ``segments`` [H, W] with FaceSynthetics' classes."""
    height, width = ids.shape
    out = np.empty((height, width, 3), dtype=np.float32)
    for y in range(height):
        for x in range(width):
            t = ids[y, x]
            if t < 0:
                out[y, x, 0], out[y, x, 1], out[y, x, 2] = (
                    background[y // 2, x // 2, 0], background[y // 2, x // 2, 1], background[y // 2, x // 2, 2],
                )  # fmt: skip
                segments[y, x] = 0
                if lens_near[y, x] > 0:
                    _put_lens(out, y, x, p)
                    segments[y, x] = _S_GLASSES
                continue
            corners = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            weights = _weights(points, corners, x, y)
            u, v = _mixed2(uv, corners, weights)
            first, second = _mixed2(attributes, corners, weights)
            nx, ny, nz = _mixed3(normals, corners, weights)
            px, py, pz = _mixed3(vertices, corners, weights)
            ex, ey, ez = -px, -py, eye_z - pz
            length = 1.0 / np.sqrt(ex * ex + ey * ey + ez * ez)
            ex, ey, ez = ex * length, ey * length, ez * length
            kind = material[t]
            length = 1.0 / (np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9)
            if kind != SKIN and nx * ex + ny * ey + nz * ez < 0:
                length = -length
            nx, ny, nz = nx * length, ny * length, nz * length
            seg, rim = segment[t], 0.0
            if kind == SKIN:
                colour, specular, gloss, wrap, openness, seg = _skin(u, v, first, second, seg, p, atlas, bank)
                rim = 0.06
            elif kind == EYE:
                colour, specular, gloss, wrap, openness = _eye(u, v, p, bank)
            elif kind == TEETH:
                colour, specular, gloss, wrap, openness = _teeth(u, p)
            elif kind == MOUTH:
                colour, specular, gloss, wrap, openness = (0.11, 0.025, 0.025), 0.0, 20.0, 0.0, 0.35
            elif kind == HAIR:
                colour, specular, gloss, wrap, openness = _hair(u, v, first, second, p, bank)
            elif kind == CLOTH:
                colour, specular, gloss, wrap, openness = _cloth(u, v, p, bank)
            elif kind == GLASSES:
                colour, specular, gloss, wrap, openness = _toned(p, P_FRAME, 1.0), 0.5, 30.0, 0.0, 1.0
            elif kind == HAT:
                knit = _noise(bank, 2, u * 0.9 + p[P_NOISE_X], v * 0.9)
                colour, specular, gloss, wrap, openness = _toned(p, P_HAT, 1 + 0.25 * knit), 0.0, 20.0, 0.1, 1.0
            else:
                tone = 1 + 0.2 * _noise(bank, 0, u + p[P_NOISE_X], v)
                colour, specular, gloss, wrap, openness = _toned(p, P_OCCLUDER, tone), 0.15, 20.0, 0.15, 1.0
            lit = _lit((px, py, pz), (nx, ny, nz), p, shadow, to_shadow)
            _reflect(out, y, x, colour, specular, gloss, wrap, openness, rim, lit, (nx, ny, nz), (ex, ey, ez), p)
            if lens_near[y, x] > near[y, x]:
                _put_lens(out, y, x, p)
                if p[P_LENS_ALPHA] > 0.5:
                    seg = _S_GLASSES
            segments[y, x] = seg
    return out


def shader_parameters(look: dict[str, Any]) -> NDArray[np.float32]:
    """A face's look as the shader's numbers [N_PARAMETERS]."""
    p = np.zeros(N_PARAMETERS, np.float32)
    colours = {
        P_SKIN: look["skin"], P_LIP: look["lip"], P_HAIR: look["hair"], P_BROW: look["brow"], P_CLOTH: look["cloth"],
        P_CLOTH2: look["cloth2"], P_FRAME: look["frame"], P_HAT: look["hat_colour"], P_IRIS: look["iris"],
        P_BEARD: look["beard"], P_OCCLUDER: look["skin"] if look["occluder"] == 0 else look["occluder_colour"],
        P_LIGHT: look["light"], P_LIGHT_DIR: look["light_dir"], P_FILL: look["fill"], P_FILL_DIR: look["fill_dir"],
        P_SKY: look["sky"], P_GROUND: look["ground"], P_LENS: look["lens"] if look["sunglasses"] else look["sky"] * 0.8,
    }  # fmt: skip
    for start, colour in colours.items():
        p[start : start + 3] = colour
    numbers = {
        P_LIP_SHARE: look["lip_share"], P_BROW_HALF: look["brow_half"], P_BROW_DENSITY: look["brow_density"],
        P_BROW_TAPER: look["brow_taper"], P_BEARD_FULL: look["beard_full"], P_MOUSTACHE: look["moustache"],
        P_STUBBLE: look["stubble"], P_REDNESS: look["redness"], P_BLOTCH: look["blotch"], P_FRECKLES: look["freckles"],
        P_WRINKLES: look["wrinkles"], P_LASH: look["lash"], P_SPECULAR: look["specular"], P_GLOSS: look["gloss"],
        P_NOISE_X: look["noise"][0], P_NOISE_Y: look["noise"][1], P_HAIR_FINE: look["hair_fine"],
        P_HAIR_CONTRAST: look["hair_contrast"], P_IRIS_R: look["iris_r"], P_PUPIL_R: look["pupil_r"],
        P_SHADOW: look["shadow"], P_LENS_ALPHA: look["lens_dark"] if look["sunglasses"] else look["lens_alpha"],
        P_CLOTH_FREQ: look["cloth_frequency"], P_CLOTH_MIX: look["cloth_mix"], P_TEETH: look["teeth"],
        P_BAGS: look["bags"], P_HAIR_WAVE: look["hair_wave"], P_SCALP: look["scalp"],
    }  # fmt: skip
    for index, number in numbers.items():
        p[index] = number
    return p
