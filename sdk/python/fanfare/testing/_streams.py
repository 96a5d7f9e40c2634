"""Live streams of the host in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .. import types
from .._backend import Caller
from .._errors import CallError
from .._payload import to_json
from ._records import Published

if TYPE_CHECKING:
    from ._node import Node

# The most bytes of a key, as in the real host.
_LONGEST_KEY = 256


class Refused(Exception):
    """Why a stream did not open: the reply of the route that admits readers, or the error of its call."""

    def __init__(self, *, reply: types.Reply | None = None, error: CallError | None = None) -> None:
        super().__init__(str(error) if error else f"the route replied with {reply and reply.status}")
        self.reply = reply
        self.error = error

    @property
    def status(self) -> int:
        """The status of the response that the client would receive."""
        if self.error is not None:
            return self.error.into_failure().status
        return self.reply.status if self.reply else 0


@dataclass
class _Open:
    worker: int
    key: str
    events: list[types.Event] = field(default_factory=list)
    open: bool = True


class Reader:
    """An open stream. As a context manager it closes at the end."""

    def __init__(self, node: Node, stream: _Open) -> None:
        self._node, self._stream = node, stream

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the stream, as a client does that leaves."""
        self._stream.open = False

    @property
    def events(self) -> list[types.Event]:
        """The events received so far, in order."""
        return self._stream.events

    @property
    def is_open(self) -> bool:
        """Whether neither side has closed the stream."""
        return self._stream.open


def _check_key(key: str | None) -> None:
    if key is not None and (len(key.encode()) > _LONGEST_KEY or any(ord(letter) < 32 for letter in key)):
        raise CallError(
            "invalid",
            f"a stream key has at most {_LONGEST_KEY} bytes and no control characters, found {key!r}",
        )


def _check_event(event: types.Event) -> None:
    def breaks(text: str | None) -> bool:
        return text is not None and any(letter in text for letter in "\r\n\0")

    if isinstance(event.data, bytes):
        try:
            event.data.decode()
        except UnicodeDecodeError:
            raise CallError("invalid", "the data of an event must be UTF-8") from None
    if breaks(event.event):
        raise CallError("invalid", "the type of an event must have no line break")
    if breaks(event.id):
        raise CallError("invalid", "the id of an event must have no line break")


class Streams:
    """The live streams of a host."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self._streams: list[_Open] = []

    def readers(self, key: str | None, worker: int | None = None) -> list[_Open]:
        """Returns the open streams of a key, or all of them; those of one worker, or of all."""
        self._streams = [one for one in self._streams if one.open]
        return [
            one for one in self._streams if key in (None, one.key) and worker in (None, one.worker)
        ]

    async def open(
        self,
        key: str,
        worker: int,
        last_event_id: str | None,
        subdomain: str | None,
        headers: list[tuple[str, str]],
    ) -> Reader:
        """Asks the route that admits the readers of a key. Raises `Refused`."""
        try:
            if worker >= len(self.node.workers):
                raise CallError("not-found", f"there is no worker-{worker}")
            _check_key(key)
            route = self.node.manifest.admitting_route(key)
            if route is not None:
                data = to_json({"key": key, "lastEventId": last_event_id})
                call = self.node.to(
                    route,
                    worker,
                    types.Other("stream", data),
                    types.Origin("client"),
                    None,
                    headers=headers,
                    path="/stream",
                    subdomain=subdomain,
                )
                ended = await self.node.outcome(call)
                if isinstance(ended, types.Reply) and ended.status >= 300:
                    raise Refused(reply=ended)
        except CallError as error:
            raise Refused(error=error) from None
        stream = _Open(worker, key)
        self._streams.append(stream)
        return Reader(self.node, stream)


class StreamImports:
    """The functions of `sse`."""

    node: Node

    def _reached(self, caller: Caller, key: str | None, reach: str) -> list[_Open]:
        worker = self.node.worker_of(caller) if reach == "this-worker" else None
        return self.node.streams.readers(key, worker)

    def _publish_event(self, caller: Caller, key: str | None, event: types.Event, reach: str) -> int:
        _check_key(key)
        _check_event(event)
        isolate = f"worker-{self.node.worker_of(caller)}"
        self.node.published.append(Published(key, event, reach, isolate))
        reached = self._reached(caller, key, reach)
        for reader in reached:
            reader.events.append(event)
        return len(reached)

    def publish(self, caller: Caller, key: str, event: types.Event, reach: str) -> int:
        return self._publish_event(caller, key, event, reach)

    def publish_all(self, caller: Caller, event: types.Event, reach: str) -> int:
        return self._publish_event(caller, None, event, reach)

    def _close_streams(self, caller: Caller, key: str | None, reach: str) -> int:
        _check_key(key)
        reached = self._reached(caller, key, reach)
        for reader in reached:
            reader.open = False
        return len(reached)

    def close(self, caller: Caller, key: str, reach: str) -> int:
        return self._close_streams(caller, key, reach)

    def close_all(self, caller: Caller, reach: str) -> int:
        return self._close_streams(caller, None, reach)

    def stream_count(self, key: str | None) -> int:
        return len(self.node.streams.readers(key))
