"""Connected clients: their sessions, messages to them, and groups of them.

A session lasts as long as the client's WebSocket. With the session of its own call a module may do
everything. All other sessions, users and groups need the grant `sessions`. Where a function takes
`session`, `None` is the session of the call.

`call.session` has the same functions, bound to one session.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ._backend import backend
from ._current import caller
from ._errors import CallError
from ._imports import json_of, millis, opt_text, payload_of, text_of
from ._payload import Payload, from_json
from .types import Pushed, Recipient, SessionRecord

__all__ = [
    "BOUND",
    "EVERYONE",
    "Count",
    "Pushed",
    "Recipient",
    "Session",
    "apply",
    "ask",
    "authenticate",
    "bind",
    "count",
    "current",
    "deauthenticate",
    "disconnect",
    "find",
    "find_everywhere",
    "get",
    "group",
    "join",
    "leave",
    "look",
    "members",
    "push",
    "read",
    "remove",
    "send",
    "session",
    "set",
    "unbind",
    "user",
    "user_on",
    "values",
    "write",
]

#: Every session that is bound to a user.
BOUND = Recipient("bound")
EVERYONE = Recipient("everyone")

TAKEN = ("refuse", "share", "replace")


class Count(NamedTuple):
    """The number of sessions of this node, and how many of them are bound to a user."""

    sessions: int
    bound: int


class Session(SessionRecord):
    """A session, with the facts that it had when it was read.

    The functions ask the host each time, so they see what other handlers have changed meanwhile.
    """

    def get(self, key: str, default: Any = None) -> Any:
        """Returns a value of the session, or the default."""
        return get(key, default, session=self.id)

    def values(self) -> dict[str, Any]:
        """Returns all values of the session by their names."""
        return values(session=self.id)

    def set(self, values: Mapping[str, Any]) -> None:
        """Sets values of the session, or none when it fails."""
        set(values, session=self.id)

    def remove(self, *keys: str) -> None:
        """Removes values of the session."""
        remove(*keys, session=self.id)

    def bind(self, uid: str, taken: str = "refuse") -> None:
        """Binds the session to a user. See `sessions.bind`."""
        bind(uid, taken, session=self.id)

    def unbind(self) -> None:
        """Ends the binding of the session to its user."""
        unbind(session=self.id)

    def authenticate(self, claims: Mapping[str, Any], *, expires: float | None = None) -> None:
        """Signs a token with these claims, valid for `expires` seconds, and sends it to the client."""
        authenticate(claims, expires=expires, session=self.id)

    def deauthenticate(self) -> None:
        """Takes the token away from the client."""
        deauthenticate(session=self.id)

    def send(self, name: str, payload: Any = None) -> bool:
        """Sends a message to the client, without waiting. Returns whether it is queued."""
        return send(session(self.id), name, payload) > 0

    async def ask(self, name: str, payload: Any = None, *, timeout: float | None = None) -> Payload:
        """Sends a message to the client and returns its answer."""
        return await ask(self.id, name, payload, timeout=timeout)

    def disconnect(self, code: int = 1000, reason: str = "") -> None:
        """Ends the session after everything that is queued for it is sent."""
        disconnect(code, reason, session=self.id)

    def join(self, group: str) -> bool:
        """Adds the session to a group. Returns whether it was not in it."""
        return join(group, [self.id]) > 0

    def leave(self, group: str) -> bool:
        """Removes the session from a group. Returns whether it was in it."""
        return leave(group, [self.id]) > 0


def of(record: SessionRecord) -> Session:
    """Adds the functions to a record."""
    return Session(**record.__dict__)


def session(id: str) -> Recipient:
    """The session with this id."""
    return Recipient("session", id)


def user(uid: str) -> Recipient:
    """Every session that is bound to this user, on every node."""
    return Recipient("uid", uid)


def user_on(uid: str, node: str) -> Recipient:
    """Every session that is bound to this user on one node."""
    return Recipient("uid-on", (uid, node))


def group(name: str) -> Recipient:
    """Every member of this group."""
    return Recipient("group", name)


def current() -> Session | None:
    """Returns the session that the call belongs to, or `None`."""
    call = caller()
    record = None if call is None else backend().current_session(call)
    return None if record is None else of(record)


def _own() -> str:
    """The id of the session that the call belongs to."""
    own = current()
    if own is None:
        raise CallError("invalid", "only a call of a connected client has a session")
    return own.id


def look(session: str) -> Session | None:
    """Returns a session of this node, or `None`."""
    record = backend().look(caller(), text_of(session))
    return None if record is None else of(record)


def find(uid: str) -> list[str]:
    """Returns the ids of the sessions of this node that are bound to a user."""
    return backend().find(caller(), text_of(uid))


def get(key: str, default: Any = None, *, session: str | None = None) -> Any:
    """Returns a value of a session, or the default."""
    text = backend().session_value(caller(), opt_text(session), text_of(key))
    return default if text is None else from_json(text)


def values(*, session: str | None = None) -> dict[str, Any]:
    """Returns all values of a session by their names."""
    return {name: from_json(text) for name, text in backend().session_values(caller(), opt_text(session))}


def _texts(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(text_of(name), json_of(value)) for name, value in values.items()]


def set(values: Mapping[str, Any], *, session: str | None = None) -> None:
    """Sets values of a session, or none when it fails.

    A value whose name begins with `_` never leaves the node of the session.
    """
    backend().set_values(caller(), opt_text(session), _texts(values))


def remove(*keys: str, session: str | None = None) -> None:
    """Removes values of a session."""
    backend().remove_values(caller(), opt_text(session), [text_of(key) for key in keys])


def bind(uid: str, taken: str = "refuse", *, session: str | None = None) -> None:
    """Binds a session to a user.

    When other sessions are bound to the user, `refuse` fails, `share` binds all of them, and
    `replace` disconnects the others, which needs the grant `sessions`.
    """
    if taken not in TAKEN:
        raise CallError("invalid", f"unknown `taken` `{taken}`: use {', '.join(TAKEN)}")
    backend().bind(caller(), opt_text(session), text_of(uid), taken)


def unbind(*, session: str | None = None) -> None:
    """Ends the binding of a session to its user."""
    backend().unbind(caller(), opt_text(session))


def authenticate(
    claims: Mapping[str, Any], *, expires: float | None = None, session: str | None = None
) -> None:
    """Signs a token with these claims, valid for `expires` seconds, and sends it to the client."""
    expires_ms = None if expires is None else int(expires * 1000)
    backend().authenticate(caller(), opt_text(session), json_of(claims), expires_ms)


def deauthenticate(*, session: str | None = None) -> None:
    """Takes the token away from the client."""
    backend().deauthenticate(caller(), opt_text(session))


def send(to: Recipient | None, name: str, payload: Any = None) -> int:
    """Sends a message to sessions, without waiting. Returns the number of those of this node.

    `None` is the session of the call.
    """
    recipient = session(_own()) if to is None else to
    return backend().send_to(caller(), recipient, text_of(name), payload_of(payload))


def disconnect(code: int = 1000, reason: str = "", *, session: str | None = None) -> None:
    """Ends a session after everything that is queued for it is sent.

    The code is 1000, or 4000 to 4999.
    """
    if code != 1000 and not 4000 <= code <= 4999:
        raise CallError("invalid", f"a close code is 1000, or 4000 to 4999, and not {code}")
    backend().disconnect(caller(), opt_text(session), code, text_of(reason))


def join(group: str, sessions: Iterable[str] | None = None) -> int:
    """Adds sessions of this node to a group. Returns how many were not in it."""
    ids = [_own()] if sessions is None else [text_of(id) for id in sessions]
    return backend().join(caller(), text_of(group), ids)


def leave(group: str, sessions: Iterable[str] | None = None) -> int:
    """Removes sessions from a group. Returns how many were in it."""
    ids = [_own()] if sessions is None else [text_of(id) for id in sessions]
    return backend().leave(caller(), text_of(group), ids)


def members(group: str) -> list[str]:
    """Returns the ids of the members of a group on this node."""
    return backend().members(caller(), text_of(group))


def count() -> Count:
    """Returns the number of sessions of this node, and how many of them are bound to a user."""
    return Count(*backend().count_sessions())


async def push(to: Iterable[Recipient], name: str, payload: Any = None) -> Pushed:
    """Sends a message to each recipient, and waits until their nodes have queued it."""
    return await backend().push(caller(), list(to), text_of(name), payload_of(payload))


async def ask(session: str, name: str, payload: Any = None, *, timeout: float | None = None) -> Payload:
    """Sends a message to one client and returns its answer."""
    return await backend().ask(
        caller(), text_of(session), text_of(name), payload_of(payload), millis(timeout)
    )


async def apply() -> None:
    """Writes the values of the call's copy of its session back to the node of the session."""
    call = caller()
    if call is None:
        raise CallError("invalid", "only a call of a connected client has a session")
    await backend().apply(call)


async def read(session: str) -> tuple[Session, dict[str, Any]]:
    """Returns a session of any node, and its values."""
    record, values = await backend().read_session(caller(), text_of(session))
    return of(record), {name: from_json(text) for name, text in values}


async def write(session: str, values: Mapping[str, Any], *, remove: Iterable[str] = ()) -> None:
    """Removes values of a session of any node, then sets values: all of it, or nothing."""
    await backend().write_session(
        caller(), text_of(session), _texts(values), [text_of(key) for key in remove]
    )


async def find_everywhere(uid: str) -> list[Session]:
    """Returns the sessions of all nodes that are bound to a user."""
    return [of(record) for record in await backend().find_everywhere(caller(), text_of(uid))]
