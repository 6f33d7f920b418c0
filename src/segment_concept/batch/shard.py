"""Split work into shards."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from segment_concept.types import InputError

Item = TypeVar("Item")

_FORM = re.compile(r"(\d+)/(\d+)")


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `index` (from 1) of `count` equal parts of the work."""

    index: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise InputError(
                f"there is no shard {self.index} of {self.count}: "
                "shards count from 1 to the number of shards"
            )

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Parse text such as "2/8".

        Raises:
            InputError: the text has another form, or the shard does not exist.
        """
        match = _FORM.fullmatch(text.strip())
        if match is None:
            raise InputError(f"{text!r} is not a shard: expected i/n, for example 2/8 (1/8 to 8/8)")
        return cls(int(match[1]), int(match[2]))

    def take(self, items: Sequence[Item]) -> list[Item]:
        """Every n-th item. If items are sorted by size, shards are about equally large."""
        return list(items[self.index - 1 :: self.count])

    @property
    def is_all(self) -> bool:
        """Whether this is the only shard."""
        return self.count == 1
