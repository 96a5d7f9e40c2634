"""The imports of a module in a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import types
from .._backend import Caller, Pairs
from .._errors import CallError
from .._payload import Payload, from_json
from ._channels import ChannelImports
from ._manifest import pointed
from ._records import EmittedEvent, LogLine, Message, Request
from ._sessions import SessionImports
from ._streams import StreamImports

if TYPE_CHECKING:
    from ._node import Node


class Imports(SessionImports, ChannelImports, StreamImports):
    """Implements `Backend` in memory."""

    def __init__(self, node: Node) -> None:
        self.node = node

    # broadcast

    def emit(
        self, caller: Caller, module: str | None, name: str, subdomain: str | None, payload: Payload
    ) -> types.Receipt:
        receipt, tasks = self.node.emit(caller, module, name, payload, subdomain=subdomain)
        for task in tasks:
            self.node.keep(task)
        return receipt

    async def emit_durable(
        self, caller: Caller, module: str | None, name: str, subdomain: str | None, payload: Payload
    ) -> types.Receipt:
        declared = self.node.manifest.broadcasts.get(name)
        if module in (None, self.node.name) and declared and declared.get("delivery") != "durable":
            raise CallError("invalid", f"the broadcast `{name}` is not durable")
        receipt = self.emit(caller, module, name, subdomain, payload)
        receipt.extra["position"] = str(receipt.seq)
        return receipt

    async def gather(
        self,
        caller: Caller,
        module: str | None,
        name: str,
        subdomain: str | None,
        payload: Payload,
        timeout: int | None,
    ) -> list[types.Entry]:
        _receipt, tasks = self.node.emit(caller, module, name, payload, subdomain=subdomain)
        return [await task for task in tasks]

    def reload(self, caller: Caller, module: str | None) -> types.Receipt:
        raise CallError("unavailable", "`TestHost` has no modules to reload")

    # rpc

    async def call(
        self,
        caller: Caller,
        target: types.Target,
        route: str,
        payload: Payload,
        timeout: int | None,
        subdomain: str | None,
    ) -> types.Reply:
        worker = self._worker(caller, target)
        return await self.node.rpc(caller, worker, route, payload, subdomain)

    async def call_every(
        self,
        caller: Caller,
        group: types.Group,
        route: str,
        payload: Payload,
        timeout: int | None,
        subdomain: str | None,
    ) -> list[types.Entry]:
        return [
            await self.node.entry(caller, worker, route, payload, subdomain) for worker in self._workers(group)
        ]

    def notify(
        self,
        caller: Caller,
        to: types.Target | types.Group,
        route: str,
        payload: Payload,
        timeout: int | None,
        subdomain: str | None,
    ) -> int:
        workers = self._workers(to) if isinstance(to, types.Group) else [self._worker(caller, to)]
        for worker in workers:
            call = self.node.entry(caller, worker, route, payload, subdomain)
            self.node.keep(self.node.spawn(call))
        return len(workers)

    def _worker(self, caller: Caller, target: types.Target) -> int:
        if target.kind == "worker":
            index = int(target.value or 0)
            if index >= len(self.node.workers):
                raise CallError("not-found", f"there is no worker-{index}")
            return index
        if target.kind in ("any", "node", "server"):
            return self.node.worker_of(caller)
        raise CallError("not-found", f"`TestHost` has no {target.kind}")

    def _workers(self, group: types.Group) -> list[int]:
        if group.kind in ("workers", "cluster"):
            return list(range(len(self.node.workers)))
        return [0] if group.kind in ("nodes", "servers") else []

    # http

    def header(self, call: int, name: str) -> list[str]:
        return [value for other, value in self.node.headers_of(call) if other == name.lower()]

    def headers(self, call: int) -> Pairs:
        return self.node.headers_of(call)

    def head(self, call: int) -> types.RequestHead | None:
        path = self.node.path_of(call)
        return None if path is None else types.RequestHead(path, "http", "localhost", "127.0.0.1:50000")

    async def send_request(
        self, method: str, url: str, headers: Pairs, body: bytes | None, timeout: float | None
    ) -> tuple[int, Pairs, bytes]:
        request = Request(method, url, dict(headers), body, timeout)
        self.node.requests.append(request)
        return self.node.respond(request)

    # host, config and master

    def whoami(self) -> types.Identity:
        isolate = f"worker-{self.node.current_worker()}"
        return types.Identity("test", "test", isolate, len(self.node.workers), self.node.name, "test")

    def log(self, caller: Caller, level: str, message: str, fields: Pairs) -> None:
        isolate = f"worker-{self.node.worker_of(caller)}"
        self.node.logs.append(LogLine(isolate, level, message, dict(fields)))

    def config(self, caller: Caller, pointer: str) -> str | None:
        return pointed(self.node.config, pointer)

    def options(self, pointer: str) -> str | None:
        return pointed(self.node.options, pointer)

    # nodes

    def list_nodes(self, server: str | None) -> list[types.Node]:
        own = types.Node("test", "test", True, len(self.node.workers))
        nodes = sorted([own, *self.node.nodes], key=lambda node: node.id)
        return [node for node in nodes if server in (None, node.server)]

    def get_node(self, id: str) -> types.Node | None:
        return next((node for node in self.list_nodes(None) if node.id == id), None)

    def post(self, caller: Caller, payload: Payload) -> None:
        raise CallError("unavailable", "nobody listens to the messages of modules")

    async def send(self, caller: Caller, payload: Payload, timeout: int | None) -> Payload:
        raise CallError("unavailable", "nobody listens to the messages of modules")

    # events and messages

    def emit_event(self, caller: Caller, event_type: str | None, value: Payload) -> None:
        event = EmittedEvent(event_type or "message", from_json(value))
        self.node.events.append(event)
        self.node.deliver(event.type, value)

    def subscribe(self, caller: Caller, pattern: str | None, route: str) -> str:
        return self.node.subscribe(pattern or "*", route)

    def unsubscribe(self, caller: Caller, subscription: str) -> None:
        self.node.unsubscribe(subscription)

    def publish_message(self, caller: Caller, connection: str, topic: str, payload: Payload) -> None:
        self.node.messages.append(Message(connection, topic, payload))
