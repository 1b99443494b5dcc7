"""The generator: geometry that moves, labels that are exact, two conventions, dials, and other meshes."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from domaingap.config import CropConfig
from domaingap.data.boxes import iou, landmark_box
from domaingap.data.crops import apply_transform, crop_transform
from domaingap.data.generated import Dials, FaceGenerator, FaceGeometry, Mesh
from domaingap.data.generated.face import VERSION, _at_the_border
from domaingap.data.generated.geometries.builtin import parametric_head
from domaingap.data.generated.geometry import rotation
from domaingap.data.generated.labels import _spread, annotator_noise, noise_covariance
from domaingap.data.generated.mesh import SEG, SKIN
from domaingap.data.generated.population import LIMIT, POSE, draw_face
from domaingap.data.generated.raster import rasterise
from domaingap.errors import UserError

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def synthetic():
    return FaceGenerator("synthetic", 7)


def turned(generator, index, pose, expression=None, occluder=-1):
    """The same face in another pose, rendered."""
    face = generator.parameters(index)
    face.pose = pose
    face.expression = expression or {}
    face.distance, face.centre, face.face_share = 1500.0, (0.5, 0.45), 0.27
    face.look.update(glasses=False, sunglasses=False, hat=-1, occluder=occluder, style=0, background=0.0)
    other = FaceGenerator(generator.domain, generator.seed, generator.dials, generator.geometry)
    other.parameters = lambda _: face
    return other


def test_rasteriser_finds_the_nearest_triangle_at_every_pixel_centre():
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.uniform(-5, 45, (60, 2)), rng.uniform(0.1, 1, (60, 1))], 1).astype(np.float32)
    triangles = rng.integers(0, 60, (40, 3)).astype(np.int32)
    triangles = triangles[[len(set(t)) == 3 for t in triangles.tolist()]]
    ids, near = rasterise(points, triangles, np.zeros(len(triangles), np.int32), 40, 30, False)

    expected_ids, expected_near = np.full((30, 40), -1), np.zeros((30, 40))
    for t, (a, b, c) in enumerate(points[triangles].astype(float)):
        system = np.array([[a[0], b[0], c[0]], [a[1], b[1], c[1]], [1, 1, 1]])
        for y in range(30):
            for x in range(40):
                weights = np.linalg.solve(system, [x, y, 1])
                z = weights @ [a[2], b[2], c[2]]
                if weights.min() >= 0 and z > expected_near[y, x]:
                    expected_ids[y, x], expected_near[y, x] = t, z
    # Pixel centres on an edge may fall either way.
    assert (ids != expected_ids).mean() < 0.003
    same = ids == expected_ids
    np.testing.assert_allclose(near[same], expected_near[same], atol=1e-4)


def test_identity_and_expression_move_every_landmark_beyond_what_a_pose_could():
    head = parametric_head()
    neutral = head.mesh.vertices[head.landmarks[:68]].astype(float)

    def residual(moved):
        """What a similarity of the whole face can't explain, per landmark in mm."""
        a, b = neutral - neutral.mean(0), moved - moved.mean(0)
        u, s, vt = np.linalg.svd(b.T @ a)
        return np.linalg.norm(b - s.sum() / (a**2).sum() * a @ (u @ vt).T, axis=1)

    rng = np.random.default_rng(0)
    people = [head.shape(rng.standard_normal(len(head.identity)), {})[head.landmarks[:68]] for _ in range(60)]
    assert np.mean([residual(p) for p in people], axis=0).min() > 1.0
    faces = [
        head.shape(np.zeros(len(head.identity)), draw_face(np.random.default_rng(i), head, 0, 0).expression)[
            head.landmarks[:68]
        ]
        for i in range(60)
    ]
    assert np.mean([residual(f) for f in faces], axis=0).min() > 0.5
    # Every movement that the head has is drawn.
    drawn = (draw_face(np.random.default_rng(i), head, 0, 0).expression.items() for i in range(60))
    assert {name for face in drawn for name, strength in face if strength} == set(head.expression)


@pytest.mark.parametrize(("name", "up", "down"), [("jaw_open", 62, 66), ("blink_right", 37, 41), ("blink_left", 43, 47)])
def test_jaw_opens_and_lids_close(name, up, down):
    head = parametric_head()
    zero = np.zeros(len(head.identity))
    before, after = (head.shape(zero, {name: s})[head.landmarks] for s in (0.0, 1.0))
    opening = [p[up, 1] - p[down, 1] for p in (before, after)]
    if name == "jaw_open":
        assert opening[0] < 1 and opening[1] > 15
    else:
        assert opening[0] > 7 and opening[1] < 2
        # A closed lid lies on the ball, not in it.
        lids = head.shape(zero, {name: 1.0})[head.lid_vertices[name == "blink_left"]]
        cornea = head.shape(zero, {name: 1.0})[head.eye_vertices[name == "blink_left"][0]]
        assert np.linalg.norm(lids - (cornea - [0, 0, head.eye_radius]), axis=1).min() > head.eye_radius


def test_s_labels_are_the_projected_points_of_any_mesh():
    """An egg with 70 of its vertices for landmarks, which makes no faces; the pinhole is worked out here."""
    polar, turn = np.meshgrid(np.linspace(0.05, np.pi - 0.05, 24), np.linspace(-np.pi, np.pi, 40), indexing="ij")
    unit = np.stack([np.sin(polar) * np.sin(turn), np.cos(polar), np.sin(polar) * np.cos(turn)], -1).reshape(-1, 3)
    vertices = (unit * [70, 110, 85]).astype(np.float32)
    a = (np.arange(23)[:, None] * 40 + np.arange(39)).ravel()
    triangles = np.concatenate([np.stack([a, a + 40, a + 1], -1), np.stack([a + 1, a + 40, a + 41], -1)]).astype(np.int32)
    front = np.flatnonzero(unit[:, 2] > 0.55)
    landmarks = front[np.linspace(0, len(front) - 1, 70).round().astype(int)].astype(np.int32)
    corners = [
        np.argmin(np.linalg.norm(unit - np.array(p) / np.linalg.norm(p), axis=1)) for p in ((-0.5, 0, 0.8), (0.5, 0, 0.8))
    ]
    landmarks[[36, 45]] = corners
    n = len(triangles)
    mesh = Mesh(
        vertices, triangles, np.full(n, SKIN, np.int32), np.full(n, SEG["skin"], np.int32),
        np.stack([turn.ravel() * 75, vertices[:, 1]], -1).astype(np.float32),
        np.tile(np.float32([0, 1]), (len(vertices), 1)),
    )  # fmt: skip
    egg = FaceGeometry(
        "egg-1", mesh, landmarks, np.zeros((3, len(vertices), 3), np.float32), {}, (landmarks[68:69], landmarks[69:70]), 12.0
    )
    generator = FaceGenerator("synthetic", 3, geometry=egg)
    face = generator.parameters(5)
    result = generator.photograph(5, 200)

    yaw, pitch, roll = np.radians(face.pose)
    world = egg.shape(face.identity, face.expression, face.gaze).astype(float) @ rotation(yaw, -pitch, roll).T
    focal = face.face_share * 200 * (face.distance - 75) / 90
    flat = focal * world[:, :2] / (face.distance - world[:, 2:]) * [1, -1]
    eyes = world[landmarks[[36, 39, 42, 45]]].mean(0)
    middle = focal * eyes[:2] / (face.distance - eyes[2]) * [1, -1]
    expected = flat[landmarks] - middle + np.array(face.centre) * 200 - 0.5
    np.testing.assert_allclose(result.landmarks_s, expected, atol=1e-2)
    # Without contours people's labels differ by their noise alone, and by brows that turn away.
    jaw = slice(0, 17)
    np.testing.assert_allclose(result.landmarks_r_exact[jaw], result.landmarks_s[jaw])
    # What is drawn lies where the labels say.
    x, y = result.landmarks_s[result.visible].round().astype(int).T
    head = [SEG["skin"], SEG["left_brow"], SEG["right_brow"], SEG["hair"]]
    assert result.visible.sum() > 40 and np.isin(result.segmentation[y, x], head).all()
    assert (result.segmentation[y, x] == SEG["skin"]).mean() > 0.6


def foreign(**changes):
    """The built-in head as somebody else's mesh would be: vertices and triangles in another order."""
    head, rng = parametric_head(), np.random.default_rng(0)
    order = rng.permutation(len(head.mesh.vertices))
    t = rng.permutation(len(head.mesh.triangles))
    new = np.argsort(order).astype(np.int32)
    mesh = Mesh(
        head.mesh.vertices[order], new[head.mesh.triangles[t]], head.mesh.material[t], head.mesh.segment[t],
        head.mesh.uv[order], head.mesh.attributes[order],
    )  # fmt: skip
    return replace(head, **{
        "mesh": mesh, "landmarks": new[head.landmarks], "identity": head.identity[:, order],
        "expression": {name: moved[order] for name, moved in head.expression.items()},
        "eye_vertices": tuple(new[eye] for eye in head.eye_vertices), "brow_edges": new[head.brow_edges],
        "lid_vertices": tuple(new[lids] for lids in head.lid_vertices), "contours": tuple(new[p] for p in head.contours),
        **changes,
    })  # fmt: skip


def test_another_mesh_of_the_same_head_draws_the_same_faces():
    dials = Dials(1, 1, 1)
    for i in range(3):
        one, two = (FaceGenerator("target", 3, dials, mesh).photograph(i, 128) for mesh in (None, foreign()))
        np.testing.assert_allclose(two.landmarks_s, one.landmarks_s, atol=1e-3)
        np.testing.assert_allclose(two.landmarks_r, one.landmarks_r, atol=1e-2)
        assert np.abs(two.image.astype(int) - one.image).mean() < 0.5
        assert (two.segmentation == one.segmentation).mean() > 0.998


def test_a_mesh_with_other_fields_than_ours_is_drawn_with_what_it_has():
    """Five identities, one movement that we know, one that we don't; nothing about lids, outlines, brows, children."""
    none = np.empty(0, np.int32)
    whole = foreign()
    movements = {"jaw_open": whole.expression["jaw_open"], "dimple": whole.expression["smile"]}
    few = foreign(
        identity=whole.identity[:5], expression=movements,
        lid_vertices=(none, none), contours=(), brow_edges=none, child=np.empty(0), other_population=np.empty(0),
    )  # fmt: skip
    generator = FaceGenerator("target", 3, Dials(1, 1, 1), few)
    faces = [generator.parameters(i) for i in range(400)]
    assert {name for face in faces for name in face.expression} == {"jaw_open"}
    # Nobody's identity is moved by fields that mean something else here.
    assert np.abs(np.mean([face.identity for face in faces], axis=0)).max() < 0.2
    open_mouth = next(i for i, face in enumerate(faces) if face.expression.get("jaw_open", 0) > 0.9)
    one = generator.photograph(open_mouth, 128)
    shape = few.shape(faces[open_mouth].identity, {"jaw_open": 1.0})[few.landmarks]
    assert shape[62, 1] - shape[66, 1] > 15
    assert one.visible.sum() > 30 and {SEG["skin"], SEG["nose"], SEG["mouth_interior"]} <= set(np.unique(one.segmentation))
    np.testing.assert_allclose(one.landmarks_r_exact[36:], one.landmarks_s[36:])


def test_children_and_another_population_differ_by_the_geometrys_own_fields():
    head = parametric_head()
    plain = replace(head, child=np.empty(0), other_population=np.empty(0))

    def people(geometry, population):
        generator = FaceGenerator("target", 2, Dials(population_gap=population), geometry)
        return np.array([generator.parameters(i).identity for i in range(300)])

    young = people(head, 0) - people(plain, 0)
    strength = young @ head.child / (head.child @ head.child)
    np.testing.assert_allclose(young, strength[:, None] * head.child, atol=1e-5)
    grown = np.abs(strength) < 1e-6
    assert 0.14 < 1 - grown.mean() < 0.26 and 0.39 < strength[~grown].min() < 0.6 and 1.1 < strength.max() < 1.31
    moved = people(replace(head, child=np.empty(0)), 0.5) - people(plain, 0.5)
    np.testing.assert_allclose(moved, np.tile(0.5 * head.other_population, (300, 1)), atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (lambda g: {"mesh": replace(g.mesh, uv=g.mesh.uv / 100)}, r"mesh\.uv of landmark 36 .* is \[-0\.4, .* give mm"),
        (lambda g: {"mesh": g.mesh.moved(g.mesh.vertices / 10)}, r"mesh\.vertices of landmark 36 .* give mm"),
        (lambda g: {"mesh": replace(g.mesh, uv=None)}, r"mesh\.uv has shape \[\]; give \[\d+, 2\]"),
        (lambda g: {"landmarks": g.landmarks[:68]}, r"landmarks has shape \[68\]; give \[70\]"),
        (lambda g: {"landmarks": g.landmarks + 10_000}, "landmarks names vertices"),
        (lambda g: {"identity": g.identity[:5]}, r"child has shape \[62\]; give \[5\] or \[0\]"),
        (lambda g: {"expression": {"smile": g.expression["smile"][:9]}}, r"expression smile has shape \[9, 3\]"),
        (lambda g: {"contours": g.contours[:3]}, "3 contours; .* 17"),
        (lambda g: {"eye_vertices": (g.eye_vertices[0], g.eye_vertices[1][:0])}, "eye_vertices is empty"),
    ],
)
def test_what_a_mesh_lacks_is_named(changes, message):
    with pytest.raises(UserError, match=f"^geometry parametric-head-1: .*{message}"):
        replace(parametric_head(), **changes(parametric_head()))


def test_keys_hold_what_determines_the_faces():
    head = parametric_head()
    moved = head.mesh.vertices.copy()
    moved[7, 1] += 1e-5
    geometries = [
        head,
        replace(head, mesh=head.mesh.moved(moved)),
        replace(head, expression={**head.expression, "smile": head.expression["frown"]}),
        replace(head, contours=head.contours[::-1]),
        replace(head, child=-head.child),
    ]
    assert len({geometry.key() for geometry in geometries}) == 5
    assert len({FaceGenerator("target", 0, geometry=geometry).key() for geometry in geometries}) == 5
    assert replace(head, name="other").key() == head.key()
    assert FaceGenerator("target", 0).key() == FaceGenerator("target", 0, geometry=head).key()
    others = [FaceGenerator("target", 1), FaceGenerator("synthetic", 0), FaceGenerator("target", 0, Dials(label_gap=0.1))]
    assert len({generator.key() for generator in (FaceGenerator("target", 0), *others)}) == 4
    # In another process they are the same.
    code = "from tests.data.generated.test_faces import *; print(foreign().key(), FaceGenerator('target', 0).key())"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert there.stdout.split() == [foreign().key(), FaceGenerator("target", 0).key()]


def test_the_key_holds_the_version(monkeypatch):
    before = FaceGenerator("target", 0).key()
    monkeypatch.setattr("domaingap.data.generated.face.VERSION", VERSION + 1)
    assert FaceGenerator("target", 0).key() != before


def test_readme_states_the_poses_that_are_drawn():
    text = " ".join((ROOT / "README.md").read_text().split())
    sentence = re.search(
        r"yaw within ±([\d.]+)°, pitch ±([\d.]+)°, roll ±([\d.]+)°; at `population_gap` 1 pitch (-?[\d.]+)° to ([\d.]+)°, "
        r"roll ±([\d.]+)°",
        text,
    )
    yaw, pitch, roll, lowest, highest, other_roll = map(float, sentence.groups())
    stated = {
        0: [(-yaw, yaw), (-pitch, pitch), (-roll, roll)],
        1: [(-yaw, yaw), (lowest, highest), (-other_roll, other_roll)],
    }
    for dial, ranges in stated.items():
        bounds = [(mean - LIMIT * sd, mean + LIMIT * sd) for mean, sd in (both[dial] for both in POSE.values())]
        np.testing.assert_allclose(ranges, bounds)
        generator = FaceGenerator("target", 1, Dials(population_gap=dial))
        poses = np.array([generator.parameters(i).pose for i in range(2000)])
        low, high = np.transpose(bounds)
        assert (poses >= low - 1e-9).all() and (poses <= high + 1e-9).all()
        # One draw in eighty is cut, so that both ends are reached.
        np.testing.assert_allclose([poses.min(0), poses.max(0)], [low, high])


def test_pose_angles_have_the_stated_signs(synthetic):
    """Yaw turns the nose to the image's right, pitch lifts it, roll turns counter-clockwise in the picture."""
    straight, yaw, pitch, roll = (
        turned(synthetic, 0, pose).photograph(0, 160).landmarks_s for pose in ((0, 0, 0), (20, 0, 0), (0, 15, 0), (0, 0, 20))
    )

    def nose(points):
        return points[30] - (points[36] + points[45]) / 2

    assert nose(yaw)[0] > nose(straight)[0] + 5
    assert nose(pitch)[1] < nose(straight)[1] - 2
    across = roll[45] - roll[36]
    np.testing.assert_allclose(np.degrees(np.arctan2(-across[1], across[0])), 20, atol=3)


def test_people_label_the_visible_outline_and_s_labels_lie_behind_it(synthetic):
    """At 40° of yaw the far cheek hides the jaw: R points lie on the border of the face in the picture, S points don't."""
    for sign in (-1, 1):
        face = turned(synthetic, 1, (40.0 * sign, 0.0, 0.0)).photograph(0, 512)
        head = np.isin(face.segmentation, [SEG[k] for k in ("background", "clothing")])
        far = range(9, 15) if sign > 0 else range(2, 8)

        def distance_outside(points, head=head, far=far, sign=sign):
            """How many pixels further out the head still reaches on each point's row."""
            reach = []
            for i in far:
                row = ~head[round(points[i, 1])]
                x = round(points[i, 0])
                out = row[x:] if sign > 0 else row[: x + 1][::-1]
                reach.append(len(out) if out.all() else int(np.argmin(out)))
            return np.array(reach)

        unit = np.linalg.norm(face.landmarks_s[36] - face.landmarks_s[45]) / 100
        assert np.median(distance_outside(face.landmarks_r_exact)) < 3 * unit
        assert np.median(distance_outside(face.landmarks_s)) > 6 * unit
        assert not face.visible[list(far)[:4] if sign < 0 else list(far)[2:]].all()
        near = range(2, 6) if sign > 0 else range(11, 15)
        shift = np.linalg.norm(face.landmarks_r_exact - face.landmarks_s, axis=1)
        assert shift[list(near)].mean() < 0.5 * shift[list(far)].mean()


def test_everything_of_a_frontal_face_is_seen_unless_something_stands_before_it(synthetic):
    bare = turned(synthetic, 2, (0.0, 0.0, 0.0)).photograph(0, 256)
    assert bare.visible[17:].all() and bare.visible[:17].mean() > 0.7
    covered = turned(synthetic, 2, (0.0, 0.0, 0.0), occluder=3).photograph(0, 256)
    assert covered.visible.sum() < bare.visible.sum() - 3
    profile = turned(synthetic, 2, (45.0, 0.0, 0.0)).photograph(0, 256)
    assert profile.visible[0:5].all() and not profile.visible[13:17].any()


def test_labels_blend_from_s_to_r_with_the_dial():
    faces = {gap: FaceGenerator("target", 4, Dials(label_gap=gap)).photograph(3, 128) for gap in (0.0, 0.3, 1.0)}
    s, r = faces[1.0].landmarks_s, faces[1.0].landmarks_r
    np.testing.assert_array_equal(faces[0.0].landmarks, s)
    np.testing.assert_array_equal(faces[1.0].landmarks, r)
    np.testing.assert_allclose(faces[0.3].landmarks, 0.7 * s + 0.3 * r)
    for face in faces.values():
        np.testing.assert_array_equal(face.image, faces[0.0].image)
        np.testing.assert_array_equal(face.box, faces[0.0].box)


def test_annotators_noise_has_the_stated_covariance(synthetic):
    points = synthetic.photograph(0, 256).landmarks_r_exact
    rng = np.random.default_rng(0)
    draws = np.stack([annotator_noise(points, rng) for _ in range(4000)])
    expected = noise_covariance(points)
    measured = np.einsum("nki,nkj->kij", draws, draws) / len(draws)
    scale = np.trace(expected, axis1=1, axis2=2)[:, None, None]
    np.testing.assert_allclose(measured / scale, expected / scale, atol=0.06)
    unit = np.linalg.norm(points[36] - points[45]) / 100
    # Along the jaw people disagree more than across it; eyes are tightest.
    assert 2.0 < np.sqrt(np.linalg.eigvalsh(expected[4])).max() / unit < 3.2
    assert np.trace(expected[38]) < 0.3 * np.trace(expected[4])


def test_dials_at_zero_make_the_domains_one_distribution():
    """One stream of draws gives one picture in both domains; different faces of both are alike in distribution."""
    a = draw_face(np.random.default_rng(5), parametric_head(), 0.0, 0.0)
    other = FaceGenerator("target", 0)
    other.parameters = lambda _: a
    same = FaceGenerator("synthetic", 0)
    same.parameters = lambda _: a
    np.testing.assert_array_equal(other.photograph(0, 96).image, same.photograph(0, 96).image)
    assert not np.array_equal(
        FaceGenerator("target", 0).photograph(0, 96).image, FaceGenerator("synthetic", 0).photograph(0, 96).image
    )

    def people(dials, domain="target"):
        return [FaceGenerator(domain, 1, dials).parameters(i) for i in range(300)]

    def yaws(faces):
        return [face.pose[0] for face in faces]

    def rolls(faces):
        return [face.pose[2] for face in faces]

    synthetic, others = people(Dials(), "synthetic"), people(Dials(population_gap=1))
    for angles in (yaws, rolls):
        assert stats.ks_2samp(angles(synthetic), angles(people(Dials()))).pvalue > 0.01
    # The population dial changes poses, expressions and identities alike.
    assert np.std(rolls(others)) > 1.1 * np.std(rolls(synthetic))
    jaws = [[face.expression.get("jaw_open", 0.0) for face in faces] for faces in (synthetic, others)]
    assert stats.ks_2samp(*jaws).pvalue < 0.01
    identity = [np.mean([face.identity for face in faces], axis=0) for faces in (synthetic, others)]
    assert np.abs(identity[1] - identity[0]).max() > 0.5


def test_each_dial_turns_what_its_name_says_and_nothing_else():
    plain = FaceGenerator("target", 2).photograph(1, 128)
    labels = FaceGenerator("target", 2, Dials(label_gap=1)).photograph(1, 128)
    camera = FaceGenerator("target", 2, Dials(appearance_gap=1)).photograph(1, 128)
    people = FaceGenerator("target", 2, Dials(population_gap=1)).photograph(1, 128)
    for name in ("image", "segmentation", "landmarks_s", "landmarks_r", "visible", "pose", "box"):
        assert np.array_equal(getattr(labels, name), getattr(plain, name)), name
        assert np.array_equal(getattr(camera, name), getattr(plain, name)) == (name != "image"), name
    assert np.linalg.norm(labels.landmarks - plain.landmarks, axis=1).mean() > 0.5
    assert np.abs(camera.image.astype(int) - plain.image).mean() > 4
    assert np.linalg.norm(people.landmarks - plain.landmarks, axis=1).mean() > 1
    # Another population stands in the same light, before the same backgrounds, and is labelled as S labels say.
    np.testing.assert_array_equal(people.landmarks, people.landmarks_s)
    looks = [[FaceGenerator("target", 2, Dials(population_gap=p)).parameters(i).look for i in range(300)] for p in (0, 1)]
    for name in ("shadow", "exposure", "background", "background_tone"):
        assert stats.ks_2samp(*([look[name] for look in both] for both in looks)).pvalue > 0.01, name


@pytest.mark.parametrize("name", ["label_gap", "appearance_gap", "population_gap"])
def test_dials_are_refused_outside_0_to_1_and_in_the_synthetic_domain(name):
    with pytest.raises(UserError, match=name):
        Dials(**{name: 1.5})
    with pytest.raises(UserError, match="target"):
        FaceGenerator("synthetic", 0, Dials(**{name: 0.5}))


@pytest.mark.parametrize("channels", ["gray", "rgb"])
def test_a_crop_shows_what_the_photograph_shows_there(synthetic, channels):
    """Rendered straight into the crop: same labels, and nearly the pixels of the enlarged photograph's crop."""
    from domaingap.data.crops import cut_crop

    crop = CropConfig(size=64, channels=channels)
    direct, whole = synthetic.crop(4, crop), synthetic.photograph(4, 1024)
    np.testing.assert_allclose(whole.landmarks + 0.5, (direct.landmarks + 0.5) * 4, atol=1e-3)
    transform = crop_transform(whole.box, crop)
    reference = cut_crop(whole.image, transform, crop)
    assert direct.image.shape == reference.shape
    assert np.abs(direct.image.astype(float) - reference).mean() < 4
    np.testing.assert_allclose(
        apply_transform(crop_transform(direct.box, crop), direct.landmarks),
        apply_transform(transform, whole.landmarks),
        atol=0.01,
    )


def test_boxes_are_where_a_detector_would_put_them(synthetic):
    faces = [synthetic.photograph(i, 64) for i in range(60)]
    boxes, landmarks = (np.array(b) for b in zip(*((f.box, landmark_box(f.landmarks_s[:68])) for f in faces), strict=True))
    assert min(iou(*pair) for pair in zip(boxes, landmarks, strict=True)) > 0.5
    size = landmarks[:, 2:] - landmarks[:, :2]
    measured = np.hstack(
        [
            (boxes[:, 2:] - boxes[:, :2]) / size,
            ((boxes[:, 2:] + boxes[:, :2]) - (landmarks[:, 2:] + landmarks[:, :2])) / 2 / size,
        ]
    )
    # MTCNN's on generated faces: mean and spread of both sides' ratios, and of the centre's offset in units of the sides.
    means, spreads = np.array([0.957, 1.258, 0.0, -0.13]), np.array([0.058, 0.10, 0.047, 0.043])
    assert (np.abs(measured.mean(0) - means) < 4 * spreads / np.sqrt(60)).all()
    assert (np.abs(measured.std(0) / spreads - 0.95) < 0.3).all()


def test_segmentation_knows_eyes_and_mouth(synthetic):
    face = turned(synthetic, 3, (0.0, 0.0, 0.0), {"jaw_open": 1.0}).photograph(0, 512)
    x, y = face.landmarks_s[68:70].round().astype(int).T
    assert face.segmentation[y[0], x[0]] == SEG["right_eye"] and face.segmentation[y[1], x[1]] == SEG["left_eye"]
    mx, my = ((face.landmarks_s[62] + face.landmarks_s[66]) / 2).round().astype(int)
    assert face.segmentation[my, mx] == SEG["mouth_interior"]
    assert {SEG["skin"], SEG["nose"], SEG["top_lip"], SEG["bottom_lip"], SEG["neck"]} <= set(np.unique(face.segmentation))


def test_dense_points_are_one_set_of_vertices_projected_by_the_camera_that_is_written():
    generator = FaceGenerator("synthetic", 3, dense=100)
    faces = [generator.photograph(i, 200) for i in (1, 2)]
    assert len(set(generator.dense_vertices.tolist())) == 100
    # Evenly: nobody's nearest neighbour is twice as far as another's.
    at = parametric_head().mesh.vertices[generator.dense_vertices].astype(float)
    apart = np.linalg.norm(at[:, None] - at, axis=-1) + 1e9 * np.eye(100)
    assert apart.min(1).max() < 2 * apart.min()
    for face, plain in zip(faces, (FaceGenerator("synthetic", 3).photograph(i, 200) for i in (1, 2)), strict=True):
        focal, x, y, stand = face.dense.camera
        depth = stand - face.dense.space[:, 2]
        worked_out = np.stack([x + focal * face.dense.space[:, 0] / depth, y - focal * face.dense.space[:, 1] / depth], -1)
        np.testing.assert_allclose(face.dense.points, worked_out, atol=1e-3)
        assert 30 < face.dense.visible.sum() <= 100
        np.testing.assert_array_equal(face.image, plain.image)
        assert plain.dense is None
    with pytest.raises(UserError, match="--points 100000"):
        FaceGenerator("synthetic", 3, dense=100_000).photograph(0, 48)


def test_hidden_points_where_people_set_them_keep_apart():
    """Three brow points in a row that are hidden lie one after the other, towards the first that is seen."""
    labels = np.arange(136, dtype=float).reshape(68, 2)
    unseen = np.zeros(68, bool)
    unseen[24:27] = True
    labels[24:27] = (labels[23] + labels[24]) / 2
    before = labels.copy()
    _spread(labels, [26, 25, 24, 23, 22], unseen)
    np.testing.assert_array_equal(labels[26], before[26])
    for nearer, further in ((25, 26), (24, 25), (23, 24)):
        assert np.linalg.norm(labels[nearer] - labels[23]) < np.linalg.norm(labels[further] - labels[23])
    np.testing.assert_array_equal(np.delete(labels, [24, 25], 0), np.delete(before, [24, 25], 0))


def test_crops_over_a_border_repeat_it_and_keep_the_face():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)
    points = np.concatenate([[[12.0, 10.0], [30.0, 33.0]], rng.uniform(13, 30, (68, 2))])
    changed = 0
    for seed in range(60):
        out = _at_the_border(picture, points, seed)
        np.testing.assert_array_equal(out[10:34, 12:31], picture[10:34, 12:31])
        if not np.array_equal(out, picture):
            changed += 1
            left = next((x for x in range(40) if not np.array_equal(out[20, x], out[20, 0])), 40)
            assert left <= 13
    assert 10 < changed < 35
