"""Real traces and catalogues as the detectors see them."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow.parquet as pq

from services.kernel.period import Period
from services.optimizer.domain.catalogue import Catalogue, InstanceType
from services.optimizer.domain.catalogue_file import read_catalogue
from services.optimizer.domain.statistics import Floats, Statistics, UtilizationSamples
from tests.optimizer.domain.making import series

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


def rented(known: Sequence[Pod]) -> Statistics:
    """The pods as usage by the hour, each at the price of a whole GPU; half a one can be had.

    Their traces hold a day at most, which repeats for eight: advice waits for a week.
    """
    days = 8
    members, samples = [], []
    for number, pod in enumerate(known, 1):
        tags = {"instance_type": "gpu.whole"}
        paid = np.full(days * 24, 4.0)
        members.append(
            series(number, paid, resource_id=pod.name, resource_type="gpu", region="cn", tags=tags)
        )
        hours = np.concatenate([pod.hours + day * 24 for day in range(days)])
        samples.append(UtilizationSamples(pod.name, "gpu", hours, np.tile(pod.gpu, days)))
    whole = InstanceType(
        name="gpu.whole",
        family="gpu",
        provider="",
        region="cn",
        vcpus=Decimal(8),
        memory_gib=Decimal(48),
        gpus=Decimal(1),
        hourly_price=Decimal(4),
        currency_code="USD",
    )
    half = replace(whole, name="gpu.half", gpus=Decimal("0.5"), hourly_price=Decimal("2.2"))
    start = datetime(2026, 1, 5, tzinfo=UTC)
    return Statistics(
        period=Period(start, start + timedelta(days=days)),
        tz=ZoneInfo("UTC"),
        currency_code="USD",
        series=members,
        utilization=samples,
        catalogue=Catalogue([whole, half]),
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


def hosted(known: Sequence[Machine], catalogue: Catalogue, *, is_half: bool) -> Statistics:
    """The machines as usage by the hour, over their traces or the first half of each.

    Beside the catalogue is a type of each machine's own size and family, at the price of the
    cheapest type that it fits into, so that nothing is paid for what it does not have.
    """
    hours = int(max(one.hours[-1] for one in known)) + 1
    hours = -(-hours // (48 if is_half else 24)) * 24
    own, members = [], []
    samples: list[UtilizationSamples] = []
    for number, machine in enumerate(known, 1):
        current = current_type(machine, catalogue)
        mine = replace(
            current,
            name=f"own-{machine.name}",
            family=f"own-{machine.name}",
            vcpus=machine.cores,
            memory_gib=machine.memory_gib,
            is_current=False,
        )
        own.append(mine)
        members.append(
            series(
                number,
                np.full(hours, float(current.hourly_price)),
                resource_id=machine.name,
                provider=current.provider,
                region=current.region,
                tags={"instance_type": mine.name},
            )
        )
        if is_half:
            samples += machine.half(is_first=True).values()
        else:
            samples += [
                UtilizationSamples(machine.name, "cpu", machine.hours, machine.cpu),
                UtilizationSamples(machine.name, "memory", machine.hours, machine.memory),
            ]
    start = datetime(2013, 8, 12, tzinfo=UTC)
    return Statistics(
        period=Period(start, start + timedelta(hours=hours)),
        tz=ZoneInfo("UTC"),
        currency_code="USD",
        series=members,
        utilization=samples,
        catalogue=Catalogue([*catalogue.types, *own]),
    )


def rows(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt") as file:
        yield from csv.DictReader(file)
