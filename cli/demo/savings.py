"""What the demo company could save: sizes to compare with, and a first run of the detectors."""

from __future__ import annotations

import csv
import io

from finops.optimizer.v1 import optimizer_messages_pb2, resource_service_pb2
from finops_sdk import AsyncClient
from google.api.httpbody_pb2 import HttpBody

from cli.demo import company

_CATALOGUE = "example-cloud"
# kind: family, virtual CPUs, memory in GiB, GPUs, reserved price an hour in USD. All invented.
_SIZES = {
    "general-8": ("general", 8, 32, 0, "0.26"),
    "memory-16": ("memory", 16, 128, 0, "0.71"),
    "gpu-1": ("gpu", 8, 64, 1, "2.05"),
}
# Half of a size above at half its price.
_SMALLER = {
    "general-4": ("general", 4, 16, 0, "0.192", "0.13"),
    "memory-4": ("memory", 4, 32, 0, "0.252", "0.18"),
}
_COLUMNS = (
    *("instance_type", "family", "provider", "vcpus", "memory_gib", "gpus"),
    *("hourly_price", "reserved_hourly_price"),
)


def catalogue() -> bytes:
    """Returns the invented provider's instance types as CSV."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for kind, (family, vcpus, memory, gpus, reserved) in _SIZES.items():
        price = company.MACHINE_PRICES[kind]
        writer.writerow((kind, family, _CATALOGUE, vcpus, memory, gpus, price, reserved))
    for kind, (family, *sizes) in _SMALLER.items():
        writer.writerow((kind, family, _CATALOGUE, *sizes))
    return text.getvalue().encode()


async def find_savings(client: AsyncClient) -> None:
    """Loads the sizes, and starts the detectors over the usage that is loaded."""
    await client.resources.ImportCatalogue(
        resource_service_pb2.ImportCatalogueRequest(
            tenant_id=company.TENANT,
            catalogue_id=_CATALOGUE,
            content=HttpBody(content_type="text/csv", data=catalogue()),
        )
    )
    await client.optimizer.GenerateRecommendations(
        optimizer_messages_pb2.GenerateRecommendationsRequest(tenant_id=company.TENANT)
    )
