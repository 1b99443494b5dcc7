"""Others' models: their formats read from tiny files, and heads made of the samples where those are."""

from __future__ import annotations

import json
import pickle
import sys

import numpy as np
import pytest
from PIL import Image

from domaingap.config import POPULATION, PopulationConfig
from domaingap.data.generated.geometries.avatars.glb import Glb
from domaingap.data.generated.geometries.avatars.reader import avatar_files, read_avatars
from domaingap.data.generated.geometries.ict.reader import facekit_content, facekit_files, read_facekit
from domaingap.errors import UserError
from domaingap.landmarks import IBUG68
from tests.data.generated.models import write_facekit, write_glb, write_obj
from tests.experiments.test_cli import fails


def mesh(rng, n=40, targets=()):
    triangles = np.array([rng.permutation(n)[:3] for _ in range(30)])
    return {
        "vertices": rng.uniform(-0.1, 0.1, (n, 3)) + [0, 1.6, 0.1],
        "uv": rng.permutation(np.arange(n))[:, None] / n * [1, 0.5],
        "triangles": triangles, "targets": {name: rng.normal(0, 0.004, (n, 3)) for name in targets},
    }  # fmt: skip


TURN = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])


@pytest.mark.parametrize("packed", [True, False])
def test_glb_gives_positions_places_triangles_targets_and_pictures(tmp_path, packed):
    if packed:
        pytest.importorskip("meshoptimizer")
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)
    written = {"H_DDS_HighRes": mesh(rng, targets=("h_expressions.A_h", "h_expressions.B_h")), "h_L_eye": mesh(rng, 12)}
    write_glb(tmp_path / "a.glb", written, picture, packed, TURN)
    found = Glb(tmp_path / "a.glb")
    assert list(found.parts) == list(written)
    for name, there in written.items():
        part = found.parts[name]
        # Quantization to 16 bits of a mesh 0.2 m large.
        np.testing.assert_allclose(part.vertices, there["vertices"], atol=1e-5)
        np.testing.assert_allclose(part.uv, there["uv"], atol=1e-5)
        # The packer may turn a triangle's corners; the orientation stays.
        assert [tuple(np.roll(t, -np.argmin(t))) for t in part.triangles.tolist()] == [
            tuple(np.roll(t, -np.argmin(t))) for t in there["triangles"].tolist()
        ]
        for target, moved in there["targets"].items():
            np.testing.assert_allclose(part.targets[target], moved, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(found.picture(found.parts["h_L_eye"].image)), picture)


def test_damaged_glb_is_named_in_one_line(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "White_F_1_Casual.glb"
    write_glb(path, {"H_DDS_HighRes": mesh(rng)}, np.zeros((8, 8, 3), np.uint8), packed=False)
    whole = path.read_bytes()
    for damaged in (b"", whole[:100], whole[:-200], b"PK" + whole, whole.replace(b'"POSITION"', b'"POSITIOM"')):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"White_F_1_Casual\.glb.*isn't glTF"):
            Glb(path)


def test_packed_files_ask_for_the_package_that_unpacks_them(tmp_path, monkeypatch):
    pytest.importorskip("meshoptimizer")
    write_glb(tmp_path / "a.glb", {"m": mesh(np.random.default_rng(0))}, np.zeros((8, 8, 3), np.uint8))
    monkeypatch.setitem(sys.modules, "meshoptimizer", None)
    with pytest.raises(UserError, match="avatars need meshoptimizer"):
        Glb(tmp_path / "a.glb")


def test_a_folder_needs_two_people_and_gives_one_file_of_each(tmp_path):
    with pytest.raises(UserError, match="no such folder.*--model"):
        avatar_files(tmp_path / "none")
    (tmp_path / "avatars").mkdir()
    for name in ("White_F_1_Casual", "White_F_1_Busi"):
        (tmp_path / "avatars" / f"{name}.glb").write_bytes(b"")
    with pytest.raises(UserError, match="holds 1 avatars.*valid_avatars"):
        avatar_files(tmp_path)
    (tmp_path / "avatars" / "Black_M_2_Util.glb").write_bytes(b"")
    assert [path.stem for path in avatar_files(tmp_path)] == ["Black_M_2_Util", "White_F_1_Busi"]


def test_a_file_that_is_no_avatar_is_named(tmp_path):
    for name in ("A_F_1_Busi", "B_F_1_Busi"):
        write_glb(
            tmp_path / f"{name}.glb", {"H_DDS_HighRes": mesh(np.random.default_rng(0))}, np.zeros((8, 8, 3), np.uint8), False
        )
    with pytest.raises(UserError, match=r"A_F_1_Busi\.glb: has no h_TeethUp"):
        read_avatars(tmp_path)


def test_facekit_gives_displacements_and_faces(tmp_path):
    neutral, identity = write_facekit(tmp_path)
    model = read_facekit(tmp_path)
    np.testing.assert_allclose(model.neutral, neutral, atol=1e-6)
    np.testing.assert_allclose(model.identity, identity, atol=2e-4)
    np.testing.assert_allclose(model.expression["browDown_L"], 0.1, atol=2e-4)
    assert model.faces.tolist() == [[0, 1, 2, 3], [3, 4, 5, 5]]
    # Also from the folder inside.
    assert len(facekit_files(tmp_path / "FaceXModel")) == len(facekit_files(tmp_path))
    key = facekit_content(tmp_path)
    write_obj(tmp_path / "FaceXModel" / "identity007.obj", neutral)
    assert facekit_content(tmp_path) != key


def test_incomplete_and_damaged_facekits_are_named_in_one_line(tmp_path):
    neutral, _ = write_facekit(tmp_path)
    inner = tmp_path / "FaceXModel"
    with pytest.raises(UserError, match="no such folder.*fetch"):
        facekit_files(tmp_path / "none")
    shape = inner / "identity031.obj"
    text = shape.read_text()
    shape.unlink()
    with pytest.raises(UserError, match=r"incomplete: identity031\.obj of ICT-FaceKit missing.*data fetch ict_facekit"):
        facekit_files(tmp_path)
    shape.write_text(text.replace("v ", "v x", 1))
    with pytest.raises(UserError, match=r"identity031\.obj:2: isn't three numbers"):
        read_facekit(tmp_path)
    write_obj(shape, neutral[:-1])
    with pytest.raises(UserError, match=r"identity031\.obj: has 5 vertices, the neutral mesh 6"):
        read_facekit(tmp_path)
    shape.write_text(text)
    write_obj(inner / "generic_neutral_mesh.obj", neutral, ["f 1/1 2/2 99/3"])
    with pytest.raises(UserError, match="of vertices that aren't there"):
        read_facekit(tmp_path)
    (inner / "generic_neutral_mesh.obj").unlink()
    with pytest.raises(UserError, match="isn't ICT-FaceKit"):
        facekit_files(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["--geometry", "ict"], "--geometry ict needs --model"),
        (["--model", "somewhere"], "--model goes with --geometry"),
        (["--geometry", "avatars", "--model", "nowhere"], "nowhere: no such folder"),
        (["--domain", "target", "--labels", "people"], "--labels belongs to --domain synthetic"),
        (["--points", "20"], "--points goes with --landmarks dense"),
        (["--without", "light"], "without light: only heads with colour maps"),
        (["--without", "hats"], "--without names hats; there are albedo, light, hair"),
        (["--backgrounds", "somewhere"], "--backgrounds goes with --geometry"),
        (["--population", "p.yaml"], "--population goes with --geometry avatars, ict or both"),
    ],
)
def test_command_line_says_what_goes_with_what(cli, tmp_path, arguments, fragment):
    fails(cli("data", "generate", f"--preview={tmp_path / 'a.png'}", f"--prepared_dir={tmp_path}", *arguments), fragment)


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("yaw: 25\nbeards: 0.5\n", "p.yaml:2: unknown name beards; known: yaw, pitch, "),
        ("\nyaw: wide\n", "p.yaml:2: yaw is wide"),
        ("grins: 0.7\nsmiles: 0.5\n", "p.yaml:1: grins with smiles, talks and grimaces is 1.4; together they are at most 1"),
        ("nearest: 4000\n", "p.yaml:1: nearest is 4000, beyond farthest, 3000"),
    ],
)
def test_a_population_that_cannot_be_is_named_with_its_line(cli, tmp_path, text, fragment):
    (tmp_path / "p.yaml").write_text(text)
    answer = cli("data", "generate", "--geometry", "ict", "--model", tmp_path, f"--population={tmp_path / 'p.yaml'}",
                 f"--preview={tmp_path / 'a.png'}")  # fmt: skip
    fails(answer, fragment)


# With the samples.


@pytest.fixture(scope="module")
def heads(sample_data, tmp_path_factory):
    from domaingap.data.generated.heads import load_head

    pytest.importorskip("meshoptimizer")
    for name in ("valid_avatars", "ict_facekit", "hdris"):
        if not (sample_data / name).is_dir():
            pytest.skip(f"{name} isn't there")
    kept = str(tmp_path_factory.mktemp("heads"))
    avatars, ict, light = (str(sample_data / name) for name in ("valid_avatars", "ict_facekit", "hdris"))
    return {
        "avatars": load_head("avatars", avatars, None, light, kept), "ict": load_head("ict", ict, avatars, light, kept),
        "plain": load_head("ict", ict, None, None, kept), "kept": kept,
    }  # fmt: skip


@pytest.mark.slow
def test_heads_of_the_samples(heads):
    from domaingap.config import CropConfig
    from domaingap.data.generated import FaceGenerator

    for name in ("avatars", "ict", "plain"):
        head = heads[name]
        geometry = head.geometry
        zero = np.zeros(len(geometry.identity))
        points = geometry.shape(zero, {})[geometry.landmarks]
        # A face: eyes above nose above mouth above chin, the right eye at the image's left, both halves alike.
        assert points[36:48, 1].mean() > points[30, 1] > points[48:60, 1].mean() > points[8, 1]
        assert points[36, 0] < points[39, 0] < 0 < points[42, 0] < points[45, 0]
        mirrored = points[:17][::-1] * [-1, 1, 1]
        assert np.abs(points[:17] - mirrored).max() < 3.0
        assert (np.diff(points[:9, 1]) < -1).all() and (np.diff(points[8:17, 1]) > 1).all()  # along the jaw
        for movement, up, down, least in (("jaw_open", 62, 66, 10), ("grin", 62, 66, 3)):
            moved = geometry.shape(zero, {movement: 1.0})[geometry.landmarks]
            assert moved[up, 1] - moved[down, 1] > points[up, 1] - points[down, 1] + least
        shut = geometry.shape(zero, {"blink_right": 1.0, "blink_left": 1.0})[geometry.landmarks]
        for up, down in ((37, 41), (38, 40), (43, 47), (44, 46)):
            assert shut[up, 1] - shut[down, 1] < 0.45 * (points[up, 1] - points[down, 1])
        smile = geometry.shape(zero, {"smile": 1.0})[geometry.landmarks]
        assert smile[54, 0] > points[54, 0] + 1.5 and smile[48, 0] < points[48, 0] - 1.5
        # Identities are kept in 16 bits.
        drawn = np.random.default_rng(1).normal(size=len(zero)).astype(np.float32)
        whole = geometry.mesh.vertices + np.einsum("k,kvd->vd", drawn, geometry.identity, dtype=np.float64)
        still = np.setdiff1d(np.arange(len(whole)), np.concatenate([*geometry.lid_vertices, *geometry.eye_vertices]))
        np.testing.assert_allclose(geometry.shape(drawn, {})[still], whole[still], atol=0.01)
        if len(geometry.people_landmarks):
            set_by_people = geometry.mesh.vertices[geometry.people_landmarks]
            apart = np.linalg.norm(set_by_people - geometry.mesh.vertices[geometry.landmarks[:68]], axis=1)
            assert np.median(apart) > 0.5 and apart[:17].max() < 26 and apart[17:].max() < 14
            # Brows' outer ends lie further out, and every point stays on its side.
            assert set_by_people[17, 0] < points[17, 0] - 1 and set_by_people[26, 0] > points[26, 0] + 1
            assert (np.sign(set_by_people[[17, 21, 36, 39, 48]][:, 0]) == -1).all()
            # Both halves alike: none has come to the mouth's inside or to another surface.
            assert np.abs(set_by_people - set_by_people[IBUG68.flip_permutation] * [-1, 1, 1]).max() < 2.5
            assert np.abs(apart - apart[IBUG68.flip_permutation]).max() < 1.5
            # Brows are drawn where people have them: over the eyes, not on the forehead.
            assert (points[18:21, 1] > 14).all() and (points[18:21, 1] < 23).all()
        left = geometry.shape(zero, {"jaw_side": 1.0})[geometry.landmarks]
        assert left[8, 0] > points[8, 0] + 2

        generator = FaceGenerator("synthetic", 3, head=head, labels="people")
        again = pickle.loads(pickle.dumps(generator))
        assert len(pickle.dumps(generator)) < 5000
        for i in (4, 1):
            one, two = generator.photograph(i, 96), again.photograph(i, 96)
            np.testing.assert_array_equal(one.image, two.image)
            np.testing.assert_array_equal(one.landmarks, one.landmarks_r_exact)
        crop = generator.crop(4, CropConfig(size=64, channels="rgb"))
        assert crop.image.std() > 10
        np.testing.assert_allclose((crop.landmarks + 0.5) * 96 / 256, generator.photograph(4, 96).landmarks + 0.5, atol=1e-3)


@pytest.mark.slow
def test_parts_are_left_out_and_all_else_stays(heads):
    from domaingap.data.generated import FaceGenerator

    whole = FaceGenerator("synthetic", 3, head=heads["avatars"])
    keys = {whole.key()}
    for part in ("albedo", "light", "hair", "expressions", "identity", "things", "camera"):
        less = FaceGenerator("synthetic", 3, head=heads["avatars"], without=(part,))
        keys.add(less.key())
        for i in range(3):
            drawn, left = whole.parameters(i), less.parameters(i)
            assert drawn.pose == left.pose and drawn.look["skin_map"] == left.look["skin_map"]
            np.testing.assert_array_equal(left.look["iris"], drawn.look["iris"])
            free = len(drawn.identity) - 2 * heads["avatars"].geometry.people
            assert np.array_equal(drawn.identity[:free], left.identity[:free]) == (part != "identity")
            assert (drawn.expression == left.expression) == (part != "expressions")
        same = [np.array_equal(whole.photograph(i, 48).image, less.photograph(i, 48).image) for i in range(8)]
        assert not all(same), part
    assert len(keys) == 8


@pytest.mark.slow
def test_both_heads_in_turn(heads, cli, tmp_path, sample_data):
    from domaingap.data.generated import FaceGenerator
    from domaingap.data.generated.sets import generator_of

    avatars = sample_data / "valid_avatars"
    both = generator_of("synthetic", 3, "both", sample_data / "ict_facekit", avatars, sample_data / "hdris", heads["kept"])
    for i in range(4):
        alone = FaceGenerator("synthetic", 3, head=heads["avatars" if i % 2 else "ict"])
        np.testing.assert_array_equal(both.photograph(i, 48).image, alone.photograph(i, 48).image)
        assert both.key() != alone.key() and both.parameters(i).pose == alone.parameters(i).pose
    assert len(pickle.dumps(both)) < 50_000  # the files' places, not their arrays
    again = pickle.loads(pickle.dumps(both))
    np.testing.assert_array_equal(both.photograph(1, 48).image, again.photograph(1, 48).image)
    given = ["--geometry", "both", "--model", sample_data / "ict_facekit", f"--prepared_dir={heads['kept']}"]
    fails(cli("data", "generate", *given, f"--preview={tmp_path / 'a.png'}"), "--geometry both needs --albedo")
    dense = cli("data", "generate", *given, "--albedo", avatars, "--landmarks=dense", f"--preview={tmp_path / 'a.png'}")
    fails(dense, "--landmarks dense goes with one geometry")
    out = tmp_path / "faces"
    answer = cli("data", "generate", *given, "--albedo", avatars, "--n=2", "--size=48", f"--out={out}", "--workers=1")
    assert answer.code == 0
    assert '"geometry": "both"' in (out / "generated.json").read_text()
    assert "ICT-FaceKit, VALID avatars" in (out / "croissant.json").read_text()


@pytest.mark.slow
def test_pictures_stand_behind_half_of_the_faces(heads, cli, tmp_path, sample_data):
    from domaingap.data.generated import FaceGenerator
    from domaingap.data.generated.sets import generator_of

    green = tmp_path / "pictures" / "deep"
    green.mkdir(parents=True)
    Image.new("RGB", (90, 60), (10, 200, 20)).save(green / "green.png")
    places = [sample_data / "ict_facekit", sample_data / "valid_avatars", sample_data / "hdris", heads["kept"]]
    generator = generator_of("synthetic", 3, "ict", *places, backgrounds=green.parent)
    plain = FaceGenerator("synthetic", 3, head=heads["ict"])
    assert generator.key() != plain.key()
    behind, greenness = [], []
    for i in range(24):
        assert generator.parameters(i).pose == plain.parameters(i).pose  # all else stays
        behind.append(generator.parameters(i).look["behind"] is not None)
        # Above the shoulders at both sides, whatever the camera does to colours.
        sides = generator.photograph(i, 64).image[:12, [*range(5), *range(59, 64)]].reshape(-1, 3).mean(0) + 8
        greenness.append(sides[1] / max(sides[0], sides[2]))
    shown = np.array(behind)
    with_it, without = (float(np.median(np.array(greenness)[these])) for these in (shown, ~shown))
    assert with_it > 1.5 and without < 1.2
    assert 6 <= sum(behind) <= 18
    again = pickle.loads(pickle.dumps(generator))
    np.testing.assert_array_equal(again.photograph(1, 48).image, generator.photograph(1, 48).image)
    given = ["--geometry", "ict", "--model", places[0], "--albedo", places[1], f"--preview={tmp_path / 'a.png'}",
             f"--prepared_dir={heads['kept']}"]  # fmt: skip
    (tmp_path / "empty").mkdir()
    fails(cli("data", "generate", *given, "--backgrounds", tmp_path / "empty"), "holds no .jpg or .png pictures")
    fails(cli("data", "generate", *given, "--backgrounds", tmp_path / "none"), "none: no such folder; give --backgrounds")


@pytest.mark.slow
def test_a_population_is_drawn_as_it_says(heads, cli, tmp_path, sample_data):
    from domaingap.data.generated import FaceGenerator

    wide = PopulationConfig(yaw=34, pitch=0, pitch_mean=-5, turned=0, grins=1, smiles=0, talks=0, grimaces=0, nearest=900,
                            farthest=900)  # fmt: skip
    usual, other = (FaceGenerator("synthetic", 3, head=heads["ict"], population=of) for of in (POPULATION, wide))
    assert usual.key() == FaceGenerator("synthetic", 3, head=heads["ict"]).key() != other.key()
    drawn = [other.parameters(i) for i in range(300)]
    assert np.std([face.pose[0] for face in drawn]) == pytest.approx(34, rel=0.15)
    assert {round(face.pose[1], 6) for face in drawn} == {-5.0} and {round(face.distance, 3) for face in drawn} == {900.0}
    assert all(face.expression["grin"] >= 0.35 for face in drawn)
    assert 0.25 < np.mean([usual.parameters(i).expression.get("grin", 0) >= 0.35 for i in range(300)]) < 0.45
    # From a file, and kept with the faces.
    (tmp_path / "p.yaml").write_text("yaw: 34\nnearest: 900\nfarthest: 900\n")
    out = tmp_path / "faces"
    given = ["--geometry", "ict", "--model", sample_data / "ict_facekit", "--albedo", sample_data / "valid_avatars"]
    answer = cli("data", "generate", *given, f"--population={tmp_path / 'p.yaml'}", "--n=1", "--size=48", f"--out={out}",
                 "--workers=1", f"--prepared_dir={heads['kept']}")  # fmt: skip
    assert answer.code == 0
    kept = json.loads((out / "generated.json").read_text())["population"]
    assert kept["yaw"] == 34 and kept["pitch"] == 8.5 and kept["nearest"] == 900


@pytest.mark.slow
def test_terms_and_keys_of_the_samples(heads, cli, tmp_path, sample_data):
    from domaingap.data.generated import FaceGenerator

    keys = {name: FaceGenerator("synthetic", 0, head=heads[name]).key() for name in ("avatars", "ict", "plain")}
    assert len({*keys.values(), FaceGenerator("synthetic", 0).key()}) == 4
    said = {name: {terms.licence for terms in heads[name].terms()} for name in keys}
    assert said == {"avatars": {"MIT", "CC0"}, "ict": {"MIT", "CC0"}, "plain": {"MIT"}}
    assert not any(terms.non_commercial for name in keys for terms in heads[name].terms())
    out = tmp_path / "faces"
    given = ["--geometry", "avatars", "--model", sample_data / "valid_avatars", "--light", sample_data / "hdris"]
    answer = cli("data", "generate", *given, "--n=2", "--size=64", f"--out={out}", "--workers=1",
                 f"--prepared_dir={heads['kept']}")  # fmt: skip
    assert answer.code == 0 and "VALID avatars as glTF (MIT)" in answer.out and "Poly Haven HDRIs (CC0)" in answer.out
    assert "c-frame/valid-avatars-glb" in (out / "croissant.json").read_text()
    assert '"geometry": "avatars"' in (out / "generated.json").read_text()
