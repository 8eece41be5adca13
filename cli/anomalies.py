"""`finops anomalies`: lists unusual cost, or finds it in any series of a CSV file."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from finops.reporting.v1.anomaly_model_pb2 import Anomaly, AnomalySeverity, AnomalyState
from finops.reporting.v1.reporting_messages_pb2 import ListAnomaliesRequest

from cli.connection import open_connection
from cli.errors import UsageError
from cli.forecast import FileFormat
from cli.options import DEFAULT_DATA_DIR, DataDir, Filter, Limit, Tenant, Url
from cli.output import Format, Output
from cli.recommendation_output import lower, money_text
from cli.series_file import Row, read_rows
from cli.times import utc_text
from services.reporting.domain.anomaly.detector import THRESHOLD, Detector

app = typer.Typer()
LISTED = ("anomaly_id", "start", "severity", "state", "impact", "what", "why")
COLUMNS = ("group", "time", "value", "score", "is_anomaly", "expected", "lower", "upper")


@app.command()
def anomalies(
    path: Annotated[
        Path | None,
        typer.Option("--csv", help="File with the series. [default: what the suite found]"),
    ] = None,
    time: Annotated[
        str, typer.Option("--time", help="Column of times, ascending in a series.")
    ] = "",
    value: Annotated[str, typer.Option("--value", help="Column of values.")] = "",
    *,
    group: Annotated[str | None, typer.Option("--group", help="Column that names series.")] = None,
    threshold: Annotated[
        float, typer.Option("--threshold", help="Score of an anomaly in a file.", min=0, max=1)
    ] = THRESHOLD,
    filter_text: Filter = "",
    limit: Limit = 50,
    tenant: Tenant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    url: Url = "",
    form: Annotated[
        Format | None, typer.Option("--format", help="table, csv or json. [default: csv of a file]")
    ] = None,
) -> None:
    """Lists anomalies of cost, or scores every row of a file by the rows before it alone."""
    if path is not None:
        if not time or not value:
            raise UsageError("Say which columns of the file hold what: --time COL --value COL")
        rows = read_rows(path, time_column=time, value_column=value, group_column=group)
        file_format = FileFormat.JSON if form is Format.JSON else FileFormat.CSV
        _score(rows, threshold, file_format)
        return
    if time or value or group:
        raise UsageError("--time, --value and --group go with --csv FILE")
    with open_connection(data_dir, url, tenant) as connection:
        request = ListAnomaliesRequest(tenant_id=connection.tenant, filter=filter_text)
        call = connection.client.asynchronous.anomalies.ListAnomalies
        found = connection.collect(call, request, lambda page: page.anomalies, limit=limit)
    output = Output(form or Format.TABLE)
    output.rows(LISTED, [_row(one) for one in found], content=found, fold=True)


def _row(one: Anomaly) -> tuple[object, ...]:
    return (
        one.anomaly_id,
        utc_text(one.period.start_time),
        lower(AnomalySeverity.Name(one.severity), "ANOMALY_SEVERITY_"),
        lower(AnomalyState.Name(one.state), "ANOMALY_STATE_"),
        money_text(one.impact),
        one.message,
        one.causes[0].description if one.causes else "",
    )


def _score(rows: Iterable[Row], threshold: float, file_format: FileFormat) -> None:
    detectors: dict[str, Detector] = {}
    writer = csv.writer(sys.stdout, lineterminator="\n")
    if file_format is FileFormat.CSV:
        writer.writerow(COLUMNS)
    for row in rows:
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
