"""Conversions between the records that the build generates and those of the SDK."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from componentize_py_types import Ok
from wit_world.imports import fanfare_module_types as w

from . import types
from ._call import Call
from ._errors import CallError, Failure, failed, timed_out
from ._outcome import serialised
from ._payload import Payload, from_json
from ._payload import to_payload as payload_of_value

_NONE = w.Payload_None_()
_METHODS = {
    w.Method_Get: "GET",
    w.Method_Post: "POST",
    w.Method_Put: "PUT",
    w.Method_Patch: "PATCH",
    w.Method_Delete: "DELETE",
}
_ACTIONS = {
    w.ChannelAction_Subscribe: "subscribe",
    w.ChannelAction_Unsubscribe: "unsubscribe",
    w.ChannelAction_Publish: "publish",
    w.ChannelAction_Deliver: "deliver",
}
_REASONS = {
    w.StartupReason_Start: "start",
    w.StartupReason_Swap: "swap",
    w.StartupReason_Restart: "restart",
}
_KINDS = {
    w.CallError_NotFound: "not-found",
    w.CallError_Forbidden: "forbidden",
    w.CallError_Overloaded: "overloaded",
    w.CallError_Crashed: "crashed",
    w.CallError_Unavailable: "unavailable",
    w.CallError_WouldDeadlock: "would-deadlock",
    w.CallError_TooDeep: "too-deep",
    w.CallError_Invalid: "invalid",
}
_TARGETS = {
    "worker": w.Target_Worker,
    "broker": w.Target_Broker,
    "node": w.Target_Node,
    "server": w.Target_Server,
    "channel": w.Target_Channel,
    "session": w.Target_Session,
}
_GROUPS = {
    "workers": w.Group_Workers,
    "brokers": w.Group_Brokers,
    "nodes": w.Group_Nodes,
    "cluster": w.Group_Cluster,
}
_RECIPIENTS = {
    "session": w.Recipient_Session,
    "uid": w.Recipient_Uid,
    "uid-on": w.Recipient_UidOn,
    "group": w.Recipient_Group,
}


def from_payload(payload: Any) -> Payload:
    return getattr(payload, "value", None)


def to_payload(payload: Payload) -> Any:
    if payload is None:
        return _NONE
    return w.Payload_Text(payload) if isinstance(payload, str) else w.Payload_Bytes(payload)


def isolate(value: Any) -> str:
    if isinstance(value, w.Isolate_Worker):
        return f"worker-{value.value}"
    return f"broker-{value.value}" if isinstance(value, w.Isolate_Broker) else "master"


def _trigger(trigger: Any) -> types.Trigger:
    value: Any = getattr(trigger, "value", None)
    match trigger:
        case w.Trigger_Http():
            return types.Http(_METHODS.get(type(value.method)) or value.method.value.upper())
        case w.Trigger_Rpc():
            return types.Rpc()
        case w.Trigger_Broadcast():
            return types.Broadcast(value.name, value.id, value.seq, value.same_as_caller)
        case w.Trigger_Schedule():
            return types.Schedule(value.name, value.due_ms, value.run)
        case w.Trigger_Subscription():
            return types.Subscription(value.name, value.source, value.topic, value.id)
        case w.Trigger_Client():
            return types.ClientMessage(value.session, value.name, value.wants_reply)
        case w.Trigger_Channel():
            action = _ACTIONS.get(type(value.action)) or value.action.value
            return types.ChannelEvent(value.channel, action, value.session)
        case w.Trigger_Hook():
            return types.Hook(value.name)
        case w.Trigger_Startup():
            return types.Startup(value.name, _REASONS.get(type(value.reason)) or value.reason.value)
        case _:
            return types.Other(*value)


def _origin(origin: Any) -> types.Origin:
    match origin:
        case w.Origin_Client():
            return types.Origin("client")
        case w.Origin_Session():
            return types.Origin("session", origin.value)
        case w.Origin_Guest():
            guest = origin.value
            return types.Origin("guest", None, guest.module, isolate(guest.isolate), guest.node)
        case w.Origin_Host():
            return types.Origin("host")
        case w.Origin_Operator():
            return types.Origin("operator")
        case _:
            return types.Origin(*origin.value)


class Arrived(Call):
    """A call of the host. Converts what many handlers do not read only when they read it."""

    def __init__(self, raw: Any) -> None:
        # Not the initialiser of the base class, which every call would pay for.
        self._raw = raw
        self._query = None
        self.id = raw.id
        self.handler = raw.handler
        self.payload = getattr(raw.payload, "value", None)

    def __getattr__(self, name: str) -> Any:
        """Computes an attribute on its first use. Python asks only for those that are not set."""
        read = _LATER.get(name)
        if read is None:
            raise AttributeError(f"a call has no attribute `{name}`", name=name, obj=self)
        value = self.__dict__[name] = read(self.__dict__["_raw"])
        return value


_LATER: dict[str, Callable[[Any], Any]] = {
    "trigger": lambda raw: _trigger(raw.trigger),
    "origin": lambda raw: _origin(raw.origin),
    "subdomain": lambda raw: raw.subdomain,
    "deadline_ms": lambda raw: raw.deadline_ms,
    "params": lambda raw: dict(raw.params),
    "query_string": lambda raw: raw.query,
    "extra": lambda raw: dict(raw.extra),
}


def outcome(value: Any) -> Any:
    """Converts what a handler has returned."""
    if isinstance(value, types.Passed):
        payload = to_payload(value.payload) if value.replaces else None
        return w.Outcome_Pass(w.Passed(payload, list(value.extra.items())))
    if isinstance(value, types.Reply):
        headers = [(str(name), str(text)) for name, text in value.headers]
        extra = list(value.extra.items())
        return w.Outcome_Reply(w.Reply(value.status, headers, to_payload(value.payload), extra))
    payload, headers = serialised(value)
    return w.Outcome_Reply(w.Reply(0, headers, to_payload(payload), []))


def failure(error: Failure) -> Any:
    """Converts a failure. A part that the contract cannot represent must not become a trap."""
    try:
        data = payload_of_value(error.data)[0]
    except (TypeError, ValueError):
        data = None
    status = error.status if isinstance(error.status, int) and 400 <= error.status <= 599 else 500
    extra = [(_text(name), _text(value)) for name, value in error.extra.items()]
    return w.Failure(_text(error.name), _text(error.message), status, to_payload(data), extra)


def _text(value: object) -> str:
    text = str(value)
    return text if text.isascii() else text.encode(errors="replace").decode()


def call_error(error: Any) -> CallError:
    kind = _KINDS.get(type(error))
    if kind is not None:
        return CallError(kind, error.value)
    if isinstance(error, w.CallError_Failure):
        raw = error.value
        data = from_payload(raw.data)
        return failed(Failure(raw.name, raw.message, status=raw.status, data=data, extra=dict(raw.extra)))
    if isinstance(error, w.CallError_Timeout):
        return timed_out()
    return CallError(*error.value)


def reply(raw: Any) -> types.Reply:
    return types.Reply(raw.status, list(raw.headers), from_payload(raw.payload), dict(raw.extra))


def entry(raw: Any) -> types.Entry:
    if isinstance(raw.outcome, Ok):
        return types.Entry(isolate(raw.isolate), raw.node, reply(raw.outcome.value), None)
    return types.Entry(isolate(raw.isolate), raw.node, None, call_error(raw.outcome.value))


def receipt(raw: Any) -> types.Receipt:
    skipped = [types.Skipped(isolate(one.isolate), one.node, one.reason) for one in raw.skipped]
    return types.Receipt(raw.id, raw.seq, raw.accepted, skipped, dict(raw.extra))


def record(raw: Any) -> types.SessionRecord:
    return types.SessionRecord(
        raw.id, raw.worker, raw.uid, raw.ip, raw.protocol, raw.claims, raw.since_ms, dict(raw.extra)
    )


def node(raw: Any) -> types.Node:
    """Converts a node of the cluster."""
    settings = from_json(raw.settings)
    return types.Node(
        raw.id, raw.server, raw.frontend, raw.workers, settings, raw.since_ms, dict(raw.extra)
    )


def session(raw: Any) -> types.SessionRecord | None:
    return None if raw is None else record(raw)


def to_target(target: types.Target) -> Any:
    if target.kind == "any":
        return w.Target_Any()
    if target.kind == "master":
        return w.Target_Master()
    known = _TARGETS.get(target.kind)
    return w.Target_Other((target.kind, str(target.value))) if known is None else known(target.value)


def to_group(group: types.Group) -> Any:
    if group.kind == "servers":
        return w.Group_Servers(group.value)
    known = _GROUPS.get(group.kind)
    return w.Group_Other((group.kind, str(group.value))) if known is None else known()


def to_recipient(recipient: types.Recipient) -> Any:
    if recipient.kind == "bound":
        return w.Recipient_Bound()
    if recipient.kind == "everyone":
        return w.Recipient_Everyone()
    known = _RECIPIENTS.get(recipient.kind)
    return (
        w.Recipient_Other((recipient.kind, str(recipient.value))) if known is None else known(recipient.value)
    )
