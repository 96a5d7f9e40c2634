"""Calls routes of this module or of another one, and returns their outcomes.

A route is written `[METHOD ]module/path[?query]`, or with dots, `module.path`. A leading slash
stands for this module: `/main/offline`. A call to another module needs the grant `rpc`.
"""

from __future__ import annotations

from typing import Any

from ._backend import backend
from ._current import caller
from ._imports import millis, opt_text, payload_of, text_of
from .types import Entry, Group, Reply, Target

__all__ = [
    "ANY",
    "BROKERS",
    "CLUSTER",
    "MASTER",
    "NODES",
    "WORKERS",
    "broker",
    "call",
    "call_every",
    "channel",
    "node",
    "notify",
    "server",
    "servers",
    "session",
    "worker",
]

#: This worker when it can run the call now, otherwise the least loaded worker.
ANY = Target("any")
MASTER = Target("master")
#: Every worker of this node.
WORKERS = Group("workers")
#: Every broker of this node.
BROKERS = Group("brokers")
#: One worker of every node.
NODES = Group("nodes")
#: Every worker of every node.
CLUSTER = Group("cluster")


def worker(index: int) -> Target:
    """The worker with this index."""
    return Target("worker", index)


def broker(index: int) -> Target:
    """The broker with this index."""
    return Target("broker", index)


def node(id: str) -> Target:
    """Any worker of the node with this id."""
    return Target("node", id)


def server(type: str) -> Target:
    """One node of this server type."""
    return Target("server", type)


def channel(name: str) -> Target:
    """The broker that runs the routes of this channel."""
    return Target("channel", name)


def session(id: str) -> Target:
    """The worker that has the socket of this session."""
    return Target("session", id)


def servers(type: str) -> Group:
    """One worker of every node of this server type."""
    return Group("servers", type)


async def call(
    route: str,
    payload: Any = None,
    *,
    to: Target = ANY,
    timeout: float | None = None,
    subdomain: str | None = None,
) -> Reply:
    """Calls a route in one place and waits for its outcome. Raises `CallError`.

    `timeout` is in seconds. The default and the maximum is the time that the caller has left.
    """
    return await backend().call(
        caller(), to, text_of(route), payload_of(payload), millis(timeout), opt_text(subdomain)
    )


async def call_every(
    route: str,
    payload: Any = None,
    *,
    to: Group = WORKERS,
    timeout: float | None = None,
    subdomain: str | None = None,
) -> list[Entry]:
    """Calls a route in several places and waits for all outcomes, one entry per place."""
    return await backend().call_every(
        caller(), to, text_of(route), payload_of(payload), millis(timeout), opt_text(subdomain)
    )


def notify(
    route: str,
    payload: Any = None,
    *,
    to: Target | Group = ANY,
    timeout: float | None = None,
    subdomain: str | None = None,
) -> int:
    """Queues a call in one place or several. Returns the number of places that accepted it.

    The call has a deadline of its own: `timeout`, or `limits.timeout` of the module that it calls.
    """
    return backend().notify(
        caller(), to, text_of(route), payload_of(payload), millis(timeout), opt_text(subdomain)
    )
