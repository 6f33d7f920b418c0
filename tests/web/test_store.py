"""Results survive the end of the process at any moment."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segment_concept.types import InputError
from segment_concept.web.runs import decode_runs, empty_runs, encode_runs, pack_masks
from segment_concept.web.store import CHUNK, Result, ResultStore


def result(frame: int, tag: int = 1, object_id: int = 1, runs: bytes = b"\x01") -> Result:
    return Result(object_id, frame, tag, 0.75, 0.5, 7, (1, 2, 3, 4), 2, runs, 0.25, (0, 3))


def seal(store: ResultStore) -> None:
    work = store.seal()
    assert work is not None
    work()
    store.sealed()


@settings(max_examples=40, deadline=None)
@given(arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 300))))
def test_masks_come_back_from_their_runs(mask: np.ndarray) -> None:
    assert (decode_runs(encode_runs(mask), mask.shape) == mask).all()


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(InputError, match="add up to 12 pixels, and the video has 5x4"):
        decode_runs(empty_runs((3, 4)), (4, 5))


@pytest.mark.parametrize("content", [b"", b"\x80", b"\xff" * 9 + b"\x01"])
def test_damaged_runs_are_refused(content: bytes) -> None:
    with pytest.raises(InputError):
        decode_runs(content, (4, 5))


def test_a_reply_holds_id_score_and_runs_of_every_object() -> None:
    assert pack_masks([(2, 0.5, b"\x14")]) == b"\x02\x00\x00\x00\x3f\x14"


def test_a_result_comes_back_from_the_journal_and_from_its_chunk(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    store.add([result(5), result(CHUNK + 1)])
    for _ in range(2):
        again = ResultStore(tmp_path)
        assert again.get(1, 5, 1) == result(5)
        assert again.get(1, CHUNK + 1, 1) == result(CHUNK + 1)
        if store.unsealed:
            seal(store)
    assert not list(tmp_path.glob("frames-*"))


def test_a_chunk_keeps_what_it_held_when_more_is_added(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    store.add([result(5, runs=b"\x05\x06")])
    seal(store)
    store.add([result(6), replace(result(5), runs=b"\x09")])
    seal(store)
    assert store.get(1, 5, 1) == replace(result(5), runs=b"\x09")
    assert ResultStore(tmp_path).get(1, 6, 1) == result(6)


def test_results_of_earlier_edits_are_kept(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    store.add([result(5, 1), result(5, 2, runs=b"\x07")])
    assert store.get(1, 5, 1) == result(5, 1)
    assert store.tags() == {(1, 1), (1, 2)}
    assert store.rows(1, 2)["frame"].tolist() == [5]


def test_a_line_that_was_cut_off_is_dropped_and_those_before_it_are_kept(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    store.add([result(5), result(6)])
    path = next(tmp_path.glob("frames-*"))
    path.write_bytes(path.read_bytes()[:-4])
    again = ResultStore(tmp_path)
    assert again.get(1, 5, 1) == result(5)
    assert again.get(1, 6, 1) is None
    again.add([result(6)])
    assert ResultStore(tmp_path).get(1, 6, 1) == result(6)


def test_a_server_that_dies_while_it_seals_has_lost_nothing(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    store.add([result(5)])
    work = store.seal()
    store.add([result(6)])  # goes into the next journal
    assert work is not None
    work()  # and the process ends before `sealed`
    again = ResultStore(tmp_path)
    assert again.get(1, 5, 1) == result(5)
    assert again.get(1, 6, 1) == result(6)


def test_a_damaged_chunk_is_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = ResultStore(tmp_path)
    store.add([result(5)])
    store.close()
    path = next(tmp_path.glob("masks/o001/*.bin"))
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))
    assert ResultStore(tmp_path).get(1, 5, 1) is None
    assert "must be tracked again" in caplog.text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error_and_what_was_kept_stays(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    store.add([result(5)])
    store._journal.close()
    store._journal = os.fdopen(os.open("/dev/full", os.O_WRONLY), "wb", buffering=0)
    with pytest.raises(OSError, match=os.strerror(28)):
        store.add([result(6)])
    assert store.get(1, 6, 1) is None
    assert store.get(1, 5, 1) == result(5)
