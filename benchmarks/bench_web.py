"""Latency of the page's server: opening a film, previews of clicks, masks of clicks.

    python benchmarks/bench_web.py [--hours 2] [--recipe sec_compact] [--previews 30]

Prints wall time, and for opening also the CPU time of the server and its processes: on a busy
machine only the latter says something.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import cv2
import httpx

import segment_concept
from segment_concept.video.open import open_video

SIZE = (854, 480)
DEMO = Path(segment_concept.__file__).parent / "assets" / "demo" / "demo.mp4"
CLICK = (570, 320)  # on the rabbit in the first shot of the demo clip, scaled to `SIZE`


def write_clip(path: Path) -> None:
    """The demo clip in the size of DAVIS 480p."""
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("libx264", rate=25, options={"g": "50", "preset": "fast"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for frame in open_video(DEMO).frames():
            picture = cv2.resize(frame.rgb, SIZE, interpolation=cv2.INTER_CUBIC)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode(None))


def repeat_clip(clip: Path, path: Path, hours: float) -> None:
    """A film of that length: the packets of a clip again and again."""
    with av.open(str(clip)) as given, av.open(str(path), "w") as out:
        stream = given.streams.video[0]
        made = out.add_stream_from_template(stream)
        packets = [packet for packet in given.demux(stream) if packet.dts is not None]
        step = len(packets) * int(packets[0].duration)
        for round_ in range(round(hours * 3600 * 25 / len(packets))):
            for packet in packets:
                copy = av.Packet(bytes(packet))
                copy.pts = packet.pts + round_ * step
                copy.dts = packet.dts + round_ * step
                copy.time_base, copy.duration = packet.time_base, packet.duration
                copy.is_keyframe, copy.stream = packet.is_keyframe, made
                out.mux(copy)


def cpu_seconds(pid: int) -> float:
    """CPU time of a process and of its children."""
    ticks = os.sysconf("SC_CLK_TCK")
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return (int(fields[11]) + int(fields[12])) / ticks + sum(cpu_seconds(int(c)) for c in children)


@contextmanager
def served(film: Path, recipe: str) -> Iterator[tuple[httpx.Client, str, subprocess.Popen[str]]]:
    """A server with a film open in it: client, address of the project, process."""
    command = [sys.executable, "-m", "segment_concept", "web", str(film), "--no-browser"]
    process = subprocess.Popen([*command, "-r", recipe], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    found = re.search(r"(http://[^/]*)/#t=([^&]*)&p=(\w*)", process.stdout.readline())
    assert found is not None
    base, token, project = found.groups()
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    with httpx.Client(base_url=base, headers=headers, timeout=120) as client:
        yield client, f"/api/v1/projects/{project}", process
    process.send_signal(2)
    process.wait()


def measure_opening(film: Path, recipe: str) -> None:
    """Until the first still, and until all frames are known."""
    began = time.perf_counter()
    with served(film, recipe) as (client, project, process):
        client.get(f"{project}/frames/0.jpg").raise_for_status()
        first, cpu = time.perf_counter() - began, cpu_seconds(process.pid)
        print(f"first still after {first:.2f} s (CPU {cpu:.2f} s, the loading tracker included)")
        while not client.get(project).json()["table"]["complete"]:
            time.sleep(0.05)
        frames = client.get(project).json()["table"]["known"]
        print(f"all {frames} frames known after {time.perf_counter() - began:.2f} s")


def timed(client: httpx.Client, address: str, bodies: list[dict[str, Any]]) -> list[float]:
    """Milliseconds of each request."""
    found = []
    for body in bodies:
        began = time.perf_counter()
        client.post(address, json=body).raise_for_status()
        found.append(1000 * (time.perf_counter() - began))
    return found


def measure_prompts(film: Path, recipe: str, previews: int) -> None:
    """Hovering over a frame that was looked at, then clicks."""
    with served(film, recipe) as (client, project, _):
        while client.get(project).json()["tracker"]["state"] != "ready":
            time.sleep(0.1)
        client.post(f"{project}/look", json={"frame": 0})
        x, y = CLICK
        bodies = [{"frame": 0, "points": [[x + n % 9, y - n % 7, 1]]} for n in range(previews + 5)]
        found = timed(client, f"{project}/preview", bodies)
        show("preview of a new object", found[5:])
        for name, prompt in (
            ("click", {"points": [[x, y, 1]]}),
            ("correction", {"points": [[x, y, 1], [20, 20, 0]]}),
            ("box", {"box": [400, 100, 740, 470]}),
        ):
            began = time.perf_counter()
            edit = {"type": "prompt", "object": 1 + (name == "box"), "frame": 0, **prompt}
            rev = client.get(project).json()["rev"]
            before = client.get(f"{project}/masks/0").content
            body = {"op": name, "rev": rev, "edit": edit}
            client.post(f"{project}/edits", json=body).raise_for_status()
            while client.get(f"{project}/masks/0").content == before:
                time.sleep(0.005)
            print(f"mask of a {name} after {1000 * (time.perf_counter() - began):.0f} ms")
        bodies = [
            {"frame": 0, "object": 1, "points": [[x, y, 1], [20 + n, 20, 0]]}
            for n in range(previews + 5)
        ]
        show("preview of a correction", timed(client, f"{project}/preview", bodies)[5:])


def show(name: str, values: list[float]) -> None:
    """Print median and the 95th percentile."""
    ordered = sorted(values)
    high = ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]
    print(f"{name}: median {statistics.median(values):.0f} ms, 95 % within {high:.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=2.0, help="of the long film; 0 for none")
    parser.add_argument("--recipe", default="sec_compact")
    parser.add_argument("--previews", type=int, default=30, help="0 for none")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        clip, film = folder / "clip.mp4", folder / "film.mp4"
        write_clip(clip)
        if given.hours:
            repeat_clip(clip, film, given.hours)
            print(f"film of {given.hours:g} h, {film.stat().st_size / 2**20:.0f} MiB")
            measure_opening(film, given.recipe)
        if given.previews:
            measure_prompts(clip, given.recipe, given.previews)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
