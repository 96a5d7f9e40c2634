"""The workers of a test, and how a call reaches the handler of its route."""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from .. import _output, types
from .._backend import install, installed
from .._call import Call
from .._current import caller as current_caller
from .._errors import CallError, Failure, failed
from .._outcome import failure_of, outcome
from .._payload import Payload
from .._registry import Registry, replace_registry
from ._calls import Running, Spec
from ._channels import Channels
from ._clients import Clients
from ._imports import Imports
from ._manifest import Asked, Manifest
from ._records import Emitted, EmittedEvent, LogLine, Message, Published, Request
from ._sessions import Sessions
from ._streams import Streams

# The longest chain of calls.
_DEPTH = 16
_DEADLINE_MS = 30_000


class Node:
    """One host with workers, each with an instance of the module."""

    def __init__(
        self,
        source: Path,
        name: str,
        manifest: Manifest,
        workers: int,
        config: dict[str, Any],
        options: dict[str, Any],
        nodes: list[types.Node],
    ) -> None:
        self.source, self.name, self.manifest = source, name, manifest
        self.config = {**manifest.config, **config}
        self.options = {"environment": "test", "workers": workers, **options}
        self.nodes = nodes
        self.loop = asyncio.new_event_loop()
        self.imports = Imports(self)
        self.sessions, self.channels, self.clients = Sessions(self), Channels(self), Clients(self)
        self.streams = Streams(self)
        self.calls: dict[int, Running] = {}
        self.answers: dict[str, Callable[[Call], Any]] = {}
        self.responses: list[tuple[str, Any]] = []
        self.subscriptions: dict[str, tuple[str, str]] = {}
        self.pending: set[asyncio.Task[Any]] = set()
        self.logs: list[LogLine] = []
        self.emitted: list[Emitted] = []
        self.published: list[Published] = []
        self.events: list[EmittedEvent] = []
        self.messages: list[Message] = []
        self.requests: list[Request] = []
        self._ids, self._seqs = itertools.count(1), itertools.count(1)
        self.workers: list[Registry] = [self._load() for _ in range(workers)]

    def _load(self) -> Registry:
        """Runs the file of the module once more, so that each worker has its own memory."""
        registry = Registry()
        previous = replace_registry(registry)
        folder = str(self.source.parent)
        sys.path.insert(0, folder)
        module_name = self.source.stem
        known = sys.modules.get(module_name)
        try:
            spec = importlib.util.spec_from_file_location(module_name, self.source)
            if spec is None or spec.loader is None:
                raise ValueError(f"{self.source} is not a file of Python")
            module = importlib.util.module_from_spec(spec)
            # Dataclasses look their module up while it runs.
            sys.modules[module_name] = module
            spec.loader.exec_module(module)
        finally:
            replace_registry(previous)
            sys.path.remove(folder)
            if known is None:
                sys.modules.pop(module_name, None)
            else:
                sys.modules[module_name] = known
        return registry

    # Running

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Runs a coroutine, and the handlers of what it sends, with the imports of this host."""
        previous = installed()
        install(self.imports)
        try:
            return self.loop.run_until_complete(self._with_handlers(coroutine))
        finally:
            install(previous)

    async def _with_handlers(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await coroutine
        finally:
            while self.pending:
                await asyncio.wait(self.pending)

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Starts a coroutine."""
        return self.loop.create_task(coroutine)

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Remembers a task, so that the test waits for it."""
        self.pending.add(task)
        task.add_done_callback(self.pending.discard)

    def close(self) -> None:
        """Frees the event loop."""
        if not self.loop.is_closed():
            self.loop.close()

    async def settle(self) -> None:
        """Waits until nothing runs."""
        while others := asyncio.all_tasks(self.loop) - {asyncio.current_task(self.loop)}:
            await asyncio.wait(others)

    async def start(self, worker: int, reason: str) -> None:
        """Runs the startups of a new instance."""
        for name in sorted(self.manifest.startups):
            matched = self.manifest.find(Asked.parse(self.manifest.startups[name]["path"]))
            await self.call(Spec(worker, matched, types.Startup(name, reason), types.Origin("host")))

    async def replace(self, worker: int, reason: str) -> None:
        """Replaces the instance of a worker. A swap hands over its state."""
        old, new = self.workers[worker], self._load()
        if reason == "swap" and old.save is not None:
            await new.restore("test", await old.state())
        self.workers[worker] = new
        await self.start(worker, reason)

    def to(
        self,
        route: str,
        worker: int,
        trigger: types.Trigger,
        origin: types.Origin,
        payload: Payload,
        **facts: Any,
    ) -> Spec:
        """Describes a call of the host to a route of the module."""
        matched = self.manifest.find(Asked.parse(route))
        return Spec(worker, matched, trigger, origin, payload=payload, **facts)

    async def quietly(self, call: Coroutine[Any, Any, Any]) -> None:
        """Runs a call whose outcome changes nothing."""
        try:
            await call
        except CallError:
            pass

    async def call(self, spec: Spec) -> types.Reply:
        """Runs a call with its middlewares. Raises `CallError`."""
        result = await self.outcome(spec)
        return result if isinstance(result, types.Reply) else types.Reply(0, [], result.payload)

    async def outcome(self, spec: Spec) -> types.Reply | types.Passed:
        """Runs a call with its middlewares. Raises `CallError`."""
        if spec.depth > _DEPTH:
            raise CallError("too-deep", f"the chain of calls is longer than {_DEPTH}")
        id = next(self._ids)
        self.calls[id] = Running(
            spec.worker, spec.depth, spec.headers, spec.path, spec.session, spec.subdomain
        )
        payload, extra = spec.payload, list(spec.extra)
        matched = spec.matched

        def call(
            handler: str, query: str, params: list[tuple[str, str]], facts: list[tuple[str, str]]
        ) -> Call:
            return Call(
                id=id,
                handler=handler,
                trigger=spec.trigger,
                origin=spec.origin,
                subdomain=spec.subdomain,
                deadline_ms=_DEADLINE_MS,
                params=params,
                query=query,
                payload=payload,
                extra=facts,
            )

        for text in matched.route.chain:
            asked = Asked.parse(text)
            module, _, path = asked.path.partition("/")
            facts = [*extra, ("for", f"{matched.method} {self.name}/{matched.route.path}")]
            if module in ("", self.name):
                step = self.manifest.find(Asked(asked.method, path, asked.query))
                result = await self._run(
                    spec.worker, call(step.route.handler, asked.query, step.params, facts)
                )
            else:
                result = await self._answer(asked.path, call(asked.path, asked.query, [], facts))
            if isinstance(result, types.Reply):
                return result
            payload = result.payload if result.replaces else payload
            extra += [(f"{module or self.name}.{fact}", value) for fact, value in result.extra.items()]
        return await self._run(spec.worker, call(matched.route.handler, spec.query, matched.params, extra))

    async def _run(self, worker: int, call: Call) -> types.Reply | types.Passed:
        # A task of its own, so that the call of its caller stays the current one there.
        result, error = await self.spawn(self._handled(worker, call))
        if error is not None:
            raise error
        return result or types.Reply()

    async def _handled(
        self, worker: int, call: Call
    ) -> tuple[types.Reply | types.Passed | None, CallError | None]:
        try:
            return await self.workers[worker].run(call), None
        except BaseException as error:  # noqa: BLE001 as in a component
            refused, expected = failure_of(error)
            if not expected:
                _output.exception(f"handler {call.handler} failed", error)
            return None, failed(refused)

    async def _answer(self, route: str, call: Call) -> types.Reply | types.Passed:
        answer = self.answers.get(route)
        if answer is None:
            raise CallError(
                "not-found", f"there is no module `{route.split('/')[0]}`: add `host.answer({route!r}, ..)`"
            )
        try:
            result = answer(call)
            if asyncio.iscoroutine(result):
                result = await result
            return outcome(result)
        except Failure as error:
            raise failed(error) from None

    # What imports ask for

    def worker_of(self, caller: int | None) -> int:
        """The worker that a call runs in."""
        running = self.calls.get(caller or 0)
        return running.worker if running else 0

    def session_of(self, caller: int | None) -> str | None:
        """The id of the session that a call belongs to."""
        running = self.calls.get(caller or 0)
        return running.session if running else None

    def current_worker(self) -> int:
        """The worker of the current call."""
        return self.worker_of(current_caller())

    def headers_of(self, call: int) -> list[tuple[str, str]]:
        """The header fields of the request of a call."""
        running = self.calls.get(call)
        return list(running.headers) if running else []

    def path_of(self, call: int) -> str | None:
        """The path of the request of a call."""
        running = self.calls.get(call)
        return running.path if running else None

    def depth_of(self, caller: int | None) -> int:
        """The length of the chain that a call would continue."""
        running = self.calls.get(caller or 0)
        return running.depth + 1 if running else 0

    def guest(self, caller: int | None) -> types.Origin:
        """The module itself as a caller."""
        return types.Origin("guest", None, self.name, f"worker-{self.worker_of(caller)}")

    def subdomain_of(self, caller: int | None) -> str | None:
        """The tenant that a call belongs to, and the calls that it makes."""
        running = self.calls.get(caller or 0)
        return running.subdomain if running else None

    async def rpc(
        self, caller: int | None, worker: int, text: str, payload: Payload, subdomain: str | None = None
    ) -> types.Reply:
        """Calls a route of the module, or the answer for a route of another one."""
        tenant = self.subdomain_of(caller) if subdomain is None else subdomain
        asked = Asked.parse(text)
        path = asked.path if "/" in asked.path else asked.path.replace(".", "/")
        module, _, rest = path.partition("/")
        if module in ("", self.name):
            matched = self.manifest.find(Asked(asked.method, rest, asked.query))
            depth, origin = self.depth_of(caller), self.guest(caller)
            spec = Spec(worker, matched, types.Rpc(), origin, asked.query, payload, depth)
            spec.subdomain = tenant
            return await self.call(spec)
        call = Call(
            id=next(self._ids),
            handler=path,
            trigger=types.Rpc(),
            origin=self.guest(caller),
            subdomain=tenant,
            query=asked.query,
            payload=payload,
        )
        result = await self._answer(path, call)
        return result if isinstance(result, types.Reply) else types.Reply(0, [], result.payload)

    async def entry(
        self, caller: int | None, worker: int, route: str, payload: Payload, subdomain: str | None = None
    ) -> types.Entry:
        """Calls a route in one worker."""
        return await self._entry(worker, self.rpc(caller, worker, route, payload, subdomain))

    async def _entry(self, worker: int, call: Coroutine[Any, Any, types.Reply]) -> types.Entry:
        try:
            return types.Entry(f"worker-{worker}", None, await call, None)
        except CallError as error:
            return types.Entry(f"worker-{worker}", None, None, error)

    def emit(
        self,
        caller: int | None,
        module: str | None,
        name: str,
        payload: Payload,
        origin: types.Origin | None = None,
        subdomain: str | None = None,
    ) -> tuple[types.Receipt, list[asyncio.Task[types.Entry]]]:
        """Emits a broadcast. Returns a task per worker."""
        seq, tasks = next(self._seqs), []
        if origin is None:
            self.emitted.append(Emitted(module or self.name, name, payload))
        if module in (None, self.name):
            declared = self.manifest.broadcasts.get(name)
            if declared is None:
                raise CallError("not-found", f"the module has no broadcast `{name}`")
            matched = self.manifest.find(Asked.parse(declared["path"]))
            for worker in range(len(self.workers)):
                mine = origin is None and caller is not None and worker == self.worker_of(caller)
                trigger = types.Broadcast(name, seq, seq, mine)
                by = origin or self.guest(caller)
                spec = Spec(worker, matched, trigger, by, "", payload, self.depth_of(caller))
                spec.subdomain = self.subdomain_of(caller) if subdomain is None else subdomain
                tasks.append(self.spawn(self._entry(worker, self.call(spec))))
        return types.Receipt(seq, seq, len(tasks), [], {}), tasks

    def respond(self, request: Request) -> tuple[int, list[tuple[str, str]], bytes]:
        """Returns the response of a test to a request of the module."""
        for prefix, response in self.responses:
            if request.url.startswith(prefix):
                answer = response(request) if callable(response) else response
                reply = outcome(answer)
                body = reply.payload.encode() if isinstance(reply.payload, str) else reply.payload or b""
                if isinstance(reply, types.Reply):
                    return reply.status or 200, reply.headers, body
        raise CallError(
            "forbidden", f"no response for {request.url}: add `host.respond({request.url!r}, ..)`"
        )

    # Subscriptions

    def subscribe(self, pattern: str, route: str) -> str:
        """Subscribes a route at run time."""
        self.manifest.find(Asked.parse(route))
        name = f"{pattern} {route}"
        self.subscriptions[name] = (pattern, route)
        return name

    def unsubscribe(self, name: str) -> None:
        """Ends a subscription."""
        if self.subscriptions.pop(name, None) is None:
            raise CallError("not-found", f"there is no subscription `{name}`")

    def deliver(self, event_type: str, value: Payload) -> None:
        """Starts the handlers of an event, in every worker."""
        declared = {
            name: (entry["event"], entry["path"])
            for name, entry in self.manifest.subscriptions.items()
            if "event" in entry and "path" in entry
        }
        for name, (pattern, route) in {**declared, **self.subscriptions}.items():
            if pattern in ("*", event_type) or (
                pattern.endswith("/*") and event_type.startswith(pattern[:-1])
            ):
                for call in self.receive(name, event_type, value, "event", route):
                    self.keep(self.spawn(call))

    def receive(
        self, name: str, topic: str, payload: Payload, source: str, route: str
    ) -> list[Coroutine[Any, Any, types.Entry]]:
        """Returns the calls of a subscription, one per worker."""
        matched = self.manifest.find(Asked.parse(route))
        trigger = types.Subscription(name, source, topic, f"1-{next(self._seqs)}")
        calls = []
        for worker in range(len(self.workers)):
            spec = Spec(worker, matched, trigger, types.Origin("host"), "", payload)
            calls.append(self._entry(worker, self.call(spec)))
        return calls
