"""The imports of a component. Only a component has `wit_world`, which its build generates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from componentize_py_types import Err, Ok
from wit_world.imports import broadcast as w_broadcast
from wit_world.imports import channels as w_channels
from wit_world.imports import channels_await as w_channels_await
from wit_world.imports import config as w_config
from wit_world.imports import durable as w_durable
from wit_world.imports import events as w_events
from wit_world.imports import fanfare_module_types as w
from wit_world.imports import host as w_host
from wit_world.imports import http as w_http
from wit_world.imports import master as w_master
from wit_world.imports import master_await as w_master_await
from wit_world.imports import messages as w_messages
from wit_world.imports import nodes as w_nodes
from wit_world.imports import rpc as w_rpc
from wit_world.imports import sessions as w_sessions
from wit_world.imports import sessions_await as w_sessions_await
from wit_world.imports import sse as w_sse

from . import _component_http, types
from ._backend import Caller, Pairs
from ._component_types import (
    call_error,
    entry,
    from_payload,
    isolate,
    node,
    receipt,
    record,
    reply,
    session,
    to_group,
    to_payload,
    to_recipient,
    to_target,
)
from ._loop import read
from ._payload import Payload

_NONE: list[tuple[str, str]] = []
_LEVELS = {level.name.lower(): level for level in w_host.Level}
_REACHES = {reach.name.lower().replace("_", "-"): reach for reach in w_sse.Reach}
_TAKEN = {taken.name.lower(): taken for taken in w_sessions.WhenTaken}


def _plain(function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls an import that returns at once."""
    try:
        return function(*arguments)
    except Err as error:
        raise call_error(error.value) from None


async def _waited(reader: Any) -> Any:
    """Waits for the answer of an import."""
    result = await read(reader)
    if isinstance(result, Ok):
        return result.value
    raise call_error(result.value) from None


def _emission(module: str | None, name: str, subdomain: str | None) -> Any:
    return w.Emission(module, name, subdomain, _NONE)


def _options(timeout: int | None, subdomain: str | None) -> Any:
    return w.CallOptions(timeout, subdomain, _NONE)


class Component:
    """Implements `Backend`."""

    def emit(
        self, caller: Caller, module: str | None, name: str, subdomain: str | None, payload: Payload
    ) -> types.Receipt:
        return receipt(
            _plain(w_broadcast.emit, caller, _emission(module, name, subdomain), to_payload(payload))
        )

    async def emit_durable(
        self, caller: Caller, module: str | None, name: str, subdomain: str | None, payload: Payload
    ) -> types.Receipt:
        emission = _emission(module, name, subdomain)
        return receipt(await _waited(w_durable.emit(caller, emission, to_payload(payload))))

    async def gather(
        self,
        caller: Caller,
        module: str | None,
        name: str,
        subdomain: str | None,
        payload: Payload,
        timeout: int | None,
    ) -> list[types.Entry]:
        emission = _emission(module, name, subdomain)
        return [
            entry(one)
            for one in await _waited(w_broadcast.gather(caller, emission, to_payload(payload), timeout))
        ]

    def reload(self, caller: Caller, module: str | None) -> types.Receipt:
        return receipt(_plain(w_broadcast.reload, caller, module))

    async def call(
        self,
        caller: Caller,
        target: types.Target,
        route: str,
        payload: Payload,
        timeout: int | None,
        subdomain: str | None,
    ) -> types.Reply:
        options = _options(timeout, subdomain)
        return reply(
            await _waited(w_rpc.call(caller, to_target(target), route, to_payload(payload), options))
        )

    async def call_every(
        self,
        caller: Caller,
        group: types.Group,
        route: str,
        payload: Payload,
        timeout: int | None,
        subdomain: str | None,
    ) -> list[types.Entry]:
        options = _options(timeout, subdomain)
        entries = await _waited(
            w_rpc.call_every(caller, to_group(group), route, to_payload(payload), options)
        )
        return [entry(one) for one in entries]

    def notify(
        self,
        caller: Caller,
        to: types.Target | types.Group,
        route: str,
        payload: Payload,
        timeout: int | None,
        subdomain: str | None,
    ) -> int:
        if isinstance(to, types.Target):
            address: Any = w.Address_One(to_target(to))
        else:
            address = w.Address_Every(to_group(to))
        options = _options(timeout, subdomain)
        return int(_plain(w_rpc.notify, caller, address, route, to_payload(payload), options))

    def header(self, call: int, name: str) -> list[str]:
        return list(w_http.header(call, name))

    def headers(self, call: int) -> Pairs:
        return list(w_http.headers(call))

    def head(self, call: int) -> types.RequestHead | None:
        head = w_http.head(call)
        return None if head is None else types.RequestHead(head.path, head.scheme, head.authority, head.peer)

    async def send_request(
        self, method: str, url: str, headers: Pairs, body: bytes | None, timeout: float | None
    ) -> tuple[int, Pairs, bytes]:
        return await _component_http.send(method, url, headers, body, timeout)

    def whoami(self) -> types.Identity:
        own = w_host.whoami()
        return types.Identity(
            own.node, own.server, isolate(own.isolate), own.workers, own.module, own.generation
        )

    def log(self, caller: Caller, level: str, message: str, fields: Pairs) -> None:
        w_host.log(caller, _LEVELS[level], message, fields)

    def config(self, caller: Caller, pointer: str) -> str | None:
        text: str | None = w_config.get(caller, pointer)
        return text

    def options(self, pointer: str) -> str | None:
        text: str | None = w_master.options(pointer)
        return text

    def post(self, caller: Caller, payload: Payload) -> None:
        _plain(w_master.post, caller, to_payload(payload))

    async def send(self, caller: Caller, payload: Payload, timeout: int | None) -> Payload:
        return from_payload(await _waited(w_master_await.send(caller, to_payload(payload), timeout)))

    def list_nodes(self, server: str | None) -> list[types.Node]:
        return [node(one) for one in w_nodes.list(server)]

    def get_node(self, id: str) -> types.Node | None:
        found = w_nodes.get(id)
        return None if found is None else node(found)

    def publish(self, caller: Caller, key: str, event: types.Event, reach: str) -> int:
        return int(_plain(w_sse.publish, caller, key, _event(event), _REACHES[reach]))

    def publish_all(self, caller: Caller, event: types.Event, reach: str) -> int:
        return int(_plain(w_sse.publish_all, caller, _event(event), _REACHES[reach]))

    def close(self, caller: Caller, key: str, reach: str) -> int:
        return int(_plain(w_sse.close, caller, key, _REACHES[reach]))

    def close_all(self, caller: Caller, reach: str) -> int:
        return int(_plain(w_sse.close_all, caller, _REACHES[reach]))

    def stream_count(self, key: str | None) -> int:
        return int(w_sse.count(key))

    def emit_event(self, caller: Caller, event_type: str | None, value: Payload) -> None:
        _plain(w_events.emit, caller, event_type, to_payload(value))

    def subscribe(self, caller: Caller, pattern: str | None, route: str) -> str:
        return str(_plain(w_events.subscribe, caller, pattern, route))

    def unsubscribe(self, caller: Caller, subscription: str) -> None:
        _plain(w_events.unsubscribe, caller, subscription)

    def publish_message(self, caller: Caller, connection: str, topic: str, payload: Payload) -> None:
        _plain(w_messages.publish, caller, connection, topic, to_payload(payload))

    def current_session(self, call: int) -> types.SessionRecord | None:
        return session(w_sessions.current(call))

    def look(self, caller: Caller, session_id: str) -> types.SessionRecord | None:
        return session(_plain(w_sessions.look, caller, session_id))

    def find(self, caller: Caller, uid: str) -> list[str]:
        return list(_plain(w_sessions.find, caller, uid))

    def session_value(self, caller: Caller, session_id: str | None, key: str) -> str | None:
        text: str | None = _plain(w_sessions.get, caller, session_id, key)
        return text

    def session_values(self, caller: Caller, session_id: str | None) -> Pairs:
        return list(_plain(w_sessions.values, caller, session_id))

    def set_values(self, caller: Caller, session_id: str | None, values: Pairs) -> None:
        _plain(w_sessions.set, caller, session_id, values)

    def remove_values(self, caller: Caller, session_id: str | None, keys: list[str]) -> None:
        _plain(w_sessions.remove, caller, session_id, keys)

    def bind(self, caller: Caller, session_id: str | None, uid: str, taken: str) -> None:
        _plain(w_sessions.bind, caller, session_id, uid, _TAKEN[taken])

    def unbind(self, caller: Caller, session_id: str | None) -> None:
        _plain(w_sessions.unbind, caller, session_id)

    def authenticate(
        self, caller: Caller, session_id: str | None, claims: str, expires_ms: int | None
    ) -> None:
        _plain(w_sessions.authenticate, caller, session_id, claims, expires_ms)

    def deauthenticate(self, caller: Caller, session_id: str | None) -> None:
        _plain(w_sessions.deauthenticate, caller, session_id)

    def send_to(self, caller: Caller, to: types.Recipient, name: str, payload: Payload) -> int:
        return int(_plain(w_sessions.send, caller, to_recipient(to), name, to_payload(payload)))

    def disconnect(self, caller: Caller, session_id: str | None, code: int, reason: str) -> None:
        _plain(w_sessions.disconnect, caller, session_id, code, reason)

    def join(self, caller: Caller, group: str, sessions: list[str]) -> int:
        return int(_plain(w_sessions.join, caller, group, sessions))

    def leave(self, caller: Caller, group: str, sessions: list[str]) -> int:
        return int(_plain(w_sessions.leave, caller, group, sessions))

    def members(self, caller: Caller, group: str) -> list[str]:
        return list(_plain(w_sessions.members, caller, group))

    def count_sessions(self) -> tuple[int, int]:
        all_of_them, bound = w_sessions.count()
        return int(all_of_them), int(bound)

    async def push(
        self, caller: Caller, to: Sequence[types.Recipient], name: str, payload: Payload
    ) -> types.Pushed:
        recipients = [to_recipient(one) for one in to]
        pushed = await _waited(w_sessions_await.push(caller, recipients, name, to_payload(payload)))
        unknown = [one for one, sent in zip(to, recipients) if sent in pushed.unknown]
        return types.Pushed(pushed.reached, unknown, list(pushed.silent))

    async def ask(
        self, caller: Caller, session_id: str, name: str, payload: Payload, timeout: int | None
    ) -> Payload:
        question = w_sessions_await.ask(caller, session_id, name, to_payload(payload), timeout)
        return from_payload(await _waited(question))

    async def apply(self, call: int) -> None:
        await _waited(w_sessions_await.apply(call))

    async def read_session(self, caller: Caller, session_id: str) -> tuple[types.SessionRecord, Pairs]:
        found, values = await _waited(w_sessions_await.read(caller, session_id))
        return record(found), list(values)

    async def write_session(self, caller: Caller, session_id: str, values: Pairs, remove: list[str]) -> None:
        await _waited(w_sessions_await.write(caller, session_id, values, remove))

    async def find_everywhere(self, caller: Caller, uid: str) -> list[types.SessionRecord]:
        return [record(one) for one in await _waited(w_sessions_await.find(caller, uid))]

    def publish_to_channel(self, caller: Caller, channel: str, payload: Payload) -> None:
        _plain(w_channels.publish, caller, channel, to_payload(payload))

    def subscribe_to_channel(self, caller: Caller, channel: str, route: str) -> str:
        return str(_plain(w_channels.subscribe, caller, channel, route))

    def unsubscribe_from_channel(self, caller: Caller, subscription: str) -> None:
        _plain(w_channels.unsubscribe, caller, subscription)

    def add_to_channel(self, caller: Caller, channel: str, session_id: str) -> None:
        _plain(w_channels.add, caller, channel, session_id)

    def kick_out(self, caller: Caller, channel: str, session_id: str, message: str) -> None:
        _plain(w_channels.kick_out, caller, channel, session_id, message)

    def count_members(self, channel: str) -> int:
        return int(w_channels.count(channel))

    async def publish_and_wait(self, caller: Caller, channel: str, payload: Payload) -> types.Position | None:
        place = await _waited(w_channels_await.publish(caller, channel, to_payload(payload)))
        return None if place is None else types.Position(place.epoch, place.offset)

    async def channel_history(
        self, caller: Caller, channel: str, after: types.Position | None, most: int
    ) -> types.ChannelPage:
        position = None if after is None else w.Position(after.epoch, after.offset)
        page = await _waited(w_channels_await.history(caller, channel, position, most))
        messages = [
            types.ChannelMessage(
                one.offset, one.at_ms, one.session, from_payload(one.payload), dict(one.extra)
            )
            for one in page.messages
        ]
        return types.ChannelPage(page.epoch, messages, page.latest, page.complete)

    async def channel_members(self, caller: Caller, channel: str) -> list[types.ChannelMember]:
        members = await _waited(w_channels_await.members(caller, channel))
        return [types.ChannelMember(one.session, one.uid, one.info) for one in members]


def _event(event: types.Event) -> Any:
    return w_sse.Event(to_payload(event.data), event.event, event.id, event.retry_ms, event.comment, _NONE)
