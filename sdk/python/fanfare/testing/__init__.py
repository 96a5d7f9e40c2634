"""Runs the handlers of a module in memory, without a host and without WebAssembly.

    from fanfare.testing import TestHost

    def test_greets():
        host = TestHost("hello.py")
        assert host.call("GET greet/Ada").text == "Hello, Ada"

`TestHost` has workers, and the routes, broadcasts, startups, schedules and subscriptions of the
manifest. Clients connect to it, with its sockets, hooks, filters and channels, and read its live
streams. It has no network, limits or deadlines: `fanfare test` has those.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from .. import types
from .._call import Call
from .._errors import CallError
from .._imports import payload_of
from .._payload import to_json
from ..types import Entry, Reply
from ._calls import Spec
from ._channels import Step
from ._clients import Client, Rejected
from ._manifest import Asked, Manifest, read_jsonc
from ._node import Node
from ._records import Emitted, EmittedEvent, LogLine, Message, Published, Request
from ._sessions import Connection, Received
from ._streams import Reader, Refused

__all__ = [
    "Client",
    "Emitted",
    "EmittedEvent",
    "LogLine",
    "Message",
    "Published",
    "Reader",
    "Received",
    "Refused",
    "Rejected",
    "Request",
    "TestHost",
]


class TestHost:
    """A host in memory with one module.

    `module` is the file of the module. Each worker runs the file once, so that it has a memory of
    its own. `manifest` is the file `module.json`, or what it contains; the default is the file
    beside the module. Without a manifest every handler is a route with its own name. `nodes` are the
    other nodes of the cluster: the node of the test is `test`, of the server type `test`.
    """

    # Not a class with tests.
    __test__ = False

    def __init__(
        self,
        module: str | os.PathLike[str],
        *,
        name: str | None = None,
        manifest: str | os.PathLike[str] | Mapping[str, Any] | None = None,
        workers: int = 1,
        config: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        nodes: Iterable[types.Node] = (),
    ) -> None:
        entry = Path(module).resolve()
        if not entry.is_file():
            raise FileNotFoundError(f"there is no module at {entry}: name its file, such as hello.py")
        beside = entry.with_name("module.json")
        if manifest is None and beside.is_file():
            manifest = beside
        if isinstance(manifest, Mapping):
            data = dict(manifest)
        else:
            data = {} if manifest is None else read_jsonc(Path(manifest).read_text())
        own_name = name or (entry.parent.name if beside.is_file() else entry.stem)
        self._node = Node(
            entry, own_name, Manifest(data), workers, dict(config or {}), dict(options or {}), list(nodes)
        )
        if "routes" not in data:
            routes = [
                {"method": None, "path": name, "handler": name} for name in self._node.workers[0].handlers
            ]
            self._node.manifest.routes = Manifest({"routes": routes}).routes
        self._check()
        for worker in range(workers):
            self._node.run(self._node.start(worker, "start"))

    def __del__(self) -> None:
        node = getattr(self, "_node", None)
        if node is not None:
            node.close()

    def _check(self) -> None:
        """Rejects a manifest whose handlers do not exist, as a host does."""
        known = self._node.workers[0].handlers
        for route in self._node.manifest.routes:
            if route.handler not in known:
                raise ValueError(
                    f"the route `{route.path}` names the handler `{route.handler}`, which is not in the module"
                )

    def call(self, route: str, body: Any = None, *, headers: Mapping[str, str] | None = None) -> Reply:
        """Sends a request as a client does: `host.call("GET greet/Ada")`. Raises `CallError`.

        The route is written `[METHOD ]path[?query]`, below the module.
        """
        return self.request(route, body, headers=headers)

    def request(
        self,
        route: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        worker: int = 0,
        inside: bool = False,
    ) -> Reply:
        """Sends a request to one worker. `inside` calls as another module does, so inner routes are open."""
        node, asked = self._node, Asked.parse(route)
        matched = node.manifest.find(asked)
        names = matched.route.middlewares
        if "session" in names or ("inner" in names and not inside):
            kind = "inner" if "inner" in names else "session"
            raise CallError("forbidden", f"the route `{matched.route.path}` has the middleware `{kind}`")
        fields = [(name.lower(), value) for name, value in (headers or {}).items()]
        trigger: types.Trigger = types.Rpc() if inside else types.Http(matched.method)
        origin = types.Origin("operator" if inside else "client")
        path = None if inside else f"/api/{node.name}/{asked.path}"
        spec = Spec(worker, matched, trigger, origin, asked.query, payload_of(body), 0, fields, path)
        reply: Reply = node.run(node.call(spec))
        if not inside and reply.status == 0:
            reply.status = 204 if reply.payload is None else 200
        return reply

    def broadcast(self, name: str, payload: Any = None) -> list[Entry]:
        """Emits a broadcast as the operator does. Returns the answer of each worker."""

        async def gather() -> list[Entry]:
            _, tasks = self._node.emit(None, None, name, payload_of(payload), types.Origin("operator"))
            return [await task for task in tasks]

        entries: list[Entry] = self._node.run(gather())
        return entries

    def run_schedule(self, name: str, payload: Any = None) -> Reply:
        """Runs a schedule once, in worker 0. Without a payload it gets its `data`."""
        declared = self._node.manifest.schedules.get(name)
        if declared is None:
            raise CallError("not-found", f"the module has no schedule `{name}`")
        data = declared.get("data") if payload is None else payload
        sent = payload_of(data)
        matched = self._node.manifest.find(Asked.parse(declared["path"]))
        spec = Spec(0, matched, types.Schedule(name, 0, "test"), types.Origin("host"), "", sent)
        reply: Reply = self._node.run(self._node.call(spec))
        return reply

    def emit_event(self, type: str, value: Any = None) -> None:
        """Emits an event as a process outside does, and waits for the handlers."""

        async def emit() -> None:
            self._node.deliver(type, to_json(value))
            await self._node.settle()

        self._node.run(emit())

    def receive(self, name: str, topic: str, payload: Any = None) -> list[Entry]:
        """Gives a message to a subscription. Returns the answer of each worker."""
        declared = self._node.manifest.subscriptions.get(name)
        route = declared["path"] if declared else self._node.subscriptions.get(name, ("", ""))[1]
        if not route:
            raise CallError("not-found", f"the module has no subscription `{name}`")
        kinds = [kind for kind in ("event", "nats") if kind in (declared or {"event": ""})]
        source = kinds[0] if kinds else "redis"

        async def gather() -> list[Entry]:
            return [
                await call for call in self._node.receive(name, topic, payload_of(payload), source, route)
            ]

        entries: list[Entry] = self._node.run(gather())
        return entries

    def answer(self, route: str, answer: Callable[[Call], Any]) -> None:
        """Replies in place of a route of another module, written `module/path`, or of its middleware."""
        self._node.answers[route] = answer

    def respond(self, url: str, response: Any) -> None:
        """Responds to requests of the module whose URL begins with this text.

        `response` is a body, a `reply(..)`, or a function of the `Request`.
        """
        self._node.responses.insert(0, (url, response))

    def connect(
        self,
        *,
        socket: str | None = None,
        worker: int = 0,
        data: Any = None,
        claims: Mapping[str, Any] | None = None,
        subdomain: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Client:
        """Connects a client, if the hooks `upgrade` and `connect` admit it. Raises `Rejected`.

        `socket` is a path below the module, such as `live/7`, for a plain WebSocket. Without it the
        client speaks the protocol of SocketCluster, sends `data` with its handshake, and shows a
        valid token with these `claims`.
        """
        if socket is not None and data is not None:
            raise ValueError("a plain WebSocket sends no data with its handshake")
        fields = [(name.lower(), value) for name, value in (headers or {}).items()]
        node = self._node
        connecting = node.clients.connect(socket, worker, payload_of(data), subdomain, fields)
        connection: Connection = node.run(connecting)
        client = Client(node, connection)
        if claims is not None:
            try:
                client.authenticate(claims)
            except CallError:
                # A host connects a client whose token is rejected, too: it is not authenticated.
                pass
        return client

    def stream(
        self,
        key: str,
        *,
        worker: int = 0,
        last_event_id: str | None = None,
        subdomain: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reader:
        """Opens a live stream, if the route that `streams` names for the key admits the reader.

        Raises `Refused`. This host keeps no events: only the route sees `last_event_id`.
        """
        fields = [(name.lower(), value) for name, value in (headers or {}).items()]
        opening = self._node.streams.open(key, worker, last_event_id, subdomain, fields)
        reader: Reader = self._node.run(opening)
        return reader

    def publish_to_channel(self, channel: str, payload: Any = None) -> types.Position | None:
        """Publishes to a channel as the operator, and waits for the place of the message."""

        async def publish() -> types.Position | None:
            step = Step("publish", None, payload_of(payload))
            return await self._node.channels.offer(channel, step, types.Origin("operator"))

        position: types.Position | None = self._node.run(publish())
        return position

    def channel_messages(self, channel: str) -> list[types.ChannelMessage]:
        """Returns all messages of a channel so far, also those that a real host would no longer keep."""
        return list(self._node.channels.of(channel).messages)

    def channel_members(self, channel: str) -> list[types.ChannelMember]:
        """Returns the members of a channel, in the order in which they subscribed."""
        return list(self._node.channels.of(channel).members.values())

    def settle(self) -> None:
        """Waits for the tasks that handlers have created and not awaited."""
        self._node.run(self._node.settle())

    def restart(self, worker: int = 0) -> None:
        """Replaces the instance of a worker without its state, as after a crash."""
        self._node.run(self._node.replace(worker, "restart"))

    def swap(self) -> None:
        """Replaces the instance of every worker, with its state."""
        for worker in range(len(self._node.workers)):
            self._node.run(self._node.replace(worker, "swap"))

    @property
    def config(self) -> dict[str, Any]:
        """The configuration. A test may change it."""
        return self._node.config

    @property
    def logs(self) -> list[LogLine]:
        """The lines that the module has logged with `log`, and those about failed handlers."""
        return self._node.logs

    @property
    def emitted(self) -> list[Emitted]:
        """The broadcasts that the module has emitted."""
        return self._node.emitted

    @property
    def published(self) -> list[Published]:
        """The events that the module has published to live streams."""
        return self._node.published

    @property
    def events(self) -> list[EmittedEvent]:
        """The events that the module has emitted."""
        return self._node.events

    @property
    def messages(self) -> list[Message]:
        """The messages that the module has published to brokers and channels."""
        return self._node.messages

    @property
    def requests(self) -> list[Request]:
        """The requests that the module has sent to other servers."""
        return self._node.requests
