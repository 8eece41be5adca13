"""Real traces and catalogues as the detectors see them."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from services.optimizer.domain.catalogue import Catalogue, InstanceType
from services.optimizer.domain.catalogue_file import read_catalogue
from services.optimizer.domain.statistics import Floats, UtilizationSamples

HOUR = 3600.0
KIB_PER_GIB = 1024 * 1024


class Machine(NamedTuple):
    """A virtual machine of the Bitbrains trace; ratios are of its capacity."""

    name: str
    cores: Decimal
    memory_gib: Decimal
    hours: Floats
    cpu: Floats
    memory: Floats

    def half(self, *, is_first: bool) -> dict[str, UtilizationSamples]:
        """The samples of one half of the trace."""
        middle = (self.hours[0] + self.hours[-1]) / 2
        chosen = self.hours < middle if is_first else self.hours >= middle
        return {
            name: UtilizationSamples(self.name, name, self.hours[chosen], ratios[chosen])
            for name, ratios in (("cpu", self.cpu), ("memory", self.memory))
        }


def machines(path: Path) -> Iterator[Machine]:
    """Yields the machines; memory is over the median capacity, whose samples are partly wrong."""
    table = pq.read_table(path)
    columns = {name: table[name].to_numpy() for name in table.column_names}
    for number in np.unique(columns["vm_id"]):
        mine = columns["vm_id"] == number
        seconds = columns["timestamp_s"][mine].astype(float)
        capacity = float(np.median(columns["mem_capacity_kb"][mine]))
        yield Machine(
            str(number),
            Decimal(int(np.median(columns["cpu_cores"][mine]))),
            Decimal(str(round(capacity / KIB_PER_GIB, 6))),
            (seconds - seconds[0]) / HOUR,
            columns["cpu_usage_pct"][mine].astype(float) / 100,
            columns["mem_usage_kb"][mine].astype(float) / capacity,
        )


class Pod(NamedTuple):
    """A GPU pod of the Alibaba trace; a missing sample is no number."""

    name: str
    hours: Floats
    gpu: Floats
    memory_gib: Floats


def pods(path: Path) -> Iterator[Pod]:
    table = pq.read_table(path)
    columns = {
        name: table[name].to_numpy(zero_copy_only=False).astype(float)
        for name in table.column_names
    }
    for number in np.unique(columns["pod"]):
        mine = columns["pod"] == number
        seconds = columns["timestamp_anon"][mine]
        yield Pod(
            str(int(number)),
            (seconds - seconds.min()) / HOUR,
            columns["gpu_util_pct"][mine] / 100,
            columns["gpu_mem_bytes"][mine] / 2**30,
        )


def aws_catalogue(path: Path) -> Catalogue:
    return Catalogue(read_catalogue(path.read_bytes(), catalogue_id="aws-us-east-1").types)


def current_type(machine: Machine, catalogue: Catalogue) -> InstanceType:
    """The cheapest current x86 type that the machine fits into, with the machine's own size."""
    fitting = [
        one
        for one in catalogue.types
        if one.vcpus >= machine.cores
        and one.memory_gib >= machine.memory_gib
        and one.architecture == "x86"
        and one.is_current
        and not one.gpus
    ]
    return min(fitting, key=lambda one: (one.hourly_price, one.name))


def rows(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt") as file:
        yield from csv.DictReader(file)
