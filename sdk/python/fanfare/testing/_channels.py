"""Channels of the host in memory: their members, messages and routes."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .. import types
from .._backend import Caller
from .._errors import CallError, Failure, failed
from .._payload import Payload
from ._manifest import Asked, ChannelEntry
from ._records import Message

if TYPE_CHECKING:
    from ._node import Node

#: The epoch of every channel, and when every message got its place.
EPOCH = "test"
_AT_MS = 1_700_000_000_000
# Members of a channel are announced on the channel with this prefix.
_PRESENCE = "presence/"
_LONGEST_NAME = 256
# The most messages of a page, as in the real host.
_MOST = 1_000

Placed = asyncio.Future["types.Position | None"]


@dataclass
class Channel:
    """What the host knows of a channel."""

    #: In the order in which they subscribed.
    members: dict[str, types.ChannelMember] = field(default_factory=dict)
    #: All messages so far, also those that a real host would not keep.
    messages: list[types.ChannelMessage] = field(default_factory=list)


@dataclass(frozen=True)
class Step:
    """An action on a channel."""

    action: str
    session: str | None
    payload: Payload = None
    #: The message to deliver to `session`.
    message: types.ChannelMessage | None = None


@dataclass(frozen=True)
class _Made:
    """A subscription that the module made while it runs."""

    channel: str
    route: str
    worker: int


def _announced(channel: str) -> str | None:
    """The channel whose members a channel announces."""
    return channel.removeprefix(_PRESENCE) or None if channel.startswith(_PRESENCE) else None


def _check_name(name: str) -> None:
    if not 1 <= len(name.encode()) <= _LONGEST_NAME or any(ord(letter) < 32 for letter in name):
        raise CallError(
            "invalid",
            f"the name of a channel has 1 to {_LONGEST_NAME} bytes and no control characters: {name!r}",
        )


def _data_of(payload: Payload) -> Any:
    """The data of a message as a client of SocketCluster receives it."""
    if isinstance(payload, bytes):
        return {"base64": True, "data": base64.b64encode(payload).decode()}
    try:
        return None if payload is None else json.loads(payload)
    except ValueError:
        return payload


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _decided(outcome: types.Reply | types.Passed) -> types.Passed:
    """What the route of a channel allows. Raises `CallError` when it refuses."""
    if isinstance(outcome, types.Passed):
        return outcome
    if outcome.status < 300:
        return types.Passed()
    failure = Failure("refused", "the route of the channel refuses this", status=outcome.status)
    raise failed(failure)


class Channels:
    """The channels of a host."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.channels: dict[str, Channel] = {}
        self.subscriptions: dict[str, _Made] = {}
        self._made = 0
        # The last action of each channel, and of each client's messages of a channel.
        self._last: dict[tuple[str, str | None], Placed] = {}

    def of(self, channel: str) -> Channel:
        """Returns a channel, which exists as soon as somebody names it."""
        return self.channels.setdefault(channel, Channel())

    def _entry(self, channel: str) -> ChannelEntry | None:
        return self.node.manifest.channel(channel)

    def offer(self, channel: str, step: Step, origin: types.Origin) -> Placed:
        """Does an action after those before it, and after the route of the channel allows it."""
        _check_name(channel)
        if step.action == "publish" and _announced(channel):
            raise CallError("forbidden", f"only the host publishes to {channel}")
        return self._queue(channel, step, origin)

    def _queue(self, channel: str, step: Step, origin: types.Origin) -> Placed:
        asked = _announced(channel) or channel
        entry = self._entry(asked)
        route = entry.asks(step.action) if entry else None
        line = (channel, step.session if step.message else None)
        last = self._last.get(line)
        placed: Placed
        if route is None and (last is None or last.done()):
            placed = self.node.loop.create_future()
            try:
                placed.set_result(self._act(channel, step, types.Passed()))
            except CallError as error:
                placed.set_exception(error)
        else:
            decision = None if route is None else self._ask(route, asked, step, origin)
            task = self.node.spawn(self._later(channel, step, decision, last))
            self.node.keep(task)
            placed = task
        # Nobody waits for the outcome of `publish`.
        placed.add_done_callback(lambda placed: placed.cancelled() or placed.exception())
        self._last[line] = placed
        return placed

    async def _later(
        self,
        channel: str,
        step: Step,
        decision: asyncio.Task[types.Reply | types.Passed] | None,
        last: Placed | None,
    ) -> types.Position | None:
        """Waits for the route and for the action before this one."""
        waits = [one for one in (decision, last) if one is not None]
        await asyncio.wait(waits)
        return self._act(channel, step, types.Passed() if decision is None else _decided(decision.result()))

    def _ask(
        self, route: str, channel: str, step: Step, origin: types.Origin
    ) -> asyncio.Task[types.Reply | types.Passed]:
        """Calls the route of a channel. This host has no brokers: worker 0 runs it."""
        connection = self.node.sessions.connections.get(step.session or "")
        subdomain = connection.subdomain if connection else None
        event = types.ChannelEvent(channel, step.action, step.session)
        payload = step.message.payload if step.message else step.payload
        call = self.node.to(route, 0, event, origin, payload, session=step.session, subdomain=subdomain)
        return self.node.spawn(self.node.outcome(call))

    def _act(self, channel: str, step: Step, passed: types.Passed) -> types.Position | None:
        """Does an action that is allowed."""
        session = step.session or ""
        if step.action == "publish":
            return self._place(channel, step.session, passed.payload if passed.replaces else step.payload)
        if step.action == "subscribe":
            info = passed.payload if passed.replaces else step.payload
            self.join(channel, session, None if info is None else _text(_data_of(info)))
        elif step.action == "unsubscribe":
            self.leave(channel, session)
        elif step.message:
            message = step.message
            if passed.replaces:
                message = replace(message, payload=passed.payload)
            self._send(channel, session, message)
        return None

    def _place(self, channel: str, session: str | None, payload: Payload) -> types.Position | None:
        """Orders a message, and sends it to the members and the subscribed routes."""
        place, entry = self.of(channel), self._entry(channel)
        message = types.ChannelMessage(len(place.messages) + 1, _AT_MS, session, payload)
        place.messages.append(message)
        position = types.Position(EPOCH, message.offset) if entry and entry.kept else None
        for member in list(place.members):
            self._queue(channel, Step("deliver", member, None, message), types.Origin("host"))
        for name, made in list(self.subscriptions.items()):
            if made.channel == channel:
                id = None if position is None else str(position)
                trigger = types.Subscription(name, "channel", channel, id)
                call = self.node.to(made.route, made.worker, trigger, types.Origin("host"), payload)
                self.node.keep(self.node.spawn(self.node.quietly(self.node.outcome(call))))
        return position

    def _send(self, channel: str, session: str, message: types.ChannelMessage) -> None:
        connection = self.node.sessions.connections.get(session)
        if connection is None or connection.closed is not None:
            return
        entry = self._entry(channel)
        if connection.socket and not (entry and entry.envelope):
            connection.receive("#publish", message.payload)
            return
        packet: dict[str, Any] = {"channel": channel}
        if message.payload is not None:
            packet["data"] = _data_of(message.payload)
        if entry and entry.kept:
            packet["position"] = f"{EPOCH}-{message.offset}"
        connection.receive("#publish", _text(packet))

    def join(self, channel: str, session: str, info: str | None) -> None:
        """Makes a client a member. A member that subscribes again is not an error."""
        record, members = self.node.sessions.get(None, session).record, self.of(channel).members
        if session not in members:
            members[session] = types.ChannelMember(session, record.uid, info)
            self._announce(channel, members[session], "join")

    def leave(self, channel: str, session: str) -> bool:
        """Ends a membership. Returns whether it existed."""
        member = self.of(channel).members.pop(session, None)
        if member is not None:
            self._announce(channel, member, "leave")
        return member is not None

    def leave_all(self, session: str) -> None:
        """Ends all memberships of a client."""
        for channel in list(self.channels):
            self.leave(channel, session)

    def _announce(self, channel: str, member: types.ChannelMember, action: str) -> None:
        """Tells the route of a channel with presence, and the readers of its announcements."""
        entry = self._entry(channel)
        if entry is None or not entry.presence or _announced(channel):
            return
        id = member.session.partition("/")[2]
        about = {"id": id, "uid": member.uid, "info": member.info}
        text = _text({"action": action, "member": about, "count": len(self.of(channel).members)})
        self._place(_PRESENCE + channel, None, text)
        route = entry.asks(action)
        if route is not None:
            event = types.ChannelEvent(channel, action, member.session)
            call = self.node.to(route, 0, event, types.Origin("host"), None, session=member.session)
            self.node.keep(self.node.spawn(self.node.quietly(self.node.outcome(call))))

    def subscribe(self, worker: int, channel: str, route: str) -> str:
        """Subscribes a route at run time."""
        _check_name(channel)
        self.node.manifest.find(Asked.parse(route))
        made = _Made(channel, route, worker)
        for name, other in self.subscriptions.items():
            if other == made:
                return name
        self._made += 1
        name = f"channel-{self._made}"
        self.subscriptions[name] = made
        return name

    def unsubscribe(self, worker: int, name: str) -> None:
        """Ends a subscription."""
        made = self.subscriptions.get(name)
        if made is None or made.worker != worker:
            raise CallError("not-found", f"there is no subscription `{name}` in this worker")
        del self.subscriptions[name]

    def kick_out(self, channel: str, session: str, message: str) -> None:
        """Ends the membership of a client, and tells the client why."""
        _check_name(channel)
        connection = self.node.sessions.get(None, session)
        if self.leave(channel, session) and not connection.socket:
            connection.receive("#kickOut", _text({"message": message, "channel": channel}))

    def history(self, channel: str, after: types.Position | None, most: int) -> types.ChannelPage:
        """Returns the messages that a real host would keep."""
        _check_name(channel)
        entry, every = self._entry(channel), self.of(channel).messages
        kept = every[-entry.kept :] if entry and entry.kept and not _announced(channel) else []
        latest, most = len(every), min(most, _MOST)
        if after is None:
            page = kept[-most:] if most else []
            complete = not page or page[0].offset == 1
        else:
            same = after.epoch == EPOCH
            rest = [one for one in kept if not same or one.offset > after.offset]
            page = rest[:most]
            complete = same and (rest[0].offset if rest else latest + 1) <= after.offset + 1
        return types.ChannelPage(EPOCH, page, latest, complete)

    def listed(self, channel: str) -> list[types.ChannelMember]:
        """Returns the members of a channel with presence."""
        _check_name(channel)
        entry = self._entry(channel)
        if entry is None or not entry.presence or _announced(channel):
            raise CallError(
                "invalid", f"{channel} has no presence: set `presence` of its entry in `channels`"
            )
        return list(self.of(channel).members.values())


class ChannelImports:
    """The functions of `channels`."""

    node: Node

    def publish_to_channel(self, caller: Caller, channel: str, payload: Payload) -> None:
        self._publish(caller, channel, payload)

    def _publish(self, caller: Caller, channel: str, payload: Payload) -> Placed:
        placed = self.node.channels.offer(channel, Step("publish", None, payload), self.node.guest(caller))
        self.node.messages.append(Message("channel", channel, payload))
        return placed

    async def publish_and_wait(self, caller: Caller, channel: str, payload: Payload) -> types.Position | None:
        return await self._publish(caller, channel, payload)

    def subscribe_to_channel(self, caller: Caller, channel: str, route: str) -> str:
        return self.node.channels.subscribe(self.node.worker_of(caller), channel, route)

    def unsubscribe_from_channel(self, caller: Caller, subscription: str) -> None:
        self.node.channels.unsubscribe(self.node.worker_of(caller), subscription)

    def add_to_channel(self, caller: Caller, channel: str, session: str) -> None:
        _check_name(channel)
        self.node.channels.join(channel, session, None)

    def kick_out(self, caller: Caller, channel: str, session: str, message: str) -> None:
        self.node.channels.kick_out(channel, session, message)

    def count_members(self, channel: str) -> int:
        return len(self.node.channels.of(channel).members)

    async def channel_history(
        self, caller: Caller, channel: str, after: types.Position | None, most: int
    ) -> types.ChannelPage:
        return self.node.channels.history(channel, after, most)

    async def channel_members(self, caller: Caller, channel: str) -> list[types.ChannelMember]:
        return self.node.channels.listed(channel)
