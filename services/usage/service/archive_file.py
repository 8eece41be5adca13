"""Archive files: Parquet with every column as text, so that decimals keep their digits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


async def write(
    path: Path, columns: Sequence[str], batches: AsyncIterator[Sequence[tuple[str, ...]]]
) -> int:
    """Writes batches of rows to a new file and returns how many rows they had."""
    schema = pa.schema([pa.field(name, pa.string()) for name in columns])
    count = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        async for rows in batches:
            writer.write_table(pa.table(list(zip(*rows, strict=True)), schema=schema))
            count += len(rows)
    return count


def count_rows(path: Path) -> int:
    """Returns how many rows a whole file holds, by reading its footer."""
    with pq.ParquetFile(path) as file:
        rows: int = file.metadata.num_rows
    return rows
