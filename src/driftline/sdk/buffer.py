"""What waits in memory to be encoded: bounded, the oldest goes when there is no room."""

import threading
from collections import deque
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Buffer(Generic[_T]):
    """A queue of at most `size` items between the callers' threads and the sender's.

    >>> buffer = Buffer[str](2)
    >>> [buffer.put(item) for item in "abc"], buffer.take(10)
    ([False, False, True], ['b', 'c'])
    """

    def __init__(self, size: int) -> None:
        self._lock = threading.Lock()
        self._items: deque[_T] = deque()
        self.size = size

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: _T) -> bool:
        """Add an item; tells whether the oldest was dropped for it."""
        with self._lock:
            full = len(self._items) >= self.size
            if full:
                self._items.popleft()
            self._items.append(item)
            return full

    def take(self, most: int) -> list[_T]:
        """Take the oldest items out."""
        with self._lock:
            return [self._items.popleft() for _ in range(min(most, len(self._items)))]
