"""`finops anomalies`: finds unusual values in any series of a CSV file, as the service does."""

from __future__ import annotations

import csv
import json
import math
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.forecast import FileFormat
from cli.series_file import read_rows
from services.reporting.domain.anomaly.detector import THRESHOLD, Detector

app = typer.Typer()
COLUMNS = ("group", "time", "value", "score", "is_anomaly", "expected", "lower", "upper")


@app.command()
def anomalies(
    path: Annotated[Path, typer.Option("--csv", help="File with the series.")],
    time: Annotated[str, typer.Option("--time", help="Column of times, ascending in a series.")],
    value: Annotated[str, typer.Option("--value", help="Column of values.")],
    *,
    group: Annotated[str | None, typer.Option("--group", help="Column that names series.")] = None,
    threshold: Annotated[
        float, typer.Option("--threshold", help="Score of an anomaly.", min=0, max=1)
    ] = THRESHOLD,
    file_format: Annotated[FileFormat, typer.Option("--format", help="csv or json.")] = (
        FileFormat.CSV
    ),
) -> None:
    """Scores every row of a file from 0 to 1, each by the rows before it alone."""
    detectors: dict[str, Detector] = {}
    writer = csv.writer(sys.stdout, lineterminator="\n")
    if file_format is FileFormat.CSV:
        writer.writerow(COLUMNS)
    for row in read_rows(path, time_column=time, value_column=value, group_column=group):
        if row.group not in detectors:
            detectors[row.group] = Detector(threshold=threshold)
        cells: list[object] = [row.group, row.time_text]
        if math.isnan(row.value):
            cells += ["", 0.0, False, "", "", ""]
        else:
            found = detectors[row.group].judge(row.time, row.value)
            cells += [f"{row.value:.10g}", f"{found.score:.6f}", found.is_anomaly]
            cells += [f"{each:.10g}" for each in (found.expected, found.lower, found.upper)]
        if file_format is FileFormat.CSV:
            writer.writerow(
                [str(each).lower() if each in (True, False) else each for each in cells]
            )
        else:
            sys.stdout.write(json.dumps(dict(zip(COLUMNS, cells, strict=True))) + "\n")
