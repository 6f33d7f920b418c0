"""Cores are shared inside, and as they were outside."""

import threading

import pytest
import torch

from segment_concept.runtime.parallel import SIDES, shared_cores, sharing, side_by_side


@pytest.fixture
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("four_threads")
def test_two_things_are_done_at_a_time_and_keep_their_order():
    meeting = threading.Barrier(SIDES, timeout=10)

    def work(item: int) -> tuple[int, bool, int]:
        meeting.wait()  # would time out if they were done one after another
        return item, torch.is_inference_mode_enabled(), torch.get_num_threads()

    with shared_cores(), torch.inference_mode():
        assert sharing()
        assert side_by_side(work, [1, 2, 3, 4]) == [(n, True, 2) for n in (1, 2, 3, 4)]
    assert torch.get_num_threads() == 4


@pytest.mark.usefixtures("four_threads")
def test_outside_and_where_gradients_are_wanted_it_is_one_after_another():
    here = threading.get_ident()
    assert side_by_side(lambda _: threading.get_ident(), [1, 2]) == [here, here]
    with shared_cores():
        assert not sharing()
        assert side_by_side(lambda _: threading.get_ident(), [1, 2]) == [here, here]


@pytest.mark.usefixtures("four_threads")
def test_an_error_comes_out_and_torch_has_its_threads_back():
    def fail(item: int) -> None:
        raise ValueError(f"no {item}")

    with pytest.raises(ValueError, match="no 1"), shared_cores(), torch.inference_mode():
        side_by_side(fail, [1, 2])
    assert torch.get_num_threads() == 4


def test_a_single_thread_is_not_shared():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with shared_cores(), torch.inference_mode():
            assert (torch.get_num_threads(), sharing()) == (1, False)
    finally:
        torch.set_num_threads(before)
