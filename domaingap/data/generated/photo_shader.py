"""Shader of heads whose skin is a picture, compiled by numba: environment light, a shadowing key light, textures.

Hair, cloth, glasses, hats and things in front are the built-in head's materials (shader.py), under other light. After a
change of what is taken from there delete ``__pycache__``: numba's cache looks at this file alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from domaingap.data.generated.compiled import compiled
from domaingap.data.generated.mesh import ATLAS, CLOTH, EYE, GLASSES, HAIR, HAT, MOUTH, SEG, TEETH, WIG
from domaingap.data.generated.shader import (
    ATLAS_LEFT,
    ATLAS_SCALE,
    ATLAS_TOP,
    P_FRAME,
    P_GLOSS,
    P_HAIR,
    P_HAIR_CONTRAST,
    P_HAIR_FINE,
    P_HAT,
    P_IRIS,
    P_IRIS_R,
    P_LENS,
    P_LENS_ALPHA,
    P_LIGHT,
    P_LIGHT_DIR,
    P_NOISE_X,
    P_OCCLUDER,
    P_PUPIL_R,
    P_SPECULAR,
    _bearded,
    _blemished,
    _cloth,
    _hair,
    _inlined,
    _lit,
    _mixed2,
    _mixed3,
    _noise,
    _smoothstep,
    _teeth,
    _toned,
    _weights,
)

# Of how skin's pictures are mixed and toned, [N_SKIN] float32.
(Q_MIX, Q_GAIN_R, Q_GAIN_G, Q_GAIN_B, Q_CONTRAST, Q_BLOTCH, Q_WIG_R, Q_WIG_G, Q_WIG_B, Q_EYE_WHITE, Q_HAIR_TONE,
 Q_REDNESS, Q_CLOTH_R, Q_CLOTH_G, Q_CLOTH_B, Q_HAIR, Q_FLAT, N_SKIN) = range(18)  # fmt: skip

_S_GLASSES, _S_CLOTHING, _S_MOUTH, _S_HAIR = SEG["glasses"], SEG["clothing"], SEG["mouth_interior"], SEG["hair"]
_S_EARS = (SEG["right_ear"], SEG["left_ear"])
_LOWER = 3.5  # mm by which scanned heads' mouths lie below the built-in head's
HAIRLINE = 240
"""How far to both sides a hairline is given, in the template's mm."""
_S_LIPS = (SEG["top_lip"], SEG["bottom_lip"])


@_inlined
def _texel(picture: Any, linear: Any, u: float, v: float) -> Any:
    """Bilinear sample of an 8-bit sRGB picture [H, W, 3], as linear light."""
    height, width = picture.shape[0], picture.shape[1]
    x, y = u * width - 0.5, v * height - 0.5
    x0, y0 = int(np.floor(x)), int(np.floor(y))
    fx, fy = x - x0, y - y0
    x1, y1 = min(max(x0 + 1, 0), width - 1), min(max(y0 + 1, 0), height - 1)
    x0, y0 = min(max(x0, 0), width - 1), min(max(y0, 0), height - 1)
    a, b, c, d = (1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy
    red = (
        a * linear[picture[y0, x0, 0]] + b * linear[picture[y0, x1, 0]]
        + c * linear[picture[y1, x0, 0]] + d * linear[picture[y1, x1, 0]]
    )  # fmt: skip
    green = (
        a * linear[picture[y0, x0, 1]] + b * linear[picture[y0, x1, 1]]
        + c * linear[picture[y1, x0, 1]] + d * linear[picture[y1, x1, 1]]
    )  # fmt: skip
    blue = (
        a * linear[picture[y0, x0, 2]] + b * linear[picture[y0, x1, 2]]
        + c * linear[picture[y1, x0, 2]] + d * linear[picture[y1, x1, 2]]
    )  # fmt: skip
    return red, green, blue


@_inlined
def _soft(sh: Any, x: float, y: float, z: float, i: int) -> float:
    """Irradiance over π of one colour by spherical harmonics that hold the cosine's coefficients."""
    value = (
        0.282095 * sh[0, i] + 0.488603 * (sh[1, i] * y + sh[2, i] * z + sh[3, i] * x)
        + 1.092548 * (sh[4, i] * x * y + sh[5, i] * y * z + sh[7, i] * x * z)
        + 0.315392 * sh[6, i] * (3 * z * z - 1) + 0.546274 * sh[8, i] * (x * x - y * y)
    )  # fmt: skip
    return float(max(value, 0.0))


@_inlined
def _eyeball(u: float, v: float, side: float, p: Any, q: Any, bank: Any) -> Any:
    """White, iris with its dark rim, and pupil; the white reddens towards the nose."""
    d = np.sqrt(u * u + v * v)
    veins = _noise(bank, 0, u * 40 + p[P_NOISE_X], v * 40)
    white = q[Q_EYE_WHITE] * (1.0 - 0.35 * _smoothstep(0.45, 0.95, d))
    inner = _smoothstep(0.45, 0.75, -u * side)
    r, g, b = (
        white * (1.0 - 0.05 * inner),
        white * (0.90 + 0.05 * veins - 0.35 * inner),
        white * (0.86 + 0.05 * veins - 0.36 * inner),
    )
    edge = p[P_IRIS_R]
    iris = 1 - _smoothstep(edge - 0.035, edge + 0.025, d)
    if iris > 0:
        rays = 1.0 + 0.35 * _noise(bank, 1, np.arctan2(u, v) * 40 + p[P_NOISE_X], d * 8)
        dim = (1 - 0.7 * _smoothstep(0.75, 1.0, d / edge)) * (1.25 - 0.5 * v / edge * 0.8)
        pupil = 1 - _smoothstep(p[P_PUPIL_R] - 0.03, p[P_PUPIL_R] + 0.03, d)
        dim *= rays * (1 - 0.97 * pupil)
        r += iris * (p[P_IRIS] * dim - r)
        g += iris * (p[P_IRIS + 1] * dim - g)
        b += iris * (p[P_IRIS + 2] * dim - b)
    # The lids shade the ball, the upper one most.
    shade = max(0.25, 1.0 - 0.75 * _smoothstep(-0.02, 0.30, v) - 0.30 * _smoothstep(0.35, 0.8, abs(u)))
    return (r, g, b), shade


@compiled(fastmath=True)
def shade_photo(
    ids: Any, points: Any, vertices: Any, normals: Any, triangles: Any, material: Any, segment: Any, uv: Any, atlas: Any,
    attributes: Any, p: Any, q: Any, sh: Any, first: Any, second: Any, wig: Any, hairline: Any, linear: Any, bank: Any,
    marks: Any, shadow: Any, to_shadow: Any, eye_z: float, background: Any, lens_near: Any, near: Any, segments: Any,
) -> Any:  # fmt: skip
    """Linear RGB [H, W, 3] of a rasterised scene; fills ``segments`` [H, W] with FaceSynthetics' classes.

    Args:
        atlas: [V, 2] places in the pictures ``first`` and ``second`` [H, W, 3], sRGB; for wigs in ``wig``.
        p: the built-in shader's numbers. q: [N_SKIN].
        sh: [9, 3] soft light as light.for_shader gives it; the key light is p's.
        hairline: [2 * HAIRLINE + 1] height of the hairline over the template's side from -HAIRLINE mm on, for hair that
            grows on the skin as the built-in head's does (q's Q_HAIR says whether).
        linear: [256] linear light of 8-bit sRGB.
        marks: where on the template beards and wrinkles are (appearance.skin_atlas).
    """
    height, width = ids.shape
    out = np.empty((height, width, 3), dtype=np.float32)
    lx, ly, lz = p[P_LIGHT_DIR], p[P_LIGHT_DIR + 1], p[P_LIGHT_DIR + 2]
    alpha = p[P_LENS_ALPHA]
    for y in range(height):
        for x in range(width):
            t = ids[y, x]
            if t < 0:
                for i in range(3):
                    out[y, x, i] = background[y // 2, x // 2, i]
                segments[y, x] = 0
                if lens_near[y, x] > 0:
                    for i in range(3):
                        out[y, x, i] = out[y, x, i] * (1 - alpha) + p[P_LENS + i] * alpha
                    segments[y, x] = _S_GLASSES
                continue
            corners = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            weights = _weights(points, corners, x, y)
            u, v = _mixed2(uv, corners, weights)
            att0, att1 = _mixed2(attributes, corners, weights)
            nx, ny, nz = _mixed3(normals, corners, weights)
            px, py, pz = _mixed3(vertices, corners, weights)
            ex, ey, ez = -px, -py, eye_z - pz
            length = 1.0 / np.sqrt(ex * ex + ey * ey + ez * ez)
            ex, ey, ez = ex * length, ey * length, ez * length
            kind = material[t]
            length = 1.0 / (np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9)
            if kind != ATLAS and nx * ex + ny * ey + nz * ez < 0:
                length = -length
            nx, ny, nz = nx * length, ny * length, nz * length
            seg = segment[t]
            # Of the surface: how far light reaches around it, how open it is, its shine, and that of grazing light.
            wrap, wrap_red, openness, specular, gloss, rim = 0.0, 0.0, 1.0, 0.0, 20.0, 0.0
            if kind == ATLAS:
                a, b = _mixed2(atlas, corners, weights)
                r, g, c = _texel(first, linear, a, b)
                hair = _smoothstep(0.3, 0.95, att0)
                mix = q[Q_MIX] * (1 - hair)
                if mix > 0 and seg != _S_CLOTHING:
                    r2, g2, c2 = _texel(second, linear, a, b)
                    r, g, c = r + mix * (r2 - r), g + mix * (g2 - g), c + mix * (c2 - c)
                openness = att1
                if seg == _S_MOUTH:
                    r, g, c = 1.35 * r, 1.35 * g, 1.35 * c
                    specular, gloss = 0.25, 30.0
                elif seg != _S_CLOTHING:
                    if q[Q_FLAT] > 0 and hair < 0.5:
                        r, g, c = 0.32, 0.19, 0.14
                    blotch = 1 + q[Q_BLOTCH] * _noise(bank, 0, u * 1.3 + p[P_NOISE_X], v * 1.3)
                    red = 1 + q[Q_REDNESS] * _noise(bank, 0, u * 0.7 - p[P_NOISE_X], v * 0.7)
                    tone = 1 + hair * (q[Q_HAIR_TONE] - 1)
                    skin = 1 - hair
                    r *= (1 + skin * (q[Q_GAIN_R] - 1)) * blotch * tone
                    g *= (1 + skin * (q[Q_GAIN_G] - 1)) * blotch * tone / red
                    c *= (1 + skin * (q[Q_GAIN_B] - 1)) * blotch * tone / red
                    wrap, wrap_red = 0.12 * skin, 0.16 * skin
                    specular, gloss, rim = p[P_SPECULAR] * (0.4 + 0.6 * skin), p[P_GLOSS], 0.05
                    # Beards, wrinkles and freckles, where the built-in head has them; scanned mouths lie a little lower.
                    row = int((ATLAS_TOP - v - _LOWER * _smoothstep(-30.0, -60.0, v)) * ATLAS_SCALE)
                    column = int((u - ATLAS_LEFT) * ATLAS_SCALE)
                    ears = seg == _S_EARS[0] or seg == _S_EARS[1]
                    if skin > 0.9 and not ears and 0 <= row < marks.shape[0] and 0 <= column < marks.shape[1]:
                        here = marks[row, column]
                        n0 = _noise(bank, 0, u * 1.1 + p[P_NOISE_X], v * 1.1)
                        n1 = _noise(bank, 1, u * 3.1 - p[P_NOISE_X], v * 3.1)
                        lip = 1.0 if seg == _S_LIPS[0] or seg == _S_LIPS[1] else 0.0
                        (r, g, c), specular, seg = _bearded(
                            _blemished((r, g, c), u, v, here, p, bank), specular, seg, u, v, n0, n1, lip, here, p, bank
                        )
                    if q[Q_HAIR] > 0 and -HAIRLINE < u < HAIRLINE:
                        strand = _noise(bank, 2, u * p[P_HAIR_FINE] + p[P_NOISE_X], v * 0.9)
                        rough = 4.0 * _noise(bank, 1, u * 3.0 - p[P_NOISE_X], v * 1.2) + 3.0 * strand
                        cover = q[Q_HAIR] * _smoothstep(-5.0, 8.0, v - hairline[int(u + HAIRLINE)] + rough)
                        if cover > 0 and seg != _S_EARS[0] and seg != _S_EARS[1]:
                            tone = max(0.2, 1.0 + p[P_HAIR_CONTRAST] * strand)
                            r += cover * (p[P_HAIR] * tone - r)
                            g += cover * (p[P_HAIR + 1] * tone - g)
                            c += cover * (p[P_HAIR + 2] * tone - c)
                            specular *= 1 - 0.6 * cover
                            if cover > 0.6:
                                seg = _S_HAIR
                    if seg == _S_LIPS[0] or seg == _S_LIPS[1]:
                        specular, gloss = specular + 0.10, 22.0
                else:
                    r, g, c = r * q[Q_CLOTH_R], g * q[Q_CLOTH_G], c * q[Q_CLOTH_B]
                colour = r, g, c
            elif kind == WIG:
                a, b = _mixed2(atlas, corners, weights)
                r, g, c = _texel(wig, linear, a, b)
                colour = r * q[Q_WIG_R], g * q[Q_WIG_G], c * q[Q_WIG_B]
                openness, specular, gloss, wrap = att1, 0.04, 10.0, 0.2
            elif kind == EYE:
                colour, openness = _eyeball(u, v, att0, p, q, bank)
                specular, gloss = 1.2, 120.0
            elif kind == TEETH:
                colour, specular, gloss, wrap, openness = _teeth(u, p)
            elif kind == MOUTH:
                colour, openness = (0.11, 0.025, 0.025), 0.35
            elif kind == HAIR:
                colour, specular, gloss, wrap, openness = _hair(u, v, att0, att1, p, bank)
            elif kind == CLOTH:
                colour, specular, gloss, wrap, openness = _cloth(u, v, p, bank)
            elif kind == GLASSES:
                colour, specular, gloss = _toned(p, P_FRAME, 1.0), 0.5, 30.0
            elif kind == HAT:
                knit = _noise(bank, 2, u * 0.9 + p[P_NOISE_X], v * 0.9)
                colour, wrap = _toned(p, P_HAT, 1 + 0.25 * knit), 0.1
            else:
                tone = 1 + 0.2 * _noise(bank, 0, u + p[P_NOISE_X], v)
                colour, specular, wrap = _toned(p, P_OCCLUDER, tone), 0.15, 0.15
            lit = _lit((px, py, pz), (nx, ny, nz), p, shadow, to_shadow)
            facing = nx * lx + ny * ly + nz * lz
            hx, hy, hz = lx + ex, ly + ey, lz + ez
            length = 1.0 / (np.sqrt(hx * hx + hy * hy + hz * hz) + 1e-9)
            half = max(0.0, (nx * hx + ny * hy + nz * hz) * length)
            shine = specular * half**gloss * lit if specular > 0 and facing > 0 else 0.0
            grazing = 1 - max(0.0, nx * ex + ny * ey + nz * ez)
            grazing = grazing * grazing * grazing * grazing
            # Mirrored light of the surroundings, as soft as the harmonics are.
            cosine = 2 * (nx * ex + ny * ey + nz * ez)
            mx, my, mz = cosine * nx - ex, cosine * ny - ey, cosine * nz - ez
            for i in range(3):
                around = wrap + (wrap_red if i == 0 else 0.3 * wrap_red if i == 1 else 0.0)
                key = max(0.0, (facing + around) / (1 + around)) * lit * (0.45 + 0.55 * openness)
                soft = _soft(sh, nx, ny, nz, i)
                # Light that comes back from skin around is skin's colour: dark places are not black.
                close = openness / (1 - 0.55 * colour[i] * (1 - openness))
                value = colour[i] * (p[P_LIGHT + i] * key + soft * close) + p[P_LIGHT + i] * shine
                if rim > 0 or specular > 0.3:
                    mirror = _soft(sh, mx, my, mz, i)
                    value += mirror * openness * (rim * grazing * 1.6 + 0.03 * specular)
                out[y, x, i] = value
            if lens_near[y, x] > near[y, x]:
                for i in range(3):
                    out[y, x, i] = out[y, x, i] * (1 - alpha) + p[P_LENS + i] * alpha
                if alpha > 0.5:
                    seg = _S_GLASSES
            segments[y, x] = seg
    return out
