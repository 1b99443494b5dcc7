"""Depth-buffered rasteriser and shader, compiled by numba: a scene of triangles → linear RGB, triangle ids, depth."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

# Columns of a scene's parameters, [N_PARAMETERS] float32; colours are linear RGB.
(P_SKIN, P_LIP, P_HAIR, P_BROW, P_CLOTH, P_FRAME, P_HAT, P_OCCLUDER, P_IRIS, P_CLOTH2, P_LIGHT_DIR, P_LIGHT, P_FILL_DIR,
 P_FILL, P_SKY, P_GROUND, P_BEARD, P_LENS) = range(0, 54, 3)  # fmt: skip
(P_LIP_SHARE, P_BROW_HALF, P_BROW_DENSITY, P_BROW_TAPER, P_BEARD_FULL, P_MOUSTACHE, P_STUBBLE, P_REDNESS, P_BLOTCH,
 P_FRECKLES, P_WRINKLES, P_LASH, P_SPECULAR, P_GLOSS, P_NOISE_X, P_NOISE_Y, P_HAIR_FINE, P_HAIR_CONTRAST, P_IRIS_R,
 P_PUPIL_R, P_SHADOW, P_LENS_ALPHA, P_CLOTH_FREQ, P_CLOTH_MIX, P_TEETH, P_BAGS, P_HAIR_WAVE, P_SCALP,
 N_PARAMETERS) = range(54, 83)  # fmt: skip

_SKIN, _EYE, _MOUTH, _TEETH, _HAIR, _CLOTH, _GLASSES, _LENS, _HAT, _OCCLUDER = range(10)

# Atlas of the skin in template coordinates: pixels per mm, left and top in mm.
ATLAS_SCALE, ATLAS_LEFT, ATLAS_TOP = 2.0, -132.0, 66.0
(A_REDNESS, A_BEARD, A_MOUSTACHE, A_LASH, A_WRINKLES, A_BROW_V, A_BROW_U, A_BAGS) = range(8)

Float = NDArray[np.float32]


@njit(cache=True, fastmath=True)  # type: ignore[untyped-decorator]
def vertex_normals(vertices: Any, triangles: Any) -> Any:
    """Unit normals [V, 3], weighted by area."""
    normals = np.zeros_like(vertices)
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for v in (a, b, c):
            normals[v, 0] += nx
            normals[v, 1] += ny
            normals[v, 2] += nz
    for v in range(vertices.shape[0]):
        length = np.sqrt(normals[v, 0] ** 2 + normals[v, 1] ** 2 + normals[v, 2] ** 2) + 1e-12
        normals[v, 0] /= length
        normals[v, 1] /= length
        normals[v, 2] /= length
    return normals


@njit(cache=True)  # type: ignore[untyped-decorator]
def combine(start: Any, weights: Any, fields: Any) -> Any:
    """``start + weights · fields`` for [V, 3], [K] and [K, V, 3], in one thread and one order: BLAS would use all cores
    in every one of several processes."""
    out = start.copy()
    for k in range(weights.shape[0]):
        w = weights[k]
        if w != 0:
            for v in range(out.shape[0]):
                out[v, 0] += w * fields[k, v, 0]
                out[v, 1] += w * fields[k, v, 1]
                out[v, 2] += w * fields[k, v, 2]
    return out


@njit(cache=True)  # type: ignore[untyped-decorator]
def halve(image: Any) -> Any:
    """Means of 2 × 2 pixels of [2 S, 2 S, 3] as [S, S, 3]."""
    size = image.shape[0] // 2
    out = np.empty((size, size, 3), dtype=np.float32)
    for y in range(size):
        for x in range(size):
            for i in range(3):
                out[y, x, i] = 0.25 * (
                    image[2 * y, 2 * x, i] + image[2 * y, 2 * x + 1, i]
                    + image[2 * y + 1, 2 * x, i] + image[2 * y + 1, 2 * x + 1, i]
                )  # fmt: skip
    return out


@njit(cache=True, fastmath=True)  # type: ignore[untyped-decorator]
def rasterise(points: Any, triangles: Any, material: Any, width: int, height: int, lenses: bool) -> Any:
    """Nearest triangle of every pixel.

    Args:
        points: [V, 3] x, y in pixels (centres at integers) and nearness (1 / distance, or any that grows towards the eye).
        triangles: [T, 3].
        material: [T]; lenses are drawn only where ``lenses`` says so, and then nothing else.

    Returns:
        (ids [H, W] or -1, nearness [H, W]).
    """
    ids = np.full((height, width), -1, dtype=np.int32)
    near = np.zeros((height, width), dtype=np.float32)
    for t in range(triangles.shape[0]):
        if (material[t] == _LENS) != lenses:
            continue
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay, bx, by, cx, cy = points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1]
        az, bz, cz = points[a, 2], points[b, 2], points[c, 2]
        if az <= 0 or bz <= 0 or cz <= 0:
            continue
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0.0:
            continue
        x0 = max(0, int(np.ceil(min(ax, bx, cx))))
        x1 = min(width - 1, int(np.floor(max(ax, bx, cx))))
        y0 = max(0, int(np.ceil(min(ay, by, cy))))
        y1 = min(height - 1, int(np.floor(max(ay, by, cy))))
        if x0 > x1 or y0 > y1:
            continue
        inverse = 1.0 / area
        wb_dx, wc_dx = (cy - ay) * inverse, -(by - ay) * inverse
        wb_dy, wc_dy = -(cx - ax) * inverse, (bx - ax) * inverse
        for y in range(y0, y1 + 1):
            wb = (x0 - ax) * wb_dx + (y - ay) * wb_dy
            wc = (x0 - ax) * wc_dx + (y - ay) * wc_dy
            for x in range(x0, x1 + 1):
                wa = 1.0 - wb - wc
                if wa >= -1e-5 and wb >= -1e-5 and wc >= -1e-5:
                    z = wa * az + wb * bz + wc * cz
                    if z > near[y, x]:
                        near[y, x] = z
                        ids[y, x] = t
                wb += wb_dx
                wc += wc_dx
    return ids, near


@njit(cache=True, fastmath=True)  # type: ignore[untyped-decorator]
def _smoothstep(low: float, high: float, value: float) -> float:
    t = min(max((value - low) / (high - low), 0.0), 1.0)
    return t * t * (3 - 2 * t)


@njit(cache=True, fastmath=True)  # type: ignore[untyped-decorator]
def _noise(bank: Any, layer: int, x: float, y: float) -> float:
    """Nearest sample of a tiling noise [N, N, layers] (N a power of two), about -1 to 1."""
    mask = bank.shape[0] - 1
    return float(bank[int(np.floor(y)) & mask, int(np.floor(x)) & mask, layer])


@njit(cache=True, fastmath=True)  # type: ignore[untyped-decorator]
def shade(
    ids: Any, points: Any, vertices: Any, normals: Any, triangles: Any, material: Any, segment: Any, uv: Any,
    attributes: Any, p: Any, atlas: Any, bank: Any, shadow: Any, to_shadow: Any, eye_z: float, background: Any,
    lens_near: Any, near: Any, segments: Any,
) -> Any:  # fmt: skip
    """Linear RGB [H, W, 3] of a rasterised scene; fills ``segments`` [H, W] with FaceSynthetics' classes."""
    height, width = ids.shape
    out = np.empty((height, width, 3), dtype=np.float32)
    shadow_size = shadow.shape[0]
    for y in range(height):
        for x in range(width):
            t = ids[y, x]
            if t < 0:
                out[y, x, 0], out[y, x, 1], out[y, x, 2] = (
                    background[y // 2, x // 2, 0], background[y // 2, x // 2, 1], background[y // 2, x // 2, 2],
                )  # fmt: skip
                segments[y, x] = 0
                if lens_near[y, x] > 0:
                    alpha = p[P_LENS_ALPHA]
                    for i in range(3):
                        out[y, x, i] = out[y, x, i] * (1 - alpha) + p[P_LENS + i] * alpha
                    segments[y, x] = 16
                continue
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            ax, ay, bx, by, cx, cy = points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1]
            inverse = 1.0 / ((bx - ax) * (cy - ay) - (by - ay) * (cx - ax))
            wb = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) * inverse
            wc = ((y - ay) * (bx - ax) - (x - ax) * (by - ay)) * inverse
            wa = (1 - wb - wc) * points[a, 2]
            wb *= points[b, 2]
            wc *= points[c, 2]
            total = 1.0 / (wa + wb + wc)
            wa *= total
            wb *= total
            wc *= total
            u = wa * uv[a, 0] + wb * uv[b, 0] + wc * uv[c, 0]
            v = wa * uv[a, 1] + wb * uv[b, 1] + wc * uv[c, 1]
            first = wa * attributes[a, 0] + wb * attributes[b, 0] + wc * attributes[c, 0]
            second = wa * attributes[a, 1] + wb * attributes[b, 1] + wc * attributes[c, 1]
            nx = wa * normals[a, 0] + wb * normals[b, 0] + wc * normals[c, 0]
            ny = wa * normals[a, 1] + wb * normals[b, 1] + wc * normals[c, 1]
            nz = wa * normals[a, 2] + wb * normals[b, 2] + wc * normals[c, 2]
            px = wa * vertices[a, 0] + wb * vertices[b, 0] + wc * vertices[c, 0]
            py = wa * vertices[a, 1] + wb * vertices[b, 1] + wc * vertices[c, 1]
            pz = wa * vertices[a, 2] + wb * vertices[b, 2] + wc * vertices[c, 2]
            ex, ey, ez = -px, -py, eye_z - pz
            length = 1.0 / np.sqrt(ex * ex + ey * ey + ez * ez)
            ex, ey, ez = ex * length, ey * length, ez * length
            kind = material[t]
            length = 1.0 / (np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9)
            if kind != _SKIN and nx * ex + ny * ey + nz * ez < 0:
                length = -length
            nx, ny, nz = nx * length, ny * length, nz * length
            seg = segment[t]

            openness = 1.0
            specular, gloss = 0.0, 20.0
            wrap = 0.0
            r = g = bl = 0.5
            if kind == _SKIN:
                openness = second
                wrap = 0.25
                specular, gloss = p[P_SPECULAR], p[P_GLOSS]
                row = int((ATLAS_TOP - v) * ATLAS_SCALE)
                column = int((u - ATLAS_LEFT) * ATLAS_SCALE)
                n0 = _noise(bank, 0, u * 1.1 + p[P_NOISE_X], v * 1.1 + p[P_NOISE_Y])
                n1 = _noise(bank, 1, u * 3.1 + p[P_NOISE_Y], v * 3.1 + p[P_NOISE_X])
                tone = 1.0 + p[P_BLOTCH] * (0.7 * n0 + 0.5 * n1)
                r, g, bl = p[P_SKIN] * tone, p[P_SKIN + 1] * tone, p[P_SKIN + 2] * tone
                lip = _smoothstep(0.25, 0.75, first) * p[P_LIP_SHARE]
                if lip > 0:
                    streak = 1.0 + 0.10 * n1
                    r += lip * (p[P_LIP] * streak - r)
                    g += lip * (p[P_LIP + 1] * streak - g)
                    bl += lip * (p[P_LIP + 2] * streak - bl)
                    specular += 0.10 * lip
                if 0 <= row < atlas.shape[0] and 0 <= column < atlas.shape[1] and seg != 7 and seg != 8:
                    red = atlas[row, column, A_REDNESS] * p[P_REDNESS]
                    g *= 1 - 0.35 * red
                    bl *= 1 - 0.35 * red
                    fr = _noise(bank, 3, u * 2.2 + p[P_NOISE_X], v * 2.2)
                    if fr > 0.9:
                        dark = min(1.0, (fr - 0.9) * 4) * p[P_FRECKLES] * (0.3 + atlas[row, column, A_REDNESS])
                        r, g, bl = r * (1 - 0.35 * dark), g * (1 - 0.5 * dark), bl * (1 - 0.6 * dark)
                    line = atlas[row, column, A_WRINKLES] * p[P_WRINKLES]
                    bag = atlas[row, column, A_BAGS] * p[P_BAGS]
                    dim = (1 - 0.38 * line) * (1 - 0.3 * bag)
                    r, g, bl = r * dim, g * dim, bl * dim
                    hairs = 0.5 + 0.5 * _noise(bank, 2, u * 6.0 + p[P_NOISE_Y], v * 2.6 + p[P_NOISE_X])
                    beard = atlas[row, column, A_BEARD]
                    moustache = atlas[row, column, A_MOUSTACHE]
                    cover = max(beard * p[P_BEARD_FULL], moustache * p[P_MOUSTACHE])
                    if cover > 0:
                        ragged = _smoothstep(0.25, 0.85, cover + 0.30 * n1 - 0.1 + 0.2 * n0)
                        cover = min(1.0, cover) * ragged * (0.72 + 0.28 * hairs) * (1 - 0.9 * lip)
                        shine = 0.5 + 0.9 * hairs
                        r += cover * (p[P_BEARD] * shine - r)
                        g += cover * (p[P_BEARD + 1] * shine - g)
                        bl += cover * (p[P_BEARD + 2] * shine - bl)
                        specular *= 1 - cover
                        if cover > 0.5 and (seg == 1 or seg == 12):
                            seg = 14
                    shadow_of_beard = max(beard, moustache) * p[P_STUBBLE] * (0.45 + 0.4 * hairs) * (1 - lip)
                    r += shadow_of_beard * (0.5 * p[P_BEARD] + 0.22 * r - r)
                    g += shadow_of_beard * (0.5 * p[P_BEARD + 1] + 0.24 * g - g)
                    bl += shadow_of_beard * (0.5 * p[P_BEARD + 2] + 0.28 * bl - bl)
                    along = atlas[row, column, A_BROW_U]
                    if -0.1 < along < 1.12:
                        across = atlas[row, column, A_BROW_V]
                        half = p[P_BROW_HALF] * (1.0 - p[P_BROW_TAPER] * max(0.0, along - 0.35) * 1.1)
                        end = _smoothstep(-0.10, 0.06, along) * (1 - _smoothstep(0.97, 1.12, along))
                        edge = 1 - _smoothstep(half - 1.1, half + 0.9, abs(across) + 0.9 * n1)
                        strand = 0.5 + 0.5 * _noise(bank, 2, u * 5.0 + v * 2.0 + p[P_NOISE_X], v * 3.4 - u * 1.5)
                        brow = edge * end * p[P_BROW_DENSITY] * (0.62 + 0.38 * strand)
                        if brow > 0:
                            r += brow * (p[P_BROW] - r)
                            g += brow * (p[P_BROW + 1] - g)
                            bl += brow * (p[P_BROW + 2] - bl)
                            specular *= 1 - brow
                            if brow > 0.35 and seg == 1:
                                seg = 5 if u < 0 else 6
                    lash = atlas[row, column, A_LASH] * p[P_LASH]
                    r, g, bl = r * (1 - lash), g * (1 - lash), bl * (1 - lash)
                if p[P_SCALP] > 0 and seg == 1 and v > 0:
                    # Shaved or thin hair on the scalp, where no hair stands.
                    line = 60.0 - 0.0058 * u * u
                    cover = p[P_SCALP] * _smoothstep(line - 6, line + 8, v + 5 * n0) * (0.6 + 0.4 * n1)
                    cover = min(1.0, max(0.0, cover))
                    r += cover * (p[P_HAIR] - r)
                    g += cover * (p[P_HAIR + 1] - g)
                    bl += cover * (p[P_HAIR + 2] - bl)
            elif kind == _EYE:
                d = np.sqrt(u * u + v * v)
                veins = _noise(bank, 0, u * 40 + p[P_NOISE_X], v * 40)
                r, g, bl = 0.58 + 0.03 * veins, 0.52 + 0.05 * veins, 0.49 + 0.05 * veins
                if d < p[P_IRIS_R]:
                    ring = d / p[P_IRIS_R]
                    rays = 1.0 + 0.35 * _noise(bank, 1, np.arctan2(u, v) * 40 + p[P_NOISE_X], d * 8)
                    dim = 1 - 0.75 * _smoothstep(0.78, 1.0, ring)
                    r, g, bl = p[P_IRIS] * rays * dim, p[P_IRIS + 1] * rays * dim, p[P_IRIS + 2] * rays * dim
                    if d < p[P_PUPIL_R]:
                        r = g = bl = 0.004
                specular, gloss = 0.9, 90.0
                # The upper lid and its lashes shade the ball, most of all close below them.
                openness = max(0.12, 0.85 - 0.55 * max(0.0, v + 0.10) / 0.4 - 0.25 * abs(u))
                wrap = -0.15
            elif kind == _TEETH:
                gap = 1.0 - 0.25 * _smoothstep(0.82, 1.0, abs(((u / 7.5) % 1.0) * 2 - 1))
                inner = 1.0 - 0.55 * min(1.0, abs(u) / 24.0)
                tooth = p[P_TEETH] * gap * inner
                r, g, bl = tooth, tooth * 0.93, tooth * 0.82
                specular, gloss = 0.25, 30.0
                openness = 0.65
            elif kind == _MOUTH:
                r, g, bl = 0.11, 0.025, 0.025
                openness = 0.35
            elif kind == _HAIR:
                s0 = _noise(bank, 2, u * p[P_HAIR_FINE] + p[P_NOISE_X] + p[P_HAIR_WAVE] * np.sin(v * 0.09), v * 0.7)
                s1 = _noise(bank, 0, u * 0.9 + p[P_NOISE_Y], v * 0.5)
                tone = max(0.12, 1.0 + p[P_HAIR_CONTRAST] * (0.75 * s0 + 0.45 * s1))
                r, g, bl = p[P_HAIR] * tone, p[P_HAIR + 1] * tone, p[P_HAIR + 2] * tone
                specular, gloss = 0.07 * tone, 10.0
                wrap = 0.2
                openness = second * (0.75 + 0.25 * first)
            elif kind == _CLOTH:
                wave = _noise(bank, 2, u * p[P_CLOTH_FREQ], v * p[P_CLOTH_FREQ])
                stripe = _smoothstep(-0.1, 0.1, np.sin(v * p[P_CLOTH_FREQ] * 0.5) + 0.3 * wave)
                mix = p[P_CLOTH_MIX] * stripe
                tone = 1 + 0.15 * wave
                r = (p[P_CLOTH] + mix * (p[P_CLOTH2] - p[P_CLOTH])) * tone
                g = (p[P_CLOTH + 1] + mix * (p[P_CLOTH2 + 1] - p[P_CLOTH + 1])) * tone
                bl = (p[P_CLOTH + 2] + mix * (p[P_CLOTH2 + 2] - p[P_CLOTH + 2])) * tone
            elif kind == _GLASSES:
                r, g, bl = p[P_FRAME], p[P_FRAME + 1], p[P_FRAME + 2]
                specular, gloss = 0.5, 30.0
            elif kind == _HAT:
                knit = _noise(bank, 2, u * 0.9 + p[P_NOISE_X], v * 0.9)
                tone = 1 + 0.25 * knit
                r, g, bl = p[P_HAT] * tone, p[P_HAT + 1] * tone, p[P_HAT + 2] * tone
                wrap = 0.1
            else:
                tone = 1 + 0.2 * _noise(bank, 0, u + p[P_NOISE_X], v)
                r, g, bl = p[P_OCCLUDER] * tone, p[P_OCCLUDER + 1] * tone, p[P_OCCLUDER + 2] * tone
                specular, gloss = 0.15, 20.0
                wrap = 0.15

            # Shadow of the key light: four samples of the light's depth buffer.
            lit = 1.0
            if p[P_SHADOW] > 0:
                qx, qy, qz = px + nx * 2.5, py + ny * 2.5, pz + nz * 2.5
                sx = to_shadow[0, 0] * qx + to_shadow[0, 1] * qy + to_shadow[0, 2] * qz + to_shadow[0, 3]
                sy = to_shadow[1, 0] * qx + to_shadow[1, 1] * qy + to_shadow[1, 2] * qz + to_shadow[1, 3]
                sz = to_shadow[2, 0] * qx + to_shadow[2, 1] * qy + to_shadow[2, 2] * qz + to_shadow[2, 3]
                fx, fy = int(np.floor(sx)), int(np.floor(sy))
                if 1 <= fx < shadow_size - 2 and 1 <= fy < shadow_size - 2:
                    rx, ry = sx - fx, sy - fy
                    free00 = 1.0 if shadow[fy, fx] <= sz + 3.0 else 0.0
                    free01 = 1.0 if shadow[fy, fx + 1] <= sz + 3.0 else 0.0
                    free10 = 1.0 if shadow[fy + 1, fx] <= sz + 3.0 else 0.0
                    free11 = 1.0 if shadow[fy + 1, fx + 1] <= sz + 3.0 else 0.0
                    free = (free00 * (1 - rx) + free01 * rx) * (1 - ry) + (free10 * (1 - rx) + free11 * rx) * ry
                    lit = 1 - p[P_SHADOW] * (1 - free)
            lx, ly, lz = p[P_LIGHT_DIR], p[P_LIGHT_DIR + 1], p[P_LIGHT_DIR + 2]
            facing = nx * lx + ny * ly + nz * lz
            key = max(0.0, (facing + wrap) / (1 + wrap)) * lit * (0.35 + 0.65 * openness)
            fill = max(0.0, nx * p[P_FILL_DIR] + ny * p[P_FILL_DIR + 1] + nz * p[P_FILL_DIR + 2] + 0.3) / 1.3 * openness
            up = 0.5 + 0.5 * ny
            hx, hy, hz = lx + ex, ly + ey, lz + ez
            length = 1.0 / (np.sqrt(hx * hx + hy * hy + hz * hz) + 1e-9)
            half = max(0.0, (nx * hx + ny * hy + nz * hz) * length)
            shine = specular * half**gloss * lit if specular > 0 and facing > 0 else 0.0
            rim = 1 - max(0.0, nx * ex + ny * ey + nz * ez)
            rim = 0.06 * rim * rim * rim * rim if kind == _SKIN else 0.0
            colour = (r, g, bl)
            for i in range(3):
                ambient = (p[P_GROUND + i] + (p[P_SKY + i] - p[P_GROUND + i]) * up) * openness
                light = p[P_LIGHT + i] * key + p[P_FILL + i] * fill + ambient
                out[y, x, i] = colour[i] * light + p[P_LIGHT + i] * shine + rim * p[P_SKY + i]
            if lens_near[y, x] > near[y, x]:
                alpha = p[P_LENS_ALPHA]
                for i in range(3):
                    out[y, x, i] = out[y, x, i] * (1 - alpha) + p[P_LENS + i] * alpha
                if alpha > 0.5:
                    seg = 16
            segments[y, x] = seg
    return out
