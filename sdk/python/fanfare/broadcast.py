"""Broadcasts: a call to the same inner route in every worker."""

from __future__ import annotations

from typing import Any

from ._backend import backend
from ._current import caller
from ._imports import millis, opt_text, payload_of, text_of
from .types import Entry, Receipt

__all__ = ["emit", "emit_durable", "gather", "reload"]


def emit(
    name: str, payload: Any = None, *, module: str | None = None, subdomain: str | None = None
) -> Receipt:
    """Queues a broadcast in every worker, or in none. Returns without waiting for the handlers.

    The broadcast of another module needs the grant `broadcast`.
    """
    return backend().emit(caller(), opt_text(module), text_of(name), opt_text(subdomain), payload_of(payload))


async def emit_durable(
    name: str, payload: Any = None, *, module: str | None = None, subdomain: str | None = None
) -> Receipt:
    """Emits a broadcast with `"delivery": "durable"` in the manifest.

    Returns when the stream of the cluster has it: from then on every node with the module runs it,
    also one that is away now.
    """
    return await backend().emit_durable(
        caller(), opt_text(module), text_of(name), opt_text(subdomain), payload_of(payload)
    )


async def gather(
    name: str,
    payload: Any = None,
    *,
    module: str | None = None,
    subdomain: str | None = None,
    timeout: float | None = None,
) -> list[Entry]:
    """Emits a broadcast, then waits for all workers. Returns one entry per worker, in index order.

    `timeout` is in seconds. The default and the maximum is the time that the call has left.
    """
    return await backend().gather(
        caller(), opt_text(module), text_of(name), opt_text(subdomain), payload_of(payload), millis(timeout)
    )


def reload(module: str | None = None) -> Receipt:
    """Requests a reload of a module, or of all modules, as `fanfare reload` does.

    Returns without waiting. Needs the grant `reload`, and fails in a startup.
    """
    return backend().reload(caller(), opt_text(module))
