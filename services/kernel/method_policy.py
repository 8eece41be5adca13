"""What the contracts say a method needs from its caller and leaves behind."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from finops.options.v1 import method_pb2
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from services.kernel.permissions import PUBLIC, granting
from services.kernel.validation import violations_of

POLICIES_CACHED: Final = 4096  # many times the methods of the suite
REQUEST_ID: Final = "request_id"
_PERMISSION = re.compile(r"public|[a-z_]+\.[a-z_]+")
# Probes and tools ask these before they have a credential.
_PUBLIC_PACKAGES: Final = ("grpc.health.", "grpc.reflection.")


class ContractIncomplete(RuntimeError):
    """A service cannot start, because its contract does not say who may call it."""


@dataclass(frozen=True, slots=True)
class MethodPolicy:
    """One method's policy. grants: holding any of them admits a caller."""

    method: str
    permission: str
    grants: frozenset[str]
    is_audited: bool
    is_idempotent: bool
    validates_items: bool
    request_type: type[Message]
    response_type: type[Message]

    @property
    def is_public(self) -> bool:
        """Whether the method admits callers without a credential."""
        return self.permission == PUBLIC

    @property
    def is_repeatable(self) -> bool:
        """Whether calling twice does no more than calling once."""
        return self.is_idempotent or not self.is_audited


@lru_cache(maxsize=POLICIES_CACHED)
def policy_of(method: str) -> MethodPolicy:
    """Returns the policy of a method by its path, `/package.Service/Method`.

    Raises KeyError when no loaded contract has the method, ContractIncomplete when it names no
    permission.
    """
    descriptor = _descriptor(method)
    options = descriptor.GetOptions().Extensions[method_pb2.method]
    permission = options.permission
    if descriptor.containing_service.full_name.startswith(_PUBLIC_PACKAGES):
        permission = PUBLIC
    if not permission:
        raise ContractIncomplete(
            f"{descriptor.full_name} has no permission; add to its contract: "
            'option (finops.options.v1.method) = {permission: "noun.verb"};'
        )
    if _PERMISSION.fullmatch(permission) is None:
        raise ContractIncomplete(
            f"{descriptor.full_name}: permission {permission!r} is neither `noun.verb` nor `public`"
        )
    if options.idempotent and REQUEST_ID not in descriptor.input_type.fields_by_name:
        raise ContractIncomplete(
            f"{descriptor.full_name} is idempotent, so its request needs a field `{REQUEST_ID}`"
        )
    return MethodPolicy(
        method=method,
        permission=permission,
        grants=granting(permission),
        is_audited=options.audit,
        is_idempotent=options.idempotent,
        validates_items=options.validates_items,
        request_type=message_factory.GetMessageClass(descriptor.input_type),
        response_type=message_factory.GetMessageClass(descriptor.output_type),
    )


def require_complete(services: Iterable[str]) -> None:
    """Checks services' contracts by full name, and compiles their validation rules.

    Raises ContractIncomplete, which names every method that is at fault, or protovalidate's
    CompilationError for a rule that makes no sense.
    """
    problems = []
    for name in services:
        for descriptor in descriptor_pool.Default().FindServiceByName(name).methods:
            try:
                policy = policy_of(f"/{name}/{descriptor.name}")
            except ContractIncomplete as problem:
                problems.append(str(problem))
            else:
                violations_of(policy.request_type())
    if problems:
        raise ContractIncomplete("\n".join(problems))


def _descriptor(method: str) -> MethodDescriptor:
    service, _, name = method.removeprefix("/").rpartition("/")
    return descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
