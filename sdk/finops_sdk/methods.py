"""What the contracts say about each method: messages, REST route, whether it may be repeated."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message

_VERBS = ("get", "put", "post", "delete", "patch")


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC. path: as `/finops.usage.v1.UsageService/QueryCosts`. verb: empty without a route."""

    path: str
    response_class: type[Message]
    takes_stream: bool
    gives_stream: bool
    has_request_id: bool
    verb: str
    template: str
    body: str
    response_body: str

    @property
    def service(self) -> str:
        """Name of the service that owns the method, for example `usage`."""
        return self.path.split(".")[1]

    @property
    def is_repeatable(self) -> bool:
        """Whether a second call with the same request has no second effect.

        Reads, methods with a `request_id`, and everything that names what it changes by an id; not
        the creation of something whose id the service makes.
        """
        if self.verb == "GET" or self.has_request_id:
            return True
        return not self.path.rpartition("/")[2].startswith("Create")


@cache
def method_at(path: str) -> Method:
    """Returns the method of a gRPC path whose generated module is imported. Raises KeyError."""
    name = path.strip("/").replace("/", ".")
    found = descriptor_pool.Default().FindMethodByName(name)
    options = found.GetOptions()
    rule = http_pb2.HttpRule()
    if options.HasExtension(annotations_pb2.http):
        rule.CopyFrom(options.Extensions[annotations_pb2.http])
    verb = next((verb for verb in _VERBS if getattr(rule, verb)), "")
    return Method(
        path=path,
        response_class=message_factory.GetMessageClass(found.output_type),
        takes_stream=found.client_streaming,
        gives_stream=found.server_streaming,
        has_request_id="request_id" in found.input_type.fields_by_name,
        verb=verb.upper(),
        template=getattr(rule, verb) if verb else "",
        body=rule.body,
        response_body=rule.response_body,
    )
