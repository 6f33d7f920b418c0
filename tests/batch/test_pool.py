"""The contract of crews, over every crew, and how work is handed out."""

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import segment_concept
from helpers import crew_toys
from segment_concept.batch.folder_lock import run_locked
from segment_concept.batch.pool import (
    FailedUnit,
    InProcessPool,
    WorkerError,
    WorkerPool,
    distribute,
)
from segment_concept.batch.process_pool import ProcessPool
from segment_concept.batch.ray_pool import RayPool
from segment_concept.batch.shard import Shard
from segment_concept.types import InputError

HAS_RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HAS_RAY, reason="Ray is not installed")
ray_param = pytest.param("ray", marks=needs_ray)

Maker = Callable[[Any], WorkerPool]


@pytest.fixture
def maker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Maker]:
    """Makes crews of two of the named kind (or of one, alone), and ends them."""
    made: list[WorkerPool] = []
    paths = [str(Path(crew_toys.__file__).parents[1]), *sys.path]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))

    def make(opener: Any) -> WorkerPool:
        kind = request.param
        crew: WorkerPool
        if kind == "alone":
            crew = InProcessPool(opener)
        else:
            crew = ProcessPool(opener, 2) if kind == "processes" else RayPool(opener, 2)
        made.append(crew)
        return crew

    yield make
    for crew in made:
        crew.close()


def run(
    crew: WorkerPool, units: list[int], retries: int = 2
) -> tuple[dict[int, Any], list[FailedUnit]]:
    results: dict[int, Any] = {}
    lost = distribute(units, crew, retries, lambda unit, result: results.update({unit: result}))
    return results, lost


@pytest.mark.parametrize("maker", ["alone", "processes", ray_param], indirect=True)
def test_every_unit_is_worked_on_once_and_workers_are_kept(maker: Maker, tmp_path: Path) -> None:
    crew = maker(crew_toys.Doubling(tmp_path))
    results, lost = run(crew, [1, 2, 3, 4, 5])
    assert {unit: result[0] for unit, result in results.items()} == {1: 2, 2: 4, 3: 6, 4: 8, 5: 10}
    assert not lost
    assert len(list(tmp_path.glob("ready-*"))) == crew.size


@pytest.mark.parametrize("maker", ["alone", "processes", ray_param], indirect=True)
def test_an_exception_in_a_worker_ends_the_work(maker: Maker, tmp_path: Path) -> None:
    # In its own process nothing needs to be carried over: it stays what it is.
    with pytest.raises((WorkerError, InputError), match="99 cannot be doubled"):
        run(maker(crew_toys.Doubling(tmp_path)), [1, 99, 2])


@pytest.mark.parametrize("maker", ["alone", "processes", ray_param], indirect=True)
def test_a_worker_that_cannot_make_ready_ends_the_work(maker: Maker) -> None:
    with pytest.raises((WorkerError, InputError), match="the weights are missing"):
        run(maker(crew_toys.Unable()), [1])


@pytest.mark.parametrize("maker", ["processes", ray_param], indirect=True)
def test_the_unit_of_a_killed_worker_is_tried_again(maker: Maker, tmp_path: Path) -> None:
    results, lost = run(maker(crew_toys.Doubling(tmp_path, lives=2)), [13, 1, 2, 3])
    assert {unit: result[0] for unit, result in results.items()} == {13: 26, 1: 2, 2: 4, 3: 6}
    assert not lost
    assert len(list(tmp_path.glob("death-*"))) == 2


@pytest.mark.parametrize("maker", ["processes", ray_param], indirect=True)
def test_a_unit_that_kills_its_workers_is_given_up(maker: Maker, tmp_path: Path) -> None:
    results, lost = run(maker(crew_toys.Doubling(tmp_path, lives=9)), [13, 1, 2], retries=1)
    assert sorted(results) == [1, 2]
    assert [(given_up.unit, len(given_up.reasons)) for given_up in lost] == [(13, 2)]
    assert "lost" in lost[0].reasons[0] or "SIGKILL" in lost[0].reasons[0]


@pytest.mark.skipif(HAS_RAY, reason="Ray is installed")
def test_without_ray_it_is_said_how_to_get_it() -> None:
    with pytest.raises(InputError, match=r"pip install 'segment-concept\[batch\]'"):
        RayPool(crew_toys.Unable(), 2)


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from helpers import crew_toys;"
        "from segment_concept.batch.process_pool import ProcessPool;"
        "crew = ProcessPool(crew_toys.Sleeping(Path(sys.argv[1])), 1);"
        "crew.give(0, 60); crew.wait()"
    )
    script = tmp_path / "parent.py"
    script.write_text(f"if __name__ == '__main__':\n    {code}\n")
    package = Path(segment_concept.__file__).parent
    paths = [Path(crew_toys.__file__).parents[1], package.parent]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    parent = subprocess.Popen([sys.executable, script, tmp_path], env=environment)
    worker = _eventually(lambda: next(iter(tmp_path.glob("pid-*")), None))
    parent.kill()
    parent.wait()
    number = int(worker.name.removeprefix("pid-"))
    assert _eventually(lambda: not _lives(number))


def _eventually(found: Callable[[], Any]) -> Any:
    for _ in range(3000):
        if value := found():
            return value
        time.sleep(0.02)
    return None


def _lives(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process_id}/stat")
    return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")


def test_shards_share_everything_and_overlap_nowhere() -> None:
    items = list(range(11))
    shards = [Shard.parse(f"{i}/3").take(items) for i in (1, 2, 3)]
    assert sorted(item for shard in shards for item in shard) == items
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    assert Shard().take(items) == items


def test_a_folder_is_claimed_by_one_run_or_by_different_shards(tmp_path: Path) -> None:
    with run_locked(tmp_path, Shard(1, 2)), run_locked(tmp_path, Shard(2, 2)):
        for shard in (Shard(1, 2), Shard()):
            _refuses(tmp_path, shard)
    with run_locked(tmp_path, Shard()):
        _refuses(tmp_path, Shard(1, 2))
    with run_locked(tmp_path, Shard()):
        pass  # given back


def _refuses(folder: Path, shard: Shard) -> None:
    with pytest.raises(InputError, match="another run is writing"), run_locked(folder, shard):
        pass


@pytest.mark.parametrize("why", ["no address found\nmany more lines", ""])
def test_ray_that_does_not_start_is_one_sentence(monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    class Ray:
        @staticmethod
        def is_initialized() -> bool:
            return False

        @staticmethod
        def init(**options: object) -> None:
            raise ConnectionError(why)

    monkeypatch.setitem(sys.modules, "ray", Ray)
    with pytest.raises(InputError, match=r"Ray does not start \(.+\): .*--engine local") as caught:
        RayPool(lambda worker_index: str, 1)
    assert "\n" not in str(caught.value)
