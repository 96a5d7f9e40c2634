"""Calls of the host in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from .. import types
from .._payload import Payload
from ._manifest import Matched


@dataclass
class Running:
    """What the host knows of a call."""

    worker: int
    depth: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    path: str | None = None
    session: str | None = None
    subdomain: str | None = None


@dataclass
class Spec:
    """A call that is about to start."""

    worker: int
    matched: Matched
    trigger: types.Trigger
    origin: types.Origin
    query: str = ""
    payload: Payload = None
    depth: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    path: str | None = None
    session: str | None = None
    subdomain: str | None = None
    extra: list[tuple[str, str]] = field(default_factory=list)
