"""Live streams: server-sent events for clients that read `GET /stream?connectKey=<key>`.

A module may use its name, the keys below it (`<name>/..`) and those that it declares in `streams`
of `module.json`. Other keys, `publish_all` and `close_all` need the grant `sse`.
"""

from __future__ import annotations

from typing import Any

from ._backend import backend
from ._current import caller
from ._errors import CallError
from ._imports import millis, opt_text, payload_of, text_of
from .types import Event

__all__ = ["close", "close_all", "count", "event", "publish", "publish_all"]

REACHES = ("everywhere", "this-node", "this-worker")


def event(
    data: Any = None,
    *,
    event: str | None = None,
    id: str | None = None,
    retry: float | None = None,
    comment: str | None = None,
) -> Event:
    """Creates an event. `event` is its type, and `retry` is in seconds."""
    return Event(payload_of(data), opt_text(event), opt_text(id), millis(retry), opt_text(comment))


def _event(value: Any) -> Event:
    return value if isinstance(value, Event) else event(value)


def _reach(reach: str) -> str:
    if reach not in REACHES:
        raise CallError("invalid", f"unknown reach `{reach}`: use {', '.join(REACHES)}")
    return reach


def publish(key: str, event: Any, *, reach: str = "everywhere") -> int:
    """Sends an event to every client of a key.

    `event` is `sse.event(..)` or its data. Returns the number of clients of this node that it is
    queued for. `reach` is `everywhere`, `this-node` or `this-worker`.
    """
    return backend().publish(caller(), text_of(key), _event(event), _reach(reach))


def publish_all(event: Any, *, reach: str = "everywhere") -> int:
    """Sends an event to the clients of all keys. Needs the grant `sse` for `*`."""
    return backend().publish_all(caller(), _event(event), _reach(reach))


def close(key: str, *, reach: str = "everywhere") -> int:
    """Closes the connections of a key after everything that is queued for them is sent."""
    return backend().close(caller(), text_of(key), _reach(reach))


def close_all(*, reach: str = "everywhere") -> int:
    """Closes the connections of all keys. Needs the grant `sse` for `*`."""
    return backend().close_all(caller(), _reach(reach))


def count(key: str | None = None) -> int:
    """Returns the number of open connections of a key on this node, or of all keys."""
    return backend().stream_count(opt_text(key))
