"""Streams where there are none, and the tensors of a record."""

from dataclasses import dataclass

import torch

from segment_concept.runtime.streams import SideStream, tensors_of


@dataclass(frozen=True)
class Record:
    first: torch.Tensor
    several: tuple[torch.Tensor, ...]
    name: str = "record"


def test_on_a_cpu_work_is_done_in_its_order():
    side = SideStream(torch.device("cpu"))
    with side.use():
        found = torch.ones(2) + 1
    side.mark()([found])
    assert found.tolist() == [2, 2]


def test_all_tensors_of_a_record_are_found():
    tensors = [torch.zeros(1), torch.ones(2), torch.ones(3)]
    found = list(tensors_of(Record(tensors[0], tuple(tensors[1:]))))
    assert len(found) == 3
    assert all(a is b for a, b in zip(found, tensors, strict=True))
    assert list(tensors_of("no tensor")) == []
