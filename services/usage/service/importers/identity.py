"""Ids of rows that bring none: what the row says, and which of its repetitions it is."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from hashlib import blake2b
from operator import itemgetter

from services.usage.service.importers.rows import ImportTooLarge, RowProblem
from services.usage.service.importers.values import NO_VALUE

# A key costs 8 bytes in a table at most two thirds full: 256 MiB at this bound.
_SLOTS_MAX = 1 << 25
_SLOTS_AT_FIRST = 1 << 12
ROWS_MAX = _SLOTS_MAX * 2 // 3  # 22 million different rows
REPEATED_ROWS_MAX = 1_000_000  # different rows that occur more than once; about 100 MB
_DIGEST_BYTES = 16
_NAME_ENDS = "\x1f"
_VALUE_ENDS = "\x1e"


class RowIdentity:
    """Gives each row of one file its id: a digest of its content, and `-n` where it repeats."""

    def __init__(self, columns: Sequence[str]) -> None:
        """Takes the header; ids do not depend on its order."""
        order = sorted(range(len(columns)), key=lambda index: columns[index])
        # A getter of one index gives no tuple, so that index is taken twice and zip stops first.
        self._values = itemgetter(*order, order[-1])
        self._names = [columns[index] + _NAME_ENDS for index in order]
        self._occurrences = Occurrences()

    def id_of(self, cells: Sequence[str]) -> str:
        """Returns the next row's id. Raises ImportTooLarge beyond 22 million different rows."""
        text = _VALUE_ENDS.join(
            [
                name + value
                for name, value in zip(self._names, self._values(cells), strict=False)
                if value not in NO_VALUE
            ]
        )
        try:
            digest = blake2b(text.encode(), digest_size=_DIGEST_BYTES)
        except UnicodeEncodeError as error:
            raise RowProblem("", "is not UTF-8 text") from error
        occurrence = self._occurrences.count(int.from_bytes(digest.digest()[:8], "little"))
        name = digest.hexdigest()
        return name if occurrence == 1 else f"{name}-{occurrence}"


class Occurrences:
    """Counts how often each 64-bit key came, in 12 to 24 bytes a key instead of a set's 90.

    Open addressing in one array. The key is half of a digest: two rows of 20 million share one with
    probability 1e-5, and then one of them has a `-2` it did not need; the ids differ all the same.
    """

    def __init__(self) -> None:
        """Starts empty."""
        self._table = array("Q", bytes(8 * _SLOTS_AT_FIRST))
        self._mask = _SLOTS_AT_FIRST - 1
        self._room = _SLOTS_AT_FIRST * 2 // 3
        self._repeats: dict[int, int] = {}

    def count(self, key: int) -> int:
        """Returns 1 for a key's first occurrence, 2 for its second, and so on."""
        key = key or 1  # zero marks a free slot
        table, mask = self._table, self._mask
        slot = key & mask
        while found := table[slot]:
            if found == key:
                occurrence = self._repeats.get(key, 1) + 1
                self._repeats[key] = occurrence
                if len(self._repeats) > REPEATED_ROWS_MAX:
                    raise ImportTooLarge(repeated_rows_max=REPEATED_ROWS_MAX)
                return occurrence
            slot = (slot + 1) & mask
        table[slot] = key
        self._room -= 1
        if not self._room:
            self._grow()
        return 1

    def _grow(self) -> None:
        slots = 2 * len(self._table)
        if slots > _SLOTS_MAX:
            raise ImportTooLarge(rows_max=ROWS_MAX)
        table, mask = array("Q", bytes(8 * slots)), slots - 1
        for key in self._table:
            if key:
                slot = key & mask
                while table[slot]:
                    slot = (slot + 1) & mask
                table[slot] = key
        self._room += slots * 2 // 3 - len(self._table) * 2 // 3
        self._table, self._mask = table, mask
