"""The part of a manifest that the host in memory reads, and how it finds the route of a path."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from .._errors import CallError

_TOKENS = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/|,(?=(?:\s|//[^\n]*|/\*.*?\*/)*[}\]])', re.DOTALL)

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

    def params(self, segments: list[str]) -> list[tuple[str, str]] | None:
        """Returns the values of the `{name}` segments, or `None` if the path is another one."""
        parts = self.path.split("/")
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


@dataclass(frozen=True)
class Matched:
    """The route of a request, with its parameters."""

    route: Route
    method: str
    params: list[tuple[str, str]]


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

    def find(self, asked: Asked) -> Matched:
        """Finds the route of a path. A literal segment wins over a `{name}`.

        Without a method it selects `POST`, or the only method that the path has.
        """
        segments = [unquote(segment) for segment in asked.path.split("/")]
        matching = [
            (route, params) for route in self.routes if (params := route.params(segments)) is not None
        ]
        shapes = {
            route.path: [part.startswith("{") for part in route.path.split("/")] for route, _ in matching
        }
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
