"""Models that turn: read from files made here, drawn, and put into clips."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from segment_concept.synthetic import Assets, Background, ClipSpec, load, prepare, render_clip
from segment_concept.synthetic import clip as clip_module
from segment_concept.synthetic.articulated import DrawableObject
from segment_concept.synthetic.assets import Cutout, Solid
from segment_concept.synthetic.mesh import VIEWS, ModelError, draw_views, read_model
from segment_concept.synthetic.objects import draw_lookalike, draw_object, with_other_movement
from segment_concept.synthetic.shot_layout import ShotLayout

BOX = np.array([[x, y, z] for x in (-1, 1) for y in (-2, 2) for z in (-0.5, 0.5)], np.float32)
SIDES = np.array(
    [
        [0, 1, 3], [0, 3, 2], [4, 7, 5], [4, 6, 7], [0, 4, 5], [0, 5, 1],
        [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3],
    ],
    np.uint32,
)  # fmt: skip


def _model(
    frames: int = 3, texture: str = "skin.png", properties: int = 0, lift: float = 0.5
) -> bytes:
    """A box that rises by `lift` a frame."""
    points = np.stack([BOX + np.float32([0, lift * f, 0]) for f in range(frames)])
    normals = BOX / np.linalg.norm(BOX, axis=1, keepdims=True)
    head = struct.pack("<4sHB", b"G3D\x04", 1, 0)
    mesh = struct.pack(
        "<64s3I8f2I", b"box", frames, 8, SIDES.size, 0.2, 0.9, 0.1, 0, 0, 0, 0, 1, properties,
        int(bool(texture)),
    )  # fmt: skip
    name = texture.encode().ljust(64, b"\0") if texture else b""
    uv = np.random.default_rng(0).random((8, 2), dtype=np.float32) if texture else np.empty(0)
    blocks = (points, np.stack([normals] * frames), uv)
    data = b"".join(np.asarray(block, "<f4").tobytes() for block in blocks)
    return head + mesh + name + data + SIDES.tobytes()


def _write(folder: Path, faction: str, unit: str, names: list[str]) -> None:
    models = folder / "factions" / faction / "units" / unit / "models"
    models.mkdir(parents=True)
    for name in names:
        (models / f"{name}.g3d").write_bytes(_model())
    skin = np.random.default_rng(1).integers(60, 255, (16, 16, 3), dtype=np.uint8)
    cv2.imwrite(str(models / "skin.png"), skin)


def test_a_model_is_read_with_its_frames_and_its_texture_name():
    (mesh,) = read_model(_model(frames=4, properties=1))
    assert mesh.vertices.shape == mesh.normals.shape == (4, 8, 3)
    assert mesh.triangles.shape == (12, 3)
    assert mesh.uv.shape == (8, 2)
    assert mesh.texture == "skin.png"
    assert mesh.team


@pytest.mark.parametrize(
    "broken",
    [
        b"", b"\x89PNG", b"G3D\x03" + _model()[4:], _model()[:-20], _model()[:40],
        _model()[:-4] + struct.pack("<I", 99), _model(lift=float("nan")),
    ],
)  # fmt: skip
def test_other_bytes_are_no_model(broken, tmp_path):
    with pytest.raises(ModelError):
        read_model(broken)
    path = tmp_path / "broken.g3d"
    path.write_bytes(broken)
    assert draw_views(path, (0, 0, 0), np.random.default_rng(0)) is None


def test_views_lie_in_one_box_and_change_as_the_thing_turns(tmp_path):
    _write(tmp_path, "reds", "box", ["rising"])
    (path,) = tmp_path.glob("**/*.g3d")
    views = draw_views(path, (255, 0, 0), np.random.default_rng(3))
    assert views is not None
    assert len(views) == VIEWS
    assert views.shape[3] == 4
    assert max(views.shape[1:3]) == 216
    areas = (views[..., 3] > 127).mean((1, 2))
    assert areas.min() > 0.05
    assert not np.array_equal(views[0], views[1])


def test_a_thing_without_a_texture_has_its_own_color(tmp_path):
    path = tmp_path / "plain.g3d"
    path.write_bytes(_model(texture=""))
    views = draw_views(path, (255, 0, 0), np.random.default_rng(3))
    assert views is not None
    red, green, blue = views[views[..., 3] > 250][:, :3].mean(0)
    assert green > 2 * red > 2 * blue


def test_faces_inside_a_closed_mesh_are_hidden(tmp_path):
    def colored(scale: float, color: tuple[float, float, float]) -> bytes:
        mesh = bytearray(_model(frames=1, texture="")[7:])
        struct.pack_into("<3f", mesh, 64 + 12, *color)
        points = 64 + 12 + 4 * 8 + 8
        mesh[points : points + BOX.nbytes] = (scale * BOX).tobytes()
        return bytes(mesh)

    big, small = colored(1.0, (0, 1, 0)), colored(0.5, (1, 0, 0))
    for parts in ((big, small), (small, big)):
        path = tmp_path / "nested.g3d"
        path.write_bytes(struct.pack("<4sHB", b"G3D\x04", 2, 0) + b"".join(parts))
        views = draw_views(path, (0, 0, 0), np.random.default_rng(3))
        assert views is not None
        assert views[..., 0].max() == 0
        assert views[..., 1].max() > 0


@pytest.fixture(scope="module")
def assets() -> Assets:
    rng = np.random.default_rng(5)

    def views(color: tuple[int, int, int]) -> np.ndarray:
        drawn = np.zeros((6, 80, 60, 4), np.uint8)
        for i in range(6):
            drawn[i, 8 + i : 70, 10 : 30 + 4 * i] = (*color, 255)
        return drawn

    solids = (
        Solid("a/walk.g3d", "a", views((200, 30, 30))),
        Solid("a/fight.g3d", "a", views((200, 30, 30))[:, ::-1].copy()),
        Solid("b/walk.g3d", "b", views((30, 30, 200))),
    )
    disc = np.dstack([np.full((90, 90, 3), 90, np.uint8), np.full((90, 90), 255, np.uint8)])
    ground = rng.integers(0, 255, (300, 400, 3), dtype=np.uint8)
    return Assets((Cutout("c.png", "c", disc),), (Background("g", ground, 1.0),), solids)


def test_things_that_turn_are_drawn_only_where_they_are_asked_for(assets):
    drawn = [draw_object(assets, np.random.default_rng(n), 0.0, 1.0) for n in range(8)]
    assert all(obj.solid for obj in drawn)
    assert not draw_object(assets, np.random.default_rng(0), 0.0).solid
    spec = ClipSpec(4, 96, 128, composite=0.0, most_objects=1, lookalike=0.0, solid=1.0)
    clip = render_clip(assets, spec, 3)
    assert 1 in clip.targets


def test_a_share_of_solid_things_is_no_share_of_occluders(assets, monkeypatch):
    seen = []
    monkeypatch.setattr(
        clip_module, "ShotLayout", lambda **given: seen.append(given) or ShotLayout(**given)
    )
    render_clip(assets, ClipSpec(2, 96, 128, solid=0.9, occluders=0.2, composite=0.4), 3)
    assert (seen[0]["solid"], seen[0]["occluders"], seen[0]["composite"]) == (0.9, 0.2, 0.4)


def test_a_thing_that_turns_keeps_its_box_and_shows_all_its_views(assets):
    drawable = DrawableObject(draw_object(assets, np.random.default_rng(0), 0.0, 1.0))
    sprites = [drawable.sprite(phase, 60) for phase in np.linspace(0, 1, 11)]
    assert len({sprite.shape for sprite in sprites}) == 1
    assert len({sprite.tobytes() for sprite in sprites}) == 6
    assert np.array_equal(sprites[0], sprites[10])


def test_in_another_shot_it_may_move_otherwise_and_is_still_the_same(assets):
    rng = np.random.default_rng(0)
    obj = next(
        p for p in (draw_object(assets, rng, 0, 1.0) for _ in range(20)) if p.other_movements
    )
    again = [with_other_movement(rng, obj) for _ in range(12)]
    assert {each.category for each in again} == {"a"}
    first = {each.parts[0].image.tobytes() for each in again}
    assert len(first) == 2
    darker = obj.repainted(lambda rgba: rgba // 2)
    assert max(p.image.max() for parts in darker.other_movements for p in parts) < 128


def test_a_lookalike_of_a_thing_that_turns_is_never_the_thing_itself(assets):
    rng = np.random.default_rng(0)
    for _ in range(20):
        model = draw_object(assets, rng, 0.0, 1.0)
        alike = draw_lookalike(assets, rng, model)
        assert alike.solid
        assert not np.array_equal(alike.parts[0].image, model.parts[0].image)


def test_prepare_keeps_a_few_movements_of_every_unit_and_holds_some_units_out(tmp_path):
    stamps = tmp_path / "p/stamps/a"
    stamps.mkdir(parents=True)
    walls = tmp_path / "p/backgrounds"
    walls.mkdir()
    rng = np.random.default_rng(0)
    for i in range(24):
        disc = np.dstack(
            [rng.integers(0, 255, (90, 90, 3), np.uint8), np.full((90, 90), 255, "u1")]
        )
        cv2.imwrite(str(stamps / f"{i}.png"), disc)
        coarse = rng.integers(0, 255, (8, 12, 3), dtype=np.uint8)
        cv2.imwrite(str(walls / f"{i}.png"), cv2.resize(coarse, (480, 320)))
    for unit in ("archer", "cow", "horseman", "smith", "guard", "mage", "boat", "king"):
        _write(tmp_path / "p", "reds", unit, ["a", "b", "c", "d", "e"])
    prepare(tmp_path / "p", tmp_path / "cache.npz")
    train, held_out = (load(tmp_path / "cache.npz", split) for split in ("train", "held_out"))
    kinds = [{solid.category for solid in each.solids} for each in (train, held_out)]
    assert not kinds[0] & kinds[1]
    assert len(kinds[0] | kinds[1]) == 8
    assert len(train.solids) + len(held_out.solids) == 8 * 3
