"""The part of a manifest that the host in memory reads, and how it finds the route of a path."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote

from .._errors import CallError

_TOKENS = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/|,(?=(?:\s|//[^\n]*|/\*.*?\*/)*[}\]])', re.DOTALL)

T = TypeVar("T")
# The host decides about these middlewares before it queues the call.
BUILT_IN = ("inner", "session", "test", "cors")


def read_jsonc(text: str) -> Any:
    """Parses JSON with comments and trailing commas."""
    return json.loads(_TOKENS.sub(lambda match: match[0] if match[0].startswith('"') else " ", text))


@dataclass(frozen=True)
class Asked:
    """A route as a caller writes it: `[METHOD ]path[?query]`."""

    method: str | None
    path: str
    query: str

    @classmethod
    def parse(cls, text: str) -> Asked:
        """Reads the text."""
        method, space, rest = text.partition(" ")
        if not space:
            method, rest = "", text
        path, _, query = rest.partition("?")
        return cls(method.upper() or None, path, query)


@dataclass(frozen=True)
class Route:
    """One entry in `routes`."""

    method: str | None
    path: str
    handler: str
    middlewares: tuple[str, ...]

    @property
    def chain(self) -> list[str]:
        """The middlewares that are routes."""
        return [name for name in self.middlewares if name not in BUILT_IN]


def _params(pattern: str, segments: list[str]) -> list[tuple[str, str]] | None:
    """Returns the values of the `{name}` segments, or `None` if the path is another one."""
    parts = pattern.split("/")
    if len(parts) != len(segments):
        return None
    params = []
    for part, segment in zip(parts, segments):
        if part.startswith("{") and part.endswith("}"):
            if not segment:
                return None
            params.append((part[1:-1], segment))
        elif part != segment:
            return None
    return params


def _shape(path: str) -> list[bool]:
    """Which segments are parameters. The least is the most exact path."""
    return [part.startswith("{") for part in path.split("/")]


@dataclass(frozen=True)
class Matched:
    """The route of a request, with its parameters."""

    route: Route
    method: str
    params: list[tuple[str, str]]


@dataclass(frozen=True)
class Socket:
    """The socket that a plain WebSocket asked for."""

    pattern: str
    module: str
    """The module of the route. Empty for the module itself."""
    route: str
    params: list[tuple[str, str]]
    query: str


@dataclass(frozen=True)
class ChannelEntry:
    """One entry in `channels`."""

    path: str | None
    on: tuple[str, ...]
    #: How many messages the channel keeps.
    kept: int
    presence: bool
    envelope: bool

    def asks(self, action: str) -> str | None:
        """The route, if it decides about this action."""
        return self.path if action in self.on else None


def _channel(entry: dict[str, Any]) -> ChannelEntry:
    history = entry.get("history", 0)
    kept = history.get("count", 100) if isinstance(history, dict) else history
    on = tuple(entry.get("on", ("subscribe", "unsubscribe", "publish")))
    presence, envelope = entry.get("presence", False), entry.get("envelope", False)
    return ChannelEntry(entry.get("path"), on, kept, presence, envelope)


def _best(patterns: dict[str, T], name: str) -> T | None:
    """Returns the value for a name: its own, or that of the pattern `prefix/*` with the longest prefix."""
    parts = name.split("/")
    names = ("/".join([*parts[:size], "*"]) for size in range(len(parts) - 1, 0, -1))
    return next((patterns[one] for one in (name, *names) if one in patterns), None)


class Manifest:
    """What `module.json` declares."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.routes: list[Route] = []
        for entry in data.get("routes", []):
            middlewares = entry.get("middlewares", [])
            names = (middlewares,) if isinstance(middlewares, str) else tuple(middlewares)
            method = entry.get("method", "post")
            self.routes.append(Route(method and method.upper(), entry["path"], entry["handler"], names))
        self.broadcasts: dict[str, Any] = data.get("broadcasts", {})
        self.startups: dict[str, Any] = data.get("startups", {})
        self.schedules: dict[str, Any] = data.get("schedules", {})
        self.subscriptions: dict[str, Any] = data.get("subscriptions", {})
        self.config: dict[str, Any] = data.get("config", {})
        self.hooks: dict[str, Any] = data.get("hooks", {})
        self.sockets: dict[str, Any] = data.get("sockets", {})
        self.channels = {name: _channel(entry) for name, entry in data.get("channels", {}).items()}
        self.streams: dict[str, Any] = data.get("streams", {})
        filters = data.get("filters", {})
        self.filters_before: list[str] = filters.get("before", [])
        self.filters_after: list[str] = filters.get("after", [])

    def channel(self, name: str) -> ChannelEntry | None:
        """Returns the entry of a channel."""
        return _best(self.channels, name)

    def admitting_route(self, key: str) -> str | None:
        """Returns the route that admits readers of a key."""
        path: str | None = (_best(self.streams, key) or {}).get("path")
        return path

    def socket(self, asked: str) -> Socket:
        """Finds the socket of a path. A literal segment wins over a `{name}`."""
        path, _, query = asked.partition("?")
        segments = [unquote(segment) for segment in path.split("/")]
        matching = [
            Socket(pattern, entry.get("module", ""), entry["path"], params, query)
            for pattern, entry in self.sockets.items()
            if (params := _params(pattern, segments)) is not None
        ]
        if not matching:
            raise CallError("not-found", f"the module has no socket `{path}`")
        return min(matching, key=lambda socket: _shape(socket.pattern))

    def find(self, asked: Asked) -> Matched:
        """Finds the route of a path. A literal segment wins over a `{name}`.

        Without a method it selects `POST`, or the only method that the path has.
        """
        segments = [unquote(segment) for segment in asked.path.split("/")]
        matching = [
            (route, params)
            for route in self.routes
            if (params := _params(route.path, segments)) is not None
        ]
        shapes = {route.path: _shape(route.path) for route, _ in matching}
        if matching:
            best = min(shapes.values())
            matching = [(route, params) for route, params in matching if shapes[route.path] == best]
        wanted = asked.method
        if wanted is None and len(matching) == 1:
            wanted = matching[0][0].method
        wanted = wanted or "POST"
        for route, params in matching:
            if route.method in (None, wanted):
                return Matched(route, wanted, params)
        raise CallError("not-found", f"the module has no route `{wanted} {asked.path}`")


def pointed(value: Any, pointer: str) -> str | None:
    """Returns the value at a JSON Pointer as JSON text."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    return json.dumps(value)
