"""A cloud bill from its file to stored events: rows a second."""

from __future__ import annotations

import csv
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figures import Figure
from tests.bench.stack import FINOPS, BenchStack
from tests.usage.importers.reading import FOCUS_ROW

ROWS = 200_000
SERVICES = 40
RESOURCES = 2_000


def bench_imports(stack: BenchStack) -> Iterator[Figure]:
    """Imports a FOCUS file by the command line, as its users do."""
    file = stack.data_dir / "bill.csv"
    _write(file)
    command: list[str | Path] = [
        *(FINOPS, "import", "focus", file, "--tenant", "bench-import"),
        *("--format", "json", "--data-dir", stack.data_dir),
    ]
    started = time.perf_counter()
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds = time.perf_counter() - started
    told = json.loads(shown.strip().splitlines()[-1])
    if told["accepted"] != ROWS:
        raise RuntimeError(f"the import ended with {told}")
    yield Figure("import_rows_per_second", ROWS / seconds, "rows/s", ROWS)


def _write(file: Path) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, [*FOCUS_ROW, "ResourceId"])
        writer.writeheader()
        for number in range(ROWS):
            row = FOCUS_ROW | {
                "BilledCost": f"{number % 977}.{number % 10**6:06d}",
                "ServiceName": f"Service {number % SERVICES}",
                "ResourceId": f"resource-{number % RESOURCES}",
                "Tags": json.dumps({"team": f"team-{number % 12}"}),
            }
            writer.writerow(row)
