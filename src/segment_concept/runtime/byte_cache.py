"""A cache that is bounded in bytes."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class ByteCache(Generic[Value]):
    """Keeps the values that were used last, up to a number of bytes; at least the last one.

    Args:
        most: bytes of all values together.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.size = 0  # bytes of all values
        self._kept: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable) -> Value | None:
        """The value of a key, or None."""
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key][0]

    def put(self, key: Hashable, value: Value, size: int) -> Value:
        """Keep a value of `size` bytes, and drop those that were used longest ago."""
        if key in self._kept:
            self.size -= self._kept.pop(key)[1]
        self._kept[key] = (value, size)
        self.size += size
        while self.size > self.most and len(self._kept) > 1:
            self.size -= self._kept.popitem(last=False)[1][1]
        return value

    def of(self, key: Hashable, make: Callable[[], tuple[Value, int]]) -> Value:
        """The value of a key; if it is not kept, `make` returns it with its size in bytes."""
        found = self.get(key)
        return self.put(key, *make()) if found is None else found
