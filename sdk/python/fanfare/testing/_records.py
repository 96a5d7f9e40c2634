"""What a module has sent, as the host in memory records it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .._payload import Body, Payload
from ..types import Event


@dataclass(frozen=True)
class LogLine:
    """A line that the module has logged."""

    isolate: str
    level: str
    message: str
    fields: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Emitted(Body):
    """A broadcast that the module has emitted."""

    #: The module that declares the broadcast.
    module: str
    name: str
    payload: Payload


@dataclass(frozen=True)
class Published(Body):
    """An event that the module has published to live streams."""

    #: The key, or `None` for all keys.
    key: str | None
    event: Event
    reach: str
    #: The isolate that published it.
    isolate: str

    @property
    def payload(self) -> Payload:  # type: ignore[override]
        """The data of the event."""
        return self.event.data


@dataclass(frozen=True)
class EmittedEvent:
    """An event that the module has emitted."""

    type: str
    value: Any


@dataclass(frozen=True)
class Message(Body):
    """A message that the module has published to a broker, or to a channel."""

    #: `redis`, `redis.<name>`, `nats`, or `channel`.
    connection: str
    topic: str
    payload: Payload


@dataclass(frozen=True)
class Request(Body):
    """A request that the module has sent to another server."""

    method: str
    url: str
    headers: dict[str, str]
    payload: Payload
    timeout: float | None
