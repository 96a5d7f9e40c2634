"""Connected clients of the host in memory, and the calls that they cause."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .. import types
from .._errors import CallError
from .._imports import payload_of
from .._payload import Payload, to_json
from ._calls import Spec
from ._channels import Step
from ._manifest import Asked, Matched, Socket
from ._sessions import Connection, Received, may_close_with

if TYPE_CHECKING:
    from ._node import Node

# The close code of a client of SocketCluster that the hook `connect` rejects.
_REJECTED = 4008


class Rejected(Exception):
    """Why a client was not connected.

    `status` is the HTTP status with which the hook `upgrade`, or for a plain WebSocket the hook
    `connect`, rejected the request. `code` is the close code with which the hook `connect` rejected
    a client of SocketCluster.
    """

    def __init__(self, error: CallError, *, status: int | None = None, code: int | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.status = status
        self.code = code


def _close_code(error: CallError) -> int | None:
    """The close code that a failure chose, if it is one that a module may choose."""
    text = error.failure.extra.get("close-code", "") if error.failure else ""
    return int(text) if text.isdigit() and may_close_with(int(text)) else None


def _status_of(error: CallError, default: int) -> int:
    return (error.failure.status if error.failure else 0) or default


class Client:
    """A connected client. `TestHost.connect` creates it. As a context manager it disconnects at the end."""

    def __init__(self, node: Node, connection: Connection) -> None:
        self._node, self._connection = node, connection

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.disconnect()

    def __repr__(self) -> str:
        return f"Client({self.id!r})"

    def request(self, name: str, payload: Any = None) -> Received:
        """Sends a message and waits for the reply. A plain WebSocket has no names: pass `""`.

        Raises `CallError`.
        """
        return Received(name, self._message(name, payload, True))

    def send(self, name: str, payload: Any = None) -> None:
        """Sends a message that wants no reply. A plain WebSocket receives the reply as a message."""
        self._message(name, payload, False)

    def _message(self, name: str, payload: Any, wants_reply: bool) -> Payload:
        self._check_open()
        call = self._node.clients.message(self._connection, name, payload_of(payload), wants_reply)
        try:
            reply: Payload = self._node.run(call)
        except CallError as error:
            self._close_after(error)
            raise
        if self._connection.socket and reply is not None and self._connection.closed is None:
            self._connection.receive("", reply)
        return reply

    def _check_open(self) -> None:
        if self._connection.closed is not None:
            raise CallError("unavailable", f"the connection is closed: {self._connection.closed[0]}")

    def _close_after(self, error: CallError) -> None:
        """Closes the connection if a failure asks for it."""
        code = _close_code(error)
        if code is not None:
            self.disconnect(code, str(error))

    def subscribe(self, channel: str, data: Any = None) -> None:
        """Subscribes to a channel, and waits for the host. Raises `CallError`.

        The messages of the channel are then in `received`, with the name `#publish` and the JSON
        `{"channel", "data"}`; a channel with history adds `position`. A plain WebSocket cannot
        subscribe: the module adds it with `channels.add`, and it receives the message alone.
        """
        self._act(channel, Step("subscribe", self.id, payload_of(data)))

    def unsubscribe(self, channel: str) -> None:
        """Unsubscribes from a channel, and waits for the host."""
        self._act(channel, Step("unsubscribe", self.id))

    def publish(self, channel: str, payload: Any = None) -> None:
        """Publishes to a channel, and waits until the message has its place or is refused."""
        self._act(channel, Step("publish", self.id, payload_of(payload)))

    def _act(self, channel: str, step: Step) -> None:
        self._check_open()
        if self._connection.socket:
            raise CallError("invalid", "a plain WebSocket has no channels of its own")

        async def act() -> None:
            await self._node.channels.offer(channel, step, types.Origin("session", self.id))

        self._node.run(act())

    def answer(self, name: str, answer: Callable[[Payload], Any]) -> None:
        """Answers the questions of the module with this name: `session.ask(name, ..)`."""
        self._connection.answers[name] = answer

    def authenticate(self, claims: Mapping[str, Any]) -> None:
        """Shows a valid token with these claims. Raises `CallError` when the hook rejects it.

        A failure of the hook `authenticate` with a `close-code` closes the connection.
        """
        if not isinstance(claims, Mapping):
            raise TypeError(f"the claims of a token are an object, found {claims!r}")
        hook = self._node.clients.hook(
            "authenticate", self._connection.record.worker, self._connection, to_json(dict(claims))
        )
        try:
            passed: types.Passed = self._node.run(hook)
        except CallError as error:
            self._close_after(error)
            raise
        text = passed.payload if isinstance(passed.payload, str) else to_json(dict(claims))
        self._node.sessions.change(None, self.id, claims_text=text)

    def disconnect(self, code: int = 1000, reason: str = "") -> None:
        """Closes the connection, and runs the hook `disconnect`."""

        async def close() -> None:
            self._node.sessions.close(self._connection, code, reason)

        self._node.run(close())

    @property
    def received(self) -> list[Received]:
        """The messages received so far, in order."""
        return self._connection.received

    @property
    def closed(self) -> tuple[int, str] | None:
        """The close code and the reason, when the connection is closed."""
        return self._connection.closed

    @property
    def id(self) -> str:
        """The id of the session."""
        return self._connection.record.id

    @property
    def session(self) -> types.SessionRecord:
        """The facts of the session."""
        return self._connection.record

    def value(self, key: str) -> Any:
        """Returns a value of the session. `None` when it has none."""
        text = self._connection.values.get(key)
        return None if text is None else json.loads(text)


class Clients:
    """How clients connect, and their messages."""

    def __init__(self, node: Node) -> None:
        self.node = node

    async def connect(
        self,
        socket_path: str | None,
        worker: int,
        data: Payload,
        subdomain: str | None,
        headers: list[tuple[str, str]],
    ) -> Connection:
        """Runs the hooks `upgrade` and `connect`. Raises `Rejected`."""
        node, socket, path = self.node, None, "/socketcluster/"
        if worker >= len(node.workers):
            raise Rejected(CallError("not-found", f"there is no worker-{worker}"), status=404)
        if socket_path is not None:
            path = f"/api/{node.name}/{socket_path.partition('?')[0]}"
            try:
                socket = node.manifest.socket(socket_path)
            except CallError as error:
                raise Rejected(error, status=404) from None
        request = {"headers": headers, "path": path, "subdomain": subdomain}
        try:
            await self._hook("upgrade", worker, socket, None, None, request)
        except CallError as error:
            raise Rejected(error, status=_status_of(error, 401)) from None
        connection = node.sessions.add(worker, socket, subdomain)
        try:
            await self._hook("connect", worker, socket, connection.record.id, data, request)
        except CallError as error:
            del node.sessions.connections[connection.record.id]
            if socket:
                raise Rejected(error, status=_status_of(error, 403)) from None
            raise Rejected(error, code=_close_code(error) or _REJECTED) from None
        return connection

    async def hook(self, name: str, worker: int, connection: Connection, payload: Payload) -> types.Passed:
        """Runs a hook of a connected client, if the module has it. Raises `CallError`."""
        facts = {"subdomain": connection.subdomain}
        return await self._hook(name, worker, connection.socket, connection.record.id, payload, facts)

    async def _hook(
        self,
        name: str,
        worker: int,
        socket: Socket | None,
        session: str | None,
        payload: Payload,
        facts: dict[str, Any],
    ) -> types.Passed:
        declared = self.node.manifest.hooks.get(name)
        if declared is None:
            return types.Passed()
        origin = types.Origin("session", session) if session else types.Origin("client")
        call = self.node.to(
            declared["path"], worker, types.Hook(name), origin, payload, session=session, **facts
        )
        call.query = socket.query if socket else ""
        call.matched = Matched(call.matched.route, call.matched.method, socket.params if socket else [])
        ended = await self.node.outcome(call)
        return ended if isinstance(ended, types.Passed) else types.Passed()

    async def message(
        self, connection: Connection, name: str, payload: Payload, wants_reply: bool
    ) -> Payload:
        """Runs the filters and the route of a message. Returns the payload of the reply."""
        node, socket, id = self.node, connection.socket, connection.record.id
        asked = Asked.parse(self._own(socket.module, socket.route) if socket else self._route_of(name))
        matched, query = node.manifest.find(asked), asked.query
        name = socket.pattern if socket else name
        if socket:
            matched, query = Matched(matched.route, matched.method, socket.params), socket.query
        if "session" not in matched.route.middlewares:
            raise CallError(
                "forbidden",
                "messages of connected clients reach only routes with the middleware `session`: "
                f"`{name}` has none",
            )

        async def run(
            to: Matched, trigger: types.Trigger, payload: Payload, extra: list[tuple[str, str]]
        ) -> types.Reply | types.Passed:
            origin = types.Origin("session", id)
            worker, subdomain = connection.record.worker, connection.subdomain
            call = Spec(worker, to, trigger, origin, query, payload, session=id, subdomain=subdomain)
            call.extra = extra
            return await node.outcome(call)

        trigger = types.ClientMessage(id, name, wants_reply)
        text, facts = f"{matched.method} {matched.route.path}", list[tuple[str, str]]()
        for path in node.manifest.filters_before:
            extra = [*facts, ("for", text)]
            ended = await run(node.manifest.find(Asked.parse(path)), trigger, payload, extra)
            if isinstance(ended, types.Reply):
                return ended.payload
            payload = ended.payload if ended.replaces else payload
            facts += [(f"{node.name}.{fact}", value) for fact, value in ended.extra.items()]
        ended = await run(matched, trigger, payload, facts)
        status = ended.status if isinstance(ended, types.Reply) else 0
        reply = ended.payload
        for path in node.manifest.filters_after:
            after = types.Other("after", to_json({"route": text, "status": status}))
            ended = await run(node.manifest.find(Asked.parse(path)), after, reply, [])
            if isinstance(ended, types.Reply):
                status, reply = ended.status, ended.payload
            elif ended.replaces:
                reply = ended.payload
        return reply

    def _route_of(self, name: str) -> str:
        """The route of this module that the name of a message means."""
        path = name.partition("?")[0]
        if "/" in name:
            module, _, rest = name.partition("/")
        elif "." in path:
            module, _, rest = path.partition(".")
            rest = rest.replace(".", "/")
        else:
            return name
        return self._own(module, rest)

    def _own(self, module: str, path: str) -> str:
        """Returns the path of a route, if its module is the one under test."""
        if module in ("", self.node.name):
            return path
        raise CallError("not-found", f"`TestHost` has no module `{module}`")
