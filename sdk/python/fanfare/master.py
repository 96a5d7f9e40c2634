"""The host as its guests see it: its options, and messages to the embedding program."""

from __future__ import annotations

from typing import Any

from ._backend import backend
from ._current import caller
from ._imports import millis, payload_of, text_of
from ._payload import Payload, from_json

__all__ = ["options", "post", "send"]


def options(pointer: str = "", default: Any = None) -> Any:
    """Returns the host's option at a JSON Pointer such as `/environment`, or the default."""
    text = backend().options(text_of(pointer))
    return default if text is None else from_json(text)


def post(payload: Any = None) -> None:
    """Sends a message to the embedding program, and returns without waiting for its reply."""
    backend().post(caller(), payload_of(payload))


async def send(payload: Any = None, *, timeout: float | None = None) -> Payload:
    """Sends a message to the embedding program and returns its reply.

    When it does not listen, the hook `workerMessage` or `brokerMessage` receives the message.
    """
    return await backend().send(caller(), payload_of(payload), millis(timeout))
