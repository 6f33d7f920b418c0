"""A benchmark script with the arguments and calls of SAM 2's `tools/vos_inference.py`."""

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.official_calls import frames
from segment_concept.compat import build_sam2_video_predictor  # the line that is changed

PALETTE = [0, 0, 0, 128, 0, 0, 0, 128, 0] + [0] * 759
VIDEO = "blob"


def read_masks(folder: Path, name: str, per_obj_png_file: bool) -> dict[int, Any]:
    """Object number -> mask, of one frame; none where nothing is annotated."""
    if per_obj_png_file:
        files = {int(p.name): p / f"{name}.png" for p in sorted(folder.iterdir())}
        return {i: np.array(Image.open(p)) > 0 for i, p in files.items() if p.exists()}
    path = folder / f"{name}.png"
    if not path.exists():
        return {}
    labels = np.array(Image.open(path))
    return {int(i): labels == i for i in np.unique(labels) if i > 0}


def write_masks(folder: Path, name: str, masks: dict[int, Any], per_obj_png_file: bool) -> None:
    if per_obj_png_file:
        for object_id, mask in masks.items():
            (folder / f"{object_id:03d}").mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask.squeeze(0)).save(folder / f"{object_id:03d}" / f"{name}.png")
        return
    folder.mkdir(parents=True, exist_ok=True)
    labels = np.zeros(next(iter(masks.values())).shape[-2:], np.uint8)
    for object_id in sorted(masks, reverse=True):
        labels[masks[object_id].squeeze(0)] = object_id
    picture = Image.fromarray(labels)
    picture.putpalette(PALETTE)
    picture.save(folder / f"{name}.png")


@torch.inference_mode()
@torch.autocast(device_type="cpu", dtype=torch.bfloat16)
def together(predictor: Any, args: argparse.Namespace) -> None:
    """All objects, from the first frame or from all annotated ones."""
    video = Path(args.base_video_dir) / VIDEO
    names = sorted(p.stem for p in video.iterdir())
    state = predictor.init_state(video_path=str(video), async_loading_frames=False)
    assert (state["video_height"], state["video_width"]) == (96, 160)
    shown = range(len(names)) if args.use_all_masks else [0]
    for index in shown:
        folder = Path(args.input_mask_dir) / VIDEO
        for object_id, mask in read_masks(folder, names[index], args.per_obj_png_file).items():
            predictor.add_new_mask(
                inference_state=state, frame_idx=index, obj_id=object_id, mask=mask
            )
    for index, ids, logits in predictor.propagate_in_video(state):
        masks = {
            object_id: (logits[row] > args.score_thresh).cpu().numpy()
            for row, object_id in enumerate(ids)
        }
        output = Path(args.output_mask_dir) / VIDEO
        write_masks(output, names[index], masks, args.per_obj_png_file)


def annotated(folder: Path, names: list[str], per_obj_png_file: bool) -> dict[int, dict[int, Any]]:
    """Of every object its masks, by frame."""
    shown: dict[int, dict[int, Any]] = defaultdict(dict)
    for index, name in enumerate(names):
        for object_id, mask in read_masks(folder, name, per_obj_png_file).items():
            if mask.any():
                shown[object_id][index] = mask
    return shown


@torch.inference_mode()
@torch.autocast(device_type="cpu", dtype=torch.bfloat16)
def one_by_one(predictor: Any, args: argparse.Namespace) -> None:
    """Every object from the first frame on which it is annotated."""
    video = Path(args.base_video_dir) / VIDEO
    names = sorted(p.stem for p in video.iterdir())
    state = predictor.init_state(video_path=str(video), async_loading_frames=False)
    size = state["video_height"], state["video_width"]
    shown = annotated(Path(args.input_mask_dir) / VIDEO, names, args.per_obj_png_file)
    scores: dict[int, dict[int, Any]] = defaultdict(dict)
    for object_id, masks in sorted(shown.items()):
        predictor.reset_state(state)
        for index in sorted(masks):
            predictor.add_new_mask(
                inference_state=state, frame_idx=index, obj_id=object_id, mask=masks[index]
            )
        for index, _, logits in predictor.propagate_in_video(
            state, start_frame_idx=min(masks), reverse=False
        ):
            scores[object_id][index] = logits.cpu().numpy()
    for index, name in enumerate(names):
        whole = torch.full((len(scores), 1, *size), -1024.0)
        for row, object_id in enumerate(scores):
            if index in scores[object_id]:
                whole[row] = torch.from_numpy(scores[object_id][index])
        if not args.per_obj_png_file:
            whole = predictor._apply_non_overlapping_constraints(whole)
        found = {i: (whole[row] > args.score_thresh).numpy() for row, i in enumerate(scores)}
        write_masks(Path(args.output_mask_dir) / VIDEO, name, found, args.per_obj_png_file)


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sam2_cfg", default="configs/sam2.1/sam2.1_hiera_b+.yaml")
    parser.add_argument("--sam2_checkpoint", default="./checkpoints/sam2.1_hiera_base_plus.pt")
    parser.add_argument("--base_video_dir", required=True)
    parser.add_argument("--input_mask_dir", required=True)
    parser.add_argument("--output_mask_dir", required=True)
    parser.add_argument("--score_thresh", type=float, default=0.0)
    parser.add_argument("--use_all_masks", action="store_true")
    parser.add_argument("--per_obj_png_file", action="store_true")
    parser.add_argument("--apply_postprocessing", action="store_true")
    parser.add_argument("--track_object_appearing_later_in_video", action="store_true")
    parser.add_argument("--use_vos_optimized_video_predictor", action="store_true")
    args = parser.parse_args(argv)
    exclusive = "false" if args.per_obj_png_file else "true"
    predictor = build_sam2_video_predictor(
        config_file=args.sam2_cfg,
        ckpt_path=args.sam2_checkpoint,
        apply_postprocessing=args.apply_postprocessing,
        hydra_overrides_extra=[f"++model.non_overlap_masks={exclusive}"],
        vos_optimized=args.use_vos_optimized_video_predictor,
    )
    if args.track_object_appearing_later_in_video:
        one_by_one(predictor, args)
    else:
        together(predictor, args)


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    """A data set of one video; its second object is annotated on frame 2."""
    video, masks, layers = tmp_path / "video" / VIDEO, tmp_path / "masks" / VIDEO, tmp_path / "png"
    for folder in (video, masks):
        folder.mkdir(parents=True)
    first, second = np.zeros((2, 96, 160), bool)
    first[40:70, 20:70] = True
    second[10:30, 100:140] = True
    for index, picture in enumerate(frames().numpy()):
        Image.fromarray(picture).save(video / f"{index:05d}.jpg", quality=95)
    for index, both in ((0, False), (2, True)):
        labels = Image.fromarray((first + 2 * second * both).astype(np.uint8))
        labels.putpalette(PALETTE)
        labels.save(masks / f"{index:05d}.png")
        for object_id, mask in ((1, first), (2, second & both)):
            layer = layers / VIDEO / f"{object_id:03d}"
            layer.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(layer / f"{index:05d}.png")
    return ["--base_video_dir", str(video.parent), "--output_mask_dir", str(tmp_path / "out")]


@pytest.mark.parametrize(
    ("options", "layers", "later"),
    [
        ([], False, False),
        (["--apply_postprocessing"], False, False),
        (["--track_object_appearing_later_in_video"], False, True),
        (["--per_obj_png_file"], True, False),
        (["--use_all_masks", "--per_obj_png_file"], True, True),
        (["--track_object_appearing_later_in_video", "--per_obj_png_file"], True, True),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_it_runs_with_the_import_changed(checkpoint, folders, tmp_path, options, layers, later):
    masks = tmp_path / ("png" if layers else "masks")
    main([*folders, "--input_mask_dir", str(masks), "--sam2_checkpoint", str(checkpoint), *options])
    written = tmp_path / "out" / VIDEO
    if not layers:
        assert [p.name for p in sorted(written.iterdir())] == [f"{i:05d}.png" for i in range(6)]
    first, third = (read_masks(written, name, layers) for name in ("00000", "00002"))
    assert {i for i, mask in first.items() if mask.any()} == {1}
    assert (2 in third and third[2].any()) == later
