"""The services that are installed, and the environment each process gets."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import services
from cli.stack.keys import StackKeys
from services.kernel.migrate import service_role, service_url, worker_role

_ORDER = ("usage", "budget", "billing", "optimizer", "reporting")  # each calls only those before
_FIRST_PORT = 50051
_SECRETS = (
    "FINOPS_DATABASE_URL",
    "FINOPS_READ_DATABASE_URL",
    "FINOPS_WORKER_DATABASE_URL",
    "FINOPS_TOKEN",
)


def service_names() -> list[str]:
    """Returns every service that can run, in the order in which they depend on each other."""
    found = {
        path.parent.name
        for folder in services.__path__
        for path in Path(folder).glob("*/__main__.py")
    }
    return in_order(found)


def in_order(names: Iterable[str]) -> list[str]:
    """Returns names of processes in the order in which they start, the gateway last."""
    return sorted(names, key=lambda name: (name == "gateway", _rank(name), name))


def _rank(name: str) -> int:
    return _ORDER.index(name) if name in _ORDER else len(_ORDER)


def default_port(name: str) -> int:
    """Returns the port a service takes when it is free: 50051 for usage, then one more each."""
    return _FIRST_PORT + _rank(name)


def describe(name: str) -> str:
    """Returns the first sentence of the service's own description."""
    text = importlib.import_module(f"services.{name}").__doc__ or ""
    return text.strip().partition("\n")[0]


def _inherited() -> dict[str, str]:
    """Returns this process's environment without what only some processes may know."""
    return {key: value for key, value in os.environ.items() if key not in _SECRETS}


def service_environment(
    name: str,
    *,
    data_dir: Path,
    owner_url: str,
    redis_url: str,
    keys: StackKeys,
    port: int,
    metrics_port: int,
    peers: Mapping[str, str],
    public_url: str = "",
) -> dict[str, str]:
    """Returns the environment of one service: its own two database roles and the shared secrets.

    public_url: where people reach the REST API; empty leaves it to the service.
    """
    role_url = service_url(owner_url, service_role(name), keys.role_secret)
    environment = {
        "FINOPS_DATABASE_URL": role_url,
        "FINOPS_WORKER_DATABASE_URL": service_url(owner_url, worker_role(name), keys.role_secret),
        "FINOPS_LISTEN": f"127.0.0.1:{port}",
        "FINOPS_METRICS_LISTEN": f"127.0.0.1:{metrics_port}",
        "FINOPS_JWT_SECRET": keys.jwt_secret,
        "FINOPS_SERVICE_TOKEN_SECRET": keys.service_token_secret,
        "FINOPS_ENCRYPTION_KEYS": keys.encryption_keys,
        "FINOPS_PEERS": json.dumps(peers),
    }
    if redis_url:
        environment["FINOPS_REDIS_URL"] = redis_url
    defaults = {"FINOPS_ARCHIVE_DIR": str(data_dir / "archive")}
    if public_url:
        defaults["FINOPS_PUBLIC_URL"] = public_url
    return defaults | _inherited() | environment


def gateway_environment(*, redis_url: str, port: int, peers: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment of the gateway, which needs no secret but the cache's address."""
    environment = {
        "FINOPS_GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "FINOPS_PEERS": json.dumps(peers),
    }
    if redis_url:
        environment["FINOPS_REDIS_URL"] = redis_url
    return _inherited() | environment
