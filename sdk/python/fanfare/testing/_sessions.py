"""Sessions of the host in memory: what the imports of `sessions` do with them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .. import types
from .._backend import Caller, Pairs
from .._errors import CallError
from .._imports import payload_of
from .._payload import Body, Payload
from ._manifest import Socket

if TYPE_CHECKING:
    from ._node import Node

NODE = "test"
# The most bytes of a name and of the reason of a close, as in the real host.
_LONGEST_NAME = 256
_LONGEST_REASON = 123
# The close code of a session whose user another session was bound to.
_REPLACED = 4010
_KINDS = ("session", "uid", "uid-on", "group", "bound", "everyone")


@dataclass(frozen=True)
class Received(Body):
    """A message that a client received, or the reply to one that it sent."""

    #: Empty for a plain WebSocket, which receives the payload alone.
    name: str
    payload: Payload


@dataclass
class Connection:
    """What the host knows of a connected client."""

    record: types.SessionRecord
    socket: Socket | None
    subdomain: str | None
    values: dict[str, str] = field(default_factory=dict)
    groups: set[str] = field(default_factory=set)
    received: list[Received] = field(default_factory=list)
    answers: dict[str, Callable[[Payload], Any]] = field(default_factory=dict)
    #: The code and the reason, when the connection is closed.
    closed: tuple[int, str] | None = None

    def receive(self, name: str, payload: Payload) -> None:
        """Delivers a message."""
        self.received.append(Received("" if self.socket else name, payload))

    def is_for(self, to: types.Recipient) -> bool:
        """Whether a message to this recipient is for the client."""
        record = self.record
        if to.kind == "session":
            return record.id == to.value
        if to.kind == "uid":
            return record.uid is not None and record.uid == to.value
        if to.kind == "uid-on":
            return record.uid is not None and (record.uid, NODE) == to.value
        if to.kind == "group":
            return to.value in self.groups
        return to.kind == "everyone" or (to.kind == "bound" and record.uid is not None)


def may_close_with(code: int) -> bool:
    """Whether a module may end a session with this code."""
    return code == 1000 or 4000 <= code <= 4999


def _check_name(what: str, name: str) -> None:
    size = len(name.encode())
    if not 1 <= size <= _LONGEST_NAME:
        raise CallError("invalid", f"the name of {what} has 1 to {_LONGEST_NAME} bytes, found {size}")


def _check_message(name: str, to: Iterable[types.Recipient] = ()) -> None:
    if any(one.kind not in _KINDS for one in to):
        raise CallError("invalid", "this version does not know the kind of recipient")
    _check_name("a message", name)
    if any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in name):
        raise CallError("invalid", "the name of a message has no control characters")


class Sessions:
    """The clients of a host, and the sessions that they have."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.connections: dict[str, Connection] = {}
        self._ids = itertools.count()

    def add(self, worker: int, socket: Socket | None, subdomain: str | None) -> Connection:
        """Creates a session."""
        id = f"{NODE}/client{next(self._ids):014}"
        protocol = "plain" if socket else "socketcluster/2"
        record = types.SessionRecord(id, worker, None, "127.0.0.1", protocol, None, 1_700_000_000_000, {})
        connection = self.connections[id] = Connection(record, socket, subdomain)
        return connection

    def open(self) -> list[Connection]:
        """Returns the clients that are connected."""
        return [one for one in self.connections.values() if one.closed is None]

    def get(self, caller: Caller, session: str | None) -> Connection:
        """Returns the named session, or that of the call. One that ended exists for its own calls only."""
        own = self.node.session_of(caller)
        id = own if session is None else session
        if id is None:
            raise CallError("invalid", "the call belongs to no session: name the session")
        found = self.connections.get(id)
        if found is None or (found.closed is not None and id != own):
            raise CallError("not-found", f"there is no session {id}")
        return found

    def change(self, caller: Caller, session: str | None, **facts: Any) -> None:
        """Changes facts of a session."""
        found = self.get(caller, session)
        found.record = replace(found.record, **facts)

    def set_values(self, caller: Caller, session: str | None, values: Pairs, remove: Sequence[str]) -> None:
        """Removes values, then sets values: all of it, or nothing."""
        for key, text in values:
            _check_name("a value", key)
            try:
                json.loads(text)
            except ValueError as error:
                raise CallError("invalid", f"the value `{key}` is not JSON: {error}") from None
        found = self.get(caller, session)
        for key in remove:
            found.values.pop(key, None)
        found.values.update(values)

    def bind(self, caller: Caller, session: str | None, uid: str, taken: str) -> None:
        """Binds a session to a user."""
        _check_name("a user", uid)
        found = self.get(caller, session)
        others = [one for one in self.open() if one.record.uid == uid and one is not found]
        if taken == "refuse" and others:
            raise CallError("forbidden", f"another session is bound to {uid}")
        found.record = replace(found.record, uid=uid)
        if taken == "replace":
            for other in others:
                # The session has no user any more, also in its hook `disconnect`.
                other.record = replace(other.record, uid=None)
                self.close(other, _REPLACED, "the user has connected again")

    def authenticate(self, caller: Caller, session: str | None, claims: str) -> None:
        """Gives a client a token."""
        if not isinstance(json.loads(claims), dict):
            raise CallError("invalid", "the claims are not a JSON object")
        if self.get(caller, session).socket:
            raise CallError("invalid", "a plain WebSocket has no tokens")
        self.change(caller, session, claims_text=claims)

    def deliver(self, to: types.Recipient, name: str, payload: Payload) -> int:
        """Sends a message. Returns how many clients it reached."""
        reached = [one for one in self.open() if one.is_for(to)]
        for one in reached:
            one.receive(name, payload)
        return len(reached)

    def push(self, to: Sequence[types.Recipient], name: str, payload: Payload) -> types.Pushed:
        """Sends a message to each recipient."""
        _check_message(name, to)
        reached, unknown = 0, []
        # A recipient that is named twice counts once.
        for one in dict.fromkeys(to):
            count = self.deliver(one, name, payload)
            reached += count
            if count == 0 and one.kind not in ("bound", "everyone"):
                unknown.append(one)
        return types.Pushed(reached, unknown, [])

    async def ask(self, caller: Caller, session: str, name: str, payload: Payload) -> Payload:
        """Sends a message to a client, and returns its answer."""
        _check_message(name)
        found = self.get(caller, session)
        if found.socket:
            raise CallError("invalid", "a plain WebSocket sends no answers")
        found.receive(name, payload)
        answer = found.answers.get(name)
        if answer is None:
            raise CallError("timeout", "no answer by the deadline")
        return payload_of(answer(payload))

    def disconnect(self, caller: Caller, session: str | None, code: int, reason: str) -> None:
        """Ends a session for the module."""
        if not may_close_with(code):
            raise CallError("invalid", f"a close code is 1000 or 4000 to 4999, found {code}")
        size = len(reason.encode())
        if size > _LONGEST_REASON:
            raise CallError(
                "invalid", f"the reason of a disconnect has at most {_LONGEST_REASON} bytes, found {size}"
            )
        self.close(self.get(caller, session), code, reason)

    def close(self, found: Connection, code: int, reason: str) -> None:
        """Ends a session, and starts the hook `disconnect`, whose outcome changes nothing."""
        if found.closed is not None:
            return
        found.closed = (code, reason)
        self.node.channels.leave_all(found.record.id)
        text = json.dumps({"code": code, "reason": reason}, separators=(",", ":"))
        hook = self.node.clients.hook("disconnect", found.record.worker, found, text)
        self.node.keep(self.node.spawn(self.node.quietly(hook)))

    def regroup(self, group: str, sessions: Sequence[str], joins: bool) -> int:
        """Adds sessions to a group, or removes them. Returns how many changed."""
        _check_name("a group", group)
        changed = [
            one for one in self.open() if one.record.id in sessions and (group in one.groups) != joins
        ]
        for one in changed:
            (one.groups.add if joins else one.groups.discard)(group)
        return len(changed)


class SessionImports:
    """The functions of `sessions`."""

    node: Node

    @property
    def _sessions(self) -> Sessions:
        return self.node.sessions

    def current_session(self, call: int) -> types.SessionRecord | None:
        return None if self.node.session_of(call) is None else self._sessions.get(call, None).record

    def look(self, caller: Caller, session: str) -> types.SessionRecord | None:
        try:
            return self._sessions.get(caller, session).record
        except CallError:
            return None

    def find(self, caller: Caller, uid: str) -> list[str]:
        return [one.record.id for one in self._sessions.open() if one.record.uid == uid]

    def session_value(self, caller: Caller, session: str | None, key: str) -> str | None:
        return self._sessions.get(caller, session).values.get(key)

    def session_values(self, caller: Caller, session: str | None) -> Pairs:
        return sorted(self._sessions.get(caller, session).values.items())

    def set_values(self, caller: Caller, session: str | None, values: Pairs) -> None:
        self._sessions.set_values(caller, session, values, [])

    def remove_values(self, caller: Caller, session: str | None, keys: list[str]) -> None:
        self._sessions.set_values(caller, session, [], keys)

    def bind(self, caller: Caller, session: str | None, uid: str, taken: str) -> None:
        self._sessions.bind(caller, session, uid, taken)

    def unbind(self, caller: Caller, session: str | None) -> None:
        self._sessions.change(caller, session, uid=None)

    def authenticate(
        self, caller: Caller, session: str | None, claims: str, expires_ms: int | None
    ) -> None:
        self._sessions.authenticate(caller, session, claims)

    def deauthenticate(self, caller: Caller, session: str | None) -> None:
        self._sessions.change(caller, session, claims_text=None)

    def send_to(self, caller: Caller, to: types.Recipient, name: str, payload: Payload) -> int:
        _check_message(name, [to])
        return self._sessions.deliver(to, name, payload)

    def disconnect(self, caller: Caller, session: str | None, code: int, reason: str) -> None:
        self._sessions.disconnect(caller, session, code, reason)

    def join(self, caller: Caller, group: str, sessions: list[str]) -> int:
        return self._sessions.regroup(group, sessions, True)

    def leave(self, caller: Caller, group: str, sessions: list[str]) -> int:
        return self._sessions.regroup(group, sessions, False)

    def members(self, caller: Caller, group: str) -> list[str]:
        return [one.record.id for one in self._sessions.open() if group in one.groups]

    def count_sessions(self) -> tuple[int, int]:
        connected = self._sessions.open()
        return len(connected), sum(one.record.uid is not None for one in connected)

    async def push(
        self, caller: Caller, to: Sequence[types.Recipient], name: str, payload: Payload
    ) -> types.Pushed:
        return self._sessions.push(to, name, payload)

    async def ask(
        self, caller: Caller, session: str, name: str, payload: Payload, timeout: int | None
    ) -> Payload:
        return await self._sessions.ask(caller, session, name, payload)

    async def apply(self, call: int) -> None:
        self._sessions.get(call, None)

    async def read_session(self, caller: Caller, session: str) -> tuple[types.SessionRecord, Pairs]:
        return self._sessions.get(caller, session).record, self.session_values(caller, session)

    async def write_session(self, caller: Caller, session: str, values: Pairs, remove: list[str]) -> None:
        self._sessions.set_values(caller, session, values, remove)

    async def find_everywhere(self, caller: Caller, uid: str) -> list[types.SessionRecord]:
        return [one.record for one in self._sessions.open() if one.record.uid == uid]
