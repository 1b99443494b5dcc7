"""The fields that move the head: identities, and expressions by name."""

from __future__ import annotations

from typing import Any

import numpy as np

from domaingap.data.generated.geometries.builtin.skin import Layout
from domaingap.data.generated.geometries.builtin.template import JAW, LIP_RINGS, SIDE, Array, bump, bumps
from domaingap.data.generated.mesh import Indices


class Fields:
    """Displacement fields over the mesh. ``anchors`` [V, 3] is where a field is looked up, ``vertices`` what it moves."""

    def __init__(self, side: Array, anchors: Array, vertices: Array) -> None:
        self.side, self.anchors, self.vertices = side, anchors, vertices
        self.x, self.y, self.z = anchors.T

    def _vector(self, dx: Any = 0.0, dy: Any = 0.0, dz: Any = 0.0) -> Array:
        shape = self.x.shape
        return np.stack([np.broadcast_to(d, shape) for d in (dx, dy, dz)], -1).astype(float)

    def _mid(self, *where: float) -> Array:
        return np.asarray(bump(self.x, self.y, *where) * np.clip(self.z / 40, 0, 1))

    def _pair(self, *where: float) -> Array:
        return np.asarray(bumps(self.x, self.y, *where) * np.clip(self.z / 40, 0, 1))

    def identity(self, rng: np.random.Generator) -> list[Array]:
        """Fields of one standard deviation each. Means of published spreads: a few mm on distances of this size."""
        x, y, z, s = self.x, self.y, self.z, np.sign(self.x)
        pair, mid = self._pair, self._mid
        low = np.clip(-(y + 30) / 60, 0, 1.4)
        head = np.clip((y + 150) / 40, 0, 1)

        eye = pair(30, 1, 22, 15)
        fields = [
            self._vector(dx=0.045 * x * head),  # breadth
            self._vector(dy=0.042 * y * head),  # length
            self._vector(dz=0.04 * z * head),  # depth
            self._vector(dx=4.2 * s * low * np.clip(np.abs(x) / 45, 0, 1)),  # jaw breadth
            self._vector(dy=-4.2 * low**2 * head),  # chin length
            self._vector(dz=4.0 * mid(0, -104, 28, 22)),  # chin protrusion
            self._vector(dx=3.0 * s * mid(0, -104, 34, 18) * np.clip(np.abs(x) / 14, 0, 1)),  # square chin
            self._vector(dy=5.0 * np.clip((y - 30) / 60, 0, 1)),  # forehead
            self._vector(dx=2.0 * s * (eye + 0.4 * pair(36, 21, 26, 8))),  # eyes apart
            self._vector(dy=2.2 * eye),  # eyes higher
            self._vector(dx=0.8 * s * (np.abs(x) - 31) / 14 * pair(31, 1, 16, 9)),  # long eyes
            self._vector(dy=0.55 * np.sign(y - 0.5) * pair(31, 1, 15, 8) * np.clip(np.abs(y - 0.5) / 4, 0, 1)),  # open eyes
            self._vector(dy=1.0 * (np.abs(x) - 31) / 14 * pair(31, 1, 20, 10)),  # slant
            self._vector(dy=-2.6 * mid(0, -40, 18, 14)),  # nose length
            self._vector(dx=2.1 * s * mid(0, -40, 20, 10) * np.clip(np.abs(x) / 10, 0, 1)),  # nose breadth
            self._vector(dz=3.0 * mid(0, -33, 11, 12)),  # nose tip out
            self._vector(dz=2.4 * mid(0, -8, 9, 16)),  # bridge
            self._vector(dx=1.5 * s * mid(0, -10, 14, 14) * np.clip(np.abs(x) / 6, 0, 1)),  # bridge breadth
            self._vector(dy=2.5 * mid(0, -36, 9, 8)),  # tip up
            self._vector(dx=3.0 * s * mid(0, -66, 30, 14) * np.clip(np.abs(x) / 22, 0, 1)),  # mouth breadth
            self._vector(dy=2.2 * mid(0, -67, 36, 17)),  # mouth higher
            self._vector(dz=2.4 * mid(0, -67, 26, 16)),  # mouth out
            self._vector(dy=1.6 * mid(0, -59, 22, 4.0) - 0.5 * mid(0, -66, 20, 2), dz=0.8 * mid(0, -60, 16, 4)),  # upper lip
            self._vector(
                dy=-1.9 * mid(0, -76, 20, 5.0) + 0.3 * mid(0, -66, 20, 2), dz=0.9 * mid(0, -73, 16, 5)
            ),  # lower lip
            self._vector(dy=2.6 * pair(36, 21, 28, 10)),  # brows higher
            self._vector(dy=2.0 * (np.abs(x) - 36) / 20 * pair(36, 20, 28, 10)),  # brows' slope
            self._vector(dy=1.4 * pair(40, 23, 10, 8) - 0.7 * pair(18, 19, 8, 8)),  # arched brows
            self._vector(dz=2.5 * pair(32, 20, 24, 8)),  # brow ridge
            self._vector(dx=2.5 * s * pair(58, -18, 22, 18), dz=1.5 * pair(46, -20, 18, 14)),  # cheekbones
            self._vector(dx=4.0 * s * pair(52, -58, 24, 26), dz=2.0 * pair(40, -55, 20, 22)),  # full cheeks
            self._vector(dy=-4.0 * bumps(x, y, 58, -62, 22, 22) * np.clip(z / 20 + 0.5, 0, 1)),  # jaw angle lower
            self._vector(dx=3.0 * s * np.clip(-(y + 112) / 20, 0, 1)),  # neck
            self._vector(dx=1.3 * mid(0, -38, 16, 18)),  # nose to one side
            self._vector(dx=1.5 * mid(0, -68, 28, 16)),  # mouth to one side
            self._vector(dx=1.8 * mid(0, -106, 40, 24)),  # chin to one side
            self._vector(dy=0.5 * s * eye),  # one eye higher
            self._vector(dy=1.0 * s * pair(36, 21, 26, 9)),  # one brow higher
            self._vector(dx=3.5 * s * np.exp(-(((np.abs(self.side) - 112) / 14) ** 2)) * (z < 5)),  # ears off
        ]
        # What no name was given to: smooth fields, most of them the same on both sides.
        for k in range(24):
            frequency = rng.uniform(0.012, 0.05)
            angle, phases = rng.uniform(0, 2 * np.pi), rng.uniform(0, 2 * np.pi, 3)
            across = np.abs(x) if k < 18 else x
            wave = (across * np.cos(angle) + y * np.sin(angle)) * frequency * 2 * np.pi / 1.6
            amplitude = 0.30 * (0.03 / frequency) ** 0.6
            fields.append(
                self._vector(
                    dx=amplitude * np.sin(wave + phases[0]) * (s * np.clip(np.abs(x) / 12, 0, 1) if k < 18 else 1),
                    dy=amplitude * np.sin(wave + phases[1]),
                    dz=amplitude * np.sin(wave + phases[2]),
                )
                * (head * (1 - 0.6 * eye))[:, None]
            )
        return fields

    def expression(self, layout: Layout, mouth: Indices, lower_teeth: Indices) -> dict[str, Array]:
        """Fields at full strength."""
        x, y, z, s = self.x, self.y, self.z, np.sign(self.x)
        pair, mid = self._pair, self._mid
        fields: dict[str, Array] = {}
        # The jaw turns about an axis between the ears; linear in the angle, with the full angle's sine and cosine.
        below = np.clip(-(y + 66.0) / 9.0, 0, 1)
        below = below * below * (3 - 2 * below)
        sides = np.clip((z - 5) / 45, 0, 1)
        under_jaw = np.clip((y - (JAW(np.clip(np.degrees(np.abs(self.side) / SIDE), 0, 180)) - 26)) / 18, 0, 1)
        weight = below * sides * under_jaw
        for w, ring in zip(LIP_RINGS, layout.lip_rings, strict=True):
            weight[ring] = np.where(layout.upper, 0.0, 1.0) * (0.10 + 0.90 * layout.fullness) * (1.0 if w else 0.97)
            # Corners give a little.
            weight[ring] += np.where(layout.fullness < 0.3, 0.22, 0.0)
        weight[mouth] = 0.0
        weight[lower_teeth] = 1.0
        angle = np.radians(15)
        vy, vz = self.vertices[:, 1] + 18.0, self.vertices[:, 2]
        turned_y = vy * np.cos(angle) - vz * np.sin(angle)
        turned_z = vy * np.sin(angle) + vz * np.cos(angle)
        fields["jaw_open"] = self._vector(dy=weight * (turned_y - vy), dz=weight * (turned_z - vz))
        fields["jaw_open"][:, 0] -= 0.06 * self.x * mid(0, -67, 34, 20)
        corner = pair(25, -66, 13, 13)
        cheek = pair(40, -32, 18, 16)
        # Skin is drawn along as far as the ears.
        edge = bumps(x, y, 68, -25, 18, 32)
        fields["smile"] = self._vector(
            dx=s * (7.5 * corner + 1.5 * cheek + 0.7 * edge),
            dy=6.0 * corner + 3.0 * cheek + edge + 0.8 * pair(33, -6, 14, 4) + mid(0, -73, 14, 7),
            dz=-5.0 * corner + 2.0 * cheek - 1.5 * mid(0, -67, 16, 10),
        )
        for name, sign in (("smile_right", -1), ("smile_left", 1)):
            fields[name] = fields["smile"] * np.clip(0.5 + sign * x / 24, 0, 1)[:, None]
        fields["frown"] = self._vector(dy=-5.0 * corner - 1.0 * pair(20, -80, 12, 8), dx=s * 1.5 * corner)
        fields["pucker"] = self._vector(dx=-s * 9.0 * corner - 0.25 * x * mid(0, -66, 22, 12), dz=6.0 * mid(0, -67, 17, 12))
        fields["upper_lip_up"] = self._vector(dy=5.0 * mid(0, -60, 17, 6.0) + 1.5 * pair(14, -44, 8, 7))
        fields["lower_lip_down"] = self._vector(dy=-5.0 * mid(0, -73, 16, 6.0))
        for name, sign in (("upper_lip_up", 1), ("lower_lip_down", -1)):
            for ring in layout.lip_rings:
                on = layout.upper if sign > 0 else ~layout.upper
                fields[name][ring] = np.where(
                    on[:, None], np.array([0.0, sign * 5.0, 0.5]) * layout.fullness[:, None] ** 1.5, 0.0
                )
            fields[name][mouth] = 0.0
        fields["lips_in"] = self._vector(
            dy=-1.8 * mid(0, -60, 20, 4) + 2.2 * mid(0, -74, 20, 5), dz=-2.5 * mid(0, -66, 20, 8)
        )
        fields["mouth_side"] = self._vector(dx=6.0 * mid(0, -68, 28, 16))
        fields["jaw_side"] = self._vector(dx=6.0 * weight + 3.0 * mid(0, -100, 40, 24) * (1 - weight))
        inner, outer = pair(20, 20, 12, 12), pair(45, 20, 16, 12)
        fields["brows_up"] = self._vector(dy=7.0 * pair(34, 23, 30, 13) + 1.2 * pair(31, 8, 16, 4))
        for name, sign in (("brow_right_up", -1), ("brow_left_up", 1)):
            fields[name] = fields["brows_up"] * np.clip(0.5 + sign * x / 16, 0, 1)[:, None]
        fields["inner_brows_up"] = self._vector(dy=5.5 * inner - outer)
        fields["brows_down"] = self._vector(
            dy=-4.5 * pair(26, 20, 22, 11) - 1.0 * pair(30, 7, 14, 4), dx=-s * 2.8 * inner, dz=inner
        )
        fields["brows_down"][:, 1] -= 1.2 * mid(0, 0, 10, 14)
        fields["nose_wrinkle"] = self._vector(dy=2.5 * mid(0, -40, 18, 10) + 1.5 * mid(0, -60, 20, 6))
        fields["cheek_puff"] = self._vector(dx=s * 6.0 * pair(44, -62, 18, 16), dz=5.0 * pair(34, -62, 18, 16))
        for i, name in enumerate(("blink_right", "blink_left")):
            field = self._vector()
            for ring, share in zip(layout.eye_rings[i], (1.0, 0.93, 0.72, 0.4, 0.12), strict=True):
                n = len(ring) // 2
                # The upper lid comes down to just above the lower one; shape() keeps both outside the ball.
                px = self.vertices[ring, 0]
                margin = layout.eye_rings[i][0]
                lx, ly = self.vertices[margin, 0], self.vertices[margin, 1]
                top = np.interp(px[:n], lx[:n][np.argsort(lx[:n])], ly[:n][np.argsort(lx[:n])])
                bottom = np.interp(px[:n], lx[n:][np.argsort(lx[n:])], ly[n:][np.argsort(lx[n:])])
                drop = (bottom + 0.9 - top) * share
                field[ring[:n], 1] = drop
                field[ring[:n], 2] = 0.10 * np.abs(drop) * share + 0.9 * share
                field[ring[n:], 1] = 0.5 * share
            fields[name] = field
        fields["squint"] = self._vector(dy=1.6 * pair(31, -6, 16, 5) - 1.0 * pair(31, 7, 16, 4))
        return fields
