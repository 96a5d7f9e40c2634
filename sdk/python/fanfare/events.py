"""The event service: typed values that modules and processes outside exchange.

A module owns the types that begin with its name and a slash. Other types need the grant `events`.
"""

from __future__ import annotations

from typing import Any

from ._backend import backend
from ._current import caller
from ._imports import json_of, opt_text, text_of

__all__ = ["emit", "subscribe", "unsubscribe"]


def emit(type: str | None, value: Any = None) -> None:
    """Emits an event with a value that JSON can represent. Without a type, the type is `message`."""
    backend().emit_event(caller(), opt_text(type), None if value is None else json_of(value))


def subscribe(pattern: str | None, route: str) -> str:
    """Subscribes a route of this module, in this worker, to a type, to `prefix/*` or to `*`.

    Returns the name of the subscription, which outlasts swaps and crashes.
    """
    return backend().subscribe(caller(), opt_text(pattern), text_of(route))


def unsubscribe(subscription: str) -> None:
    """Ends a subscription that `subscribe` made in this worker."""
    backend().unsubscribe(caller(), text_of(subscription))
