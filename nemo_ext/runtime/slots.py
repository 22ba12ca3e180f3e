"""Voice vectors that stay on the GPU: a request names a slot, and its row is copied from there to the engine's input.

A voice of a full-size model has about a hundred thousand values. Sending them with every request would cost more than
the sentence; in a slot they are sent once, when the voice is added.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nemo_ext.errors import NemoExtError, nearest
from nemo_ext.runtime.cuda import Buffer, Cuda, DeviceArray, Pinned


class VoiceSlots:
    """Rows of ``size`` float32 values on the GPU, by name. Adding one copies that one; more room copies on the GPU.

    For a session's ``voice (B, P)``, and just so for ``style (B, S)``: ``run({"voice": slots.gather([0, 3]), ...})``.
    """

    def __init__(self, cuda: Cuda, size: int, capacity: int = 64) -> None:
        self._cuda, self.size = cuda, size
        self._capacity = max(1, capacity)
        self._table = Buffer(cuda, self._capacity * self._row)
        self._gathered = Buffer(cuda)
        self._staging = Pinned(cuda, self._row)
        self._slots: dict[str, int] = {}
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, name: str) -> bool:
        return name in self._slots

    def put(self, name: str, vector: np.ndarray) -> int:
        """Copy ``vector (P,)`` to the GPU and give its slot; one of the same name is replaced in its place.

        Raises:
            NemoExtError: the vector is of another size, or not finite: it would spoil every batch that it is in.
        """
        row = np.ascontiguousarray(vector, np.float32)
        if row.shape != (self.size,):
            raise NemoExtError(
                f"voice '{name}' is {row.shape}, and this model's are ({self.size},): it is another model's"
            )
        if not np.isfinite(row).all():
            raise NemoExtError(f"voice '{name}' holds values that are not finite: its file is damaged")
        slot = self._slots.get(name)
        if slot is None:
            slot = self._free.pop() if self._free else len(self._slots)
            if slot == self._capacity:
                self._grow()
            self._slots[name] = slot
        self._staging.view(row.shape, row.dtype)[...] = row
        self._cuda.copy(self._table.address + slot * self._row, self._staging.address, self._row, "HostToDevice")
        self._cuda.synchronize()  # the next vector goes through the same memory of the host
        return slot

    def slot(self, name: str) -> int:
        """Of the voice ``name``.

        Raises:
            NemoExtError: it has none.
        """
        if name not in self._slots:
            raise NemoExtError(f"no voice '{name}' is on the GPU{nearest(name, self._slots)}")
        return self._slots[name]

    def remove(self, name: str) -> None:
        """Give the slot of ``name`` to whoever comes next."""
        self._free.append(self._slots.pop(name))

    def gather(self, slots: Sequence[int]) -> DeviceArray:
        """The rows of ``slots``, ``(B, P)``, copied on the GPU. The next call overwrites it.

        Raises:
            NemoExtError: no voice is in one of them.
        """
        known = set(self._slots.values())
        for slot in slots:
            if slot not in known:
                raise NemoExtError(f"no voice is in slot {slot}")
        rows = self._gathered.array((len(slots), self.size), np.float32)
        for i, slot in enumerate(slots):
            to, source = rows.address + i * self._row, self._table.address + slot * self._row
            self._cuda.copy(to, source, self._row, "DeviceToDevice")
        return rows

    def close(self) -> None:
        """Give the memory back."""
        for owned in (self._table, self._gathered, self._staging):
            owned.close()

    @property
    def _row(self) -> int:
        return 4 * self.size

    def _grow(self) -> None:
        """Twice the room, with the rows that are there."""
        larger = Buffer(self._cuda, 2 * self._capacity * self._row)
        self._cuda.copy(larger.address, self._table.address, self._capacity * self._row, "DeviceToDevice")
        self._cuda.synchronize()
        self._table.close()
        self._table, self._capacity = larger, 2 * self._capacity
