"""Messages to brokers outside, such as Redis."""

from __future__ import annotations

from typing import Any

from ._backend import backend
from ._current import caller
from ._imports import payload_of, text_of

__all__ = ["publish"]


def publish(connection: str, topic: str, payload: Any = None) -> None:
    """Queues a message for a topic of a connection, and returns at once. Needs the grant `publish`.

    `connection` is `redis` for the connection `default` of `fanfare.json`, `redis.<name>` for any
    other, and `nats` for NATS.
    """
    backend().publish_message(caller(), text_of(connection), text_of(topic), payload_of(payload))
