"""Which parts of the board's contiguous memory are taken."""

from __future__ import annotations

from bisect import insort

PAGE = 4096


class Allocator:
    """First fit over whole pages; what is freed is merged with its neighbours and used again.

    Parameters
    ----------
    base, size
        Of the memory, in bytes.
    """

    def __init__(self, base: int, size: int) -> None:
        self._free = [(base, size)]  # sorted by address, never two that touch
        self._taken: dict[int, int] = {}

    def allocate(self, size: int) -> int:
        """Address of `size` bytes.

        Raises
        ------
        MemoryError
            If no gap is large enough.
        """
        needed = max(PAGE, -(-size // PAGE) * PAGE)
        for at, (start, length) in enumerate(self._free):
            if length >= needed:
                self._free[at : at + 1] = (
                    [(start + needed, length - needed)] if length > needed else []
                )
                self._taken[start] = needed
                return start
        raise MemoryError(f"no {needed} bytes of contiguous memory are free ({self.free} in all)")

    def release(self, start: int) -> None:
        """Free what `allocate` gave.

        Raises
        ------
        KeyError
            If it gave nothing there, or that is free already.
        """
        insort(self._free, (start, self._taken.pop(start)))
        merged: list[tuple[int, int]] = []
        for begin, length in self._free:
            if merged and sum(merged[-1]) == begin:
                merged[-1] = (merged[-1][0], merged[-1][1] + length)
            else:
                merged.append((begin, length))
        self._free = merged

    @property
    def free(self) -> int:
        """Bytes that are not taken."""
        return sum(length for _, length in self._free)
