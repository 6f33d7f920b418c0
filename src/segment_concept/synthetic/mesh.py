"""3D objects of the synthetic world: animated, textured models drawn from all directions.

The models are those of the game MegaGlest (files `.g3d`, format version 4): people, animals, carts
and buildings. A cut-out moves only within the image plane; these turn, walk and fight. Each file
becomes a few views of the moving object from a camera that goes around it.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from segment_concept.synthetic.pixels import Image, as_image, uniform

Floats: TypeAlias = NDArray[np.float32]
Color: TypeAlias = tuple[float, float, float]

VIEWS = 10  # per object
SIDE = 216  # longer side of a view, in pixels
_FINER = 1.5  # supersampling factor, for smooth edges
_PATH = 64  # bytes of a name or path in a file
_TEAM = 1  # bit of the mesh properties
_DARKEST = 0.45  # light on the side away from the source
_TEXTURES = (".png", ".jpg", ".bmp")  # a model may name a file of another type


class ModelError(Exception):
    """The file is not a readable model."""


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """Textured triangles of an animation. F frames, V vertices, N triangles."""

    vertices: Floats  # (F, V, 3), y points up
    normals: Floats  # (F, V, 3)
    uv: Floats  # (V, 2)
    triangles: NDArray[np.int64]  # (N, 3)
    color: Floats  # (3,) in [0, 1], used without texture
    texture: str  # file name beside the model; empty if none
    team: bool  # the team color shows where the texture is transparent


def read_model(data: bytes) -> tuple[Mesh, ...]:
    """Read the meshes of a `.g3d` file, version 4.

    Raises:
        ModelError: another file type or version, or nothing that can be drawn.
    """
    if data[:4] != b"G3D\x04":
        raise ModelError("not a G3D file of version 4")
    try:
        count, _ = struct.unpack_from("<HB", data, 4)
        at = 7
        meshes = []
        for _ in range(count):
            mesh, at = _read_mesh(data, at)
            meshes.append(mesh)
    except (struct.error, ValueError) as error:
        raise ModelError("the file ends too early") from error
    if not any(len(mesh.triangles) for mesh in meshes):
        raise ModelError("the model has no triangle")
    return tuple(meshes)


def _read_mesh(data: bytes, at: int) -> tuple[Mesh, int]:
    header = struct.Struct(f"<{_PATH}s3I8f2I")
    _, frames, vertices, indices, *rest = header.unpack_from(data, at)
    color, properties, textures = rest[:3], rest[8], rest[9]
    at += header.size
    names = []
    for _ in range(int(textures).bit_count()):
        names.append(data[at : at + _PATH].split(b"\0")[0].decode("latin-1"))
        at += _PATH

    def floats(*shape: int) -> Floats:
        nonlocal at
        size = int(np.prod(shape))
        block = np.frombuffer(data, "<f4", size, at).reshape(shape)
        at += 4 * size
        return block

    points, normals = floats(frames, vertices, 3), floats(frames, vertices, 3)
    uv = floats(vertices, 2) if textures else np.zeros((vertices, 2), np.float32)
    triangles = np.frombuffer(data, "<u4", indices, at).reshape(-1, 3).astype(np.int64)
    at += 4 * indices
    if triangles.size and triangles.max() >= vertices:
        raise ModelError("a triangle has a vertex that does not exist")
    if not all(np.isfinite(each).all() for each in (points, normals, uv)):
        raise ModelError("a number is not finite")
    mesh = Mesh(
        points,
        normals,
        uv,
        triangles,
        np.array(color, np.float32),
        names[0] if names else "",
        bool(properties & _TEAM),
    )
    return mesh, at


def draw_views(path: Path, team: Color, rng: Generator) -> NDArray[np.uint8] | None:
    """Views (VIEWS, h, w, 4) of a model with straight alpha, all in the same box.

    None if nothing is visible or the file is not a model.

    Args:
        path: the model; its textures are in the same folder.
        team: RGB in [0, 255].
        rng: chooses the path of the camera, the part of the movement, and the light.
    """
    try:
        meshes = read_model(path.read_bytes())
    except ModelError:
        return None
    skins = [_skin(path.parent, mesh, np.array(team, np.float32)) for mesh in meshes]
    sweep = uniform(rng, 0.4, 2.4) * (1 if rng.random() < 0.5 else -1)
    yaw, height = uniform(rng, 0, 2 * np.pi), uniform(rng, -0.08, 0.5)
    rise, distance = uniform(rng, -0.2, 0.2), uniform(rng, 2.5, 6)
    share = uniform(rng, 0.25, 1.0)  # part of the movement
    begin = uniform(rng, 0, 1 - share)
    sun = np.array([uniform(rng, -1, 1), uniform(rng, 0.2, 1), uniform(rng, 0, 1)], np.float32)
    sun /= np.linalg.norm(sun)
    steps = np.linspace(0, 1, VIEWS)
    placed = []
    for step in steps:
        turn = _turn(yaw + sweep * step, height + rise * step)
        placed.append([_posed(mesh, begin + share * step, turn) for mesh in meshes])
    corners = np.concatenate([points for view in placed for points, _ in view])
    middle = (corners.max(0) + corners.min(0)) / 2
    reach = float(np.abs(corners - middle).max())
    if reach <= 0:
        return None
    side = round(SIDE * _FINER)
    views = []
    for view in placed:
        canvas, depth = np.zeros((side, side, 4), np.float32), np.full((side, side), np.inf)
        for mesh, skin, (points, normals) in zip(meshes, skins, view, strict=True):
            away = distance - (points[:, 2] - middle[2]) / reach
            flat = (points[:, :2] - middle[:2]) / reach * (distance / away)[:, None] * 0.8
            screen = np.stack([(flat[:, 0] + 1) / 2, (1 - flat[:, 1]) / 2], 1) * side
            lit = (normals @ sun).clip(0, 1)
            light = np.asarray(_DARKEST + (1 - _DARKEST) * lit, np.float32)
            _draw(canvas, depth, mesh, skin, screen, away, light)
        views.append(canvas)
    return _cropped(np.stack(views))


def _skin(folder: Path, mesh: Mesh, team: Floats) -> Floats:
    """Texture (h, w, 4) of a mesh in [0, 255]; a single pixel if it has none."""
    named = folder / mesh.texture
    files = [p for p in (named, *map(named.with_suffix, _TEXTURES)) if mesh.texture and p.is_file()]
    raw = cv2.imread(str(files[0]), cv2.IMREAD_UNCHANGED) if files else None
    if raw is None or raw.ndim != 3 or raw.dtype != np.uint8:
        return np.append(255 * mesh.color, 255).astype(np.float32).reshape(1, 1, 4)
    if raw.shape[2] == 3:
        return cv2.cvtColor(raw, cv2.COLOR_BGR2RGBA).astype(np.float32)
    rgba = cv2.cvtColor(raw, cv2.COLOR_BGRA2RGBA).astype(np.float32)
    if mesh.team:
        own = rgba[..., 3:] / 255
        rgba[..., :3] = own * rgba[..., :3] + (1 - own) * team
        rgba[..., 3] = 255
    return rgba


def _turn(yaw: float, height: float) -> Floats:
    """Rotation (3, 3) of a camera by its angles around the vertical axis and above the ground."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    round_it = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    cos, sin = np.cos(height), np.sin(height)
    above = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    return np.asarray(above @ round_it, np.float32)


def _posed(mesh: Mesh, phase: float, turn: Floats) -> tuple[Floats, Floats]:
    """Points and normals (V, 3) in camera coordinates, interpolated between two frames."""
    last = len(mesh.vertices) - 1
    first = int(phase * last)
    second, part = min(first + 1, last), np.float32(phase * last - first)
    points, normals = (
        (1 - part) * each[first] + part * each[second] for each in (mesh.vertices, mesh.normals)
    )
    return points @ turn.T, normals @ turn.T


def _draw(
    canvas: Floats,
    depth: NDArray[np.float64],
    mesh: Mesh,
    skin: Floats,
    screen: Floats,
    away: Floats,
    light: Floats,
) -> None:
    """Draw a mesh into RGBA (s, s, 4) and depth (s, s), in place."""
    side = len(canvas)
    a, b, c = (screen[mesh.triangles[:, i]] for i in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    low = np.floor(np.minimum(np.minimum(a, b), c)).astype(np.int64).clip(0, side)
    high = np.ceil(np.maximum(np.maximum(a, b), c)).astype(np.int64).clip(0, side)
    size = high - low
    kept = np.flatnonzero((np.abs(area) > 1e-6) & (size.min(1) > 0))
    if not kept.size:
        return
    # all pixels of the boxes of all triangles in one list
    counts = size[kept].prod(1)
    which = np.repeat(kept, counts)
    within = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
    x = low[which, 0] + within % size[which, 0]
    y = low[which, 1] + within // size[which, 0]
    px, py = x + 0.5, y + 0.5
    a, b, c, area = a[which], b[which], c[which], area[which]
    wb = ((px - a[:, 0]) * (c[:, 1] - a[:, 1]) - (py - a[:, 1]) * (c[:, 0] - a[:, 0])) / area
    wc = ((b[:, 0] - a[:, 0]) * (py - a[:, 1]) - (b[:, 1] - a[:, 1]) * (px - a[:, 0])) / area
    weights = np.stack([1 - wb - wc, wb, wc], 1)
    inside = np.flatnonzero((weights >= 0).all(1))
    x, y, weights, corners = x[inside], y[inside], weights[inside], mesh.triangles[which[inside]]
    # perspective-correct interpolation: weights are divided by the distance
    weights = weights / away[corners]
    z = 1 / weights.sum(1)
    weights *= z[:, None]
    u, v = ((weights * mesh.uv[corners, i]).sum(1) % 1 for i in range(2))
    rows = ((1 - v) * skin.shape[0]).astype(np.int64).clip(0, skin.shape[0] - 1)
    columns = (u * skin.shape[1]).astype(np.int64).clip(0, skin.shape[1] - 1)
    rgba = skin[rows, columns]
    seen = np.flatnonzero((rgba[:, 3] > 127) & (z < depth[y, x]))
    order = seen[np.argsort(-z[seen], kind="stable")]  # the nearest pixel is written last
    shade = (weights * light[corners]).sum(1)[order, None]
    x, y = x[order], y[order]
    canvas[y, x, :3] = rgba[order, :3] * shade
    canvas[y, x, 3] = 255
    depth[y, x] = z[order]


def _cropped(views: Floats) -> NDArray[np.uint8] | None:
    """Views cropped to their common box, at their final size."""
    seen = views[..., 3].max(axis=0) > 0
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    if rows.size < 48 or columns.size < 24 or (views[..., 3] > 0).mean((1, 2)).min() < 0.01:
        return None
    box = views[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = SIDE / max(box.shape[1:3])
    size = (max(8, round(box.shape[2] * scale)), max(8, round(box.shape[1] * scale)))
    return np.stack([_smaller(view, size) for view in box])


def _smaller(view: Floats, size: tuple[int, int]) -> Image:
    """A downsampled view; colors are weighted by alpha."""
    alpha = view[..., 3:] / 255
    mixed = cv2.resize(
        np.concatenate([view[..., :3] * alpha, alpha], 2), size, interpolation=cv2.INTER_AREA
    )
    rgb = mixed[..., :3] / np.maximum(mixed[..., 3:], 1e-3)
    return as_image(np.concatenate([rgb, 255 * mixed[..., 3:]], 2).clip(0, 255))
