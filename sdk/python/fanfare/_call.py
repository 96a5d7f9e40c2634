"""The call that a handler receives."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from . import types
from ._backend import backend
from ._errors import Failure
from ._payload import Body, Payload

if TYPE_CHECKING:
    from .sessions import Session


class Query(Mapping[str, str]):
    """The decoded query. A name that the query has twice maps to its first value."""

    def __init__(self, text: str) -> None:
        self.pairs = parse_qsl(text, keep_blank_values=True, errors="replace")
        self._first: dict[str, str] = {}
        for name, value in self.pairs:
            self._first.setdefault(name, value)

    def all(self, name: str) -> list[str]:
        """Returns every value of a name, in order."""
        return [value for other, value in self.pairs if other == name]

    def __getitem__(self, name: str) -> str:
        return self._first[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._first)

    def __len__(self) -> int:
        return len(self._first)

    def __repr__(self) -> str:
        return f"Query({self.pairs!r})"


@dataclass(frozen=True)
class StreamRequest:
    """A client that asks to open a live stream."""

    #: The key of the stream. `""` without a key.
    key: str
    last_event_id: str | None


class Call(Body):
    """One run of one route. Every handler receives it.

    `text`, `bytes` and `json` read the body. A body that they cannot read refuses the call with the
    status 400.
    """

    def __init__(
        self,
        *,
        id: int,
        handler: str,
        trigger: types.Trigger,
        origin: types.Origin,
        subdomain: str | None = None,
        deadline_ms: int = 0,
        params: list[tuple[str, str]] | None = None,
        query: str = "",
        payload: Payload = None,
        extra: list[tuple[str, str]] | None = None,
    ) -> None:
        #: The number of the call, which is unique on its node.
        self.id = id
        #: The name of the running handler.
        self.handler = handler
        #: What caused the call.
        self.trigger = trigger
        #: Who made the call.
        self.origin = origin
        #: The tenant that the call belongs to. `None` without a tenant.
        self.subdomain = subdomain
        #: The milliseconds that were left when the call started.
        self.deadline_ms = deadline_ms
        #: The values of the `{name}` segments of the route's path, decoded.
        self.params: dict[str, str] = dict(params or [])
        #: The query without its `?`, not decoded.
        self.query_string = query
        #: The body: `None`, text or bytes.
        self.payload = payload
        #: Facts that middlewares passed on, each named `<module>.<name>`.
        self.extra: dict[str, str] = dict(extra or [])
        self._query: Query | None = None

    def __repr__(self) -> str:
        return f"Call(id={self.id}, handler={self.handler!r}, trigger={self.trigger!r})"

    @property
    def json(self) -> Any:
        """The body parsed as JSON."""
        if self.payload is None:
            raise Failure.bad_request("invalid-body", "the body is empty, and this route expects JSON")
        return super().json

    @property
    def query(self) -> Query:
        """The decoded query: `call.query.get("page")`, `call.query.all("tag")`."""
        if self._query is None:
            self._query = Query(self.query_string)
        return self._query

    @property
    def method(self) -> str | None:
        """The method of the HTTP request, in capital letters. `None` for another trigger."""
        return self.trigger.method if isinstance(self.trigger, types.Http) else None

    @property
    def broadcast(self) -> types.Broadcast | None:
        """The broadcast, if one caused the call."""
        return self.trigger if isinstance(self.trigger, types.Broadcast) else None

    @property
    def schedule(self) -> types.Schedule | None:
        """The schedule, if one caused the call."""
        return self.trigger if isinstance(self.trigger, types.Schedule) else None

    @property
    def subscription(self) -> types.Subscription | None:
        """The subscription, if one caused the call."""
        return self.trigger if isinstance(self.trigger, types.Subscription) else None

    @property
    def client(self) -> types.ClientMessage | None:
        """The message of a client, if one caused the call."""
        return self.trigger if isinstance(self.trigger, types.ClientMessage) else None

    @property
    def channel(self) -> types.ChannelEvent | None:
        """The action on a channel, if one caused the call."""
        return self.trigger if isinstance(self.trigger, types.ChannelEvent) else None

    @property
    def hook(self) -> types.Hook | None:
        """The event of the host, if one caused the call."""
        return self.trigger if isinstance(self.trigger, types.Hook) else None

    @property
    def startup(self) -> types.Startup | None:
        """The startup, if one caused the call."""
        return self.trigger if isinstance(self.trigger, types.Startup) else None

    @property
    def stream(self) -> StreamRequest | None:
        """The request of a client for a live stream, if one caused the call."""
        trigger = self.trigger
        if not isinstance(trigger, types.Other) or trigger.name != "stream":
            return None
        data = json.loads(trigger.data)
        return StreamRequest(data.get("key") or "", data.get("lastEventId"))

    @property
    def session(self) -> Session | None:
        """The session that the call belongs to. Asks the host."""
        from . import sessions

        record = backend().current_session(self.id)
        return None if record is None else sessions.of(record)

    def header(self, name: str) -> str | None:
        """Returns the first value of a header field of the HTTP request. Asks the host."""
        values = backend().header(self.id, name)
        return values[0] if values else None

    @property
    def headers(self) -> dict[str, str]:
        """The header fields of the HTTP request, with names in lower case. Asks the host.

        The values of a field that arrived twice are joined with a comma. `http.headers()` has them
        as they arrived.
        """
        fields: dict[str, str] = {}
        for name, value in backend().headers(self.id):
            fields[name] = f"{fields[name]}, {value}" if name in fields else value
        return fields

    @property
    def head(self) -> types.RequestHead | None:
        """Path, scheme, host and peer of the HTTP request. Asks the host."""
        return backend().head(self.id)
