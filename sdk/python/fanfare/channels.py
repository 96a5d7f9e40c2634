"""Channels: messages between clients and modules, by the names of the channels.

A module's own channels are its name, those that begin with `<name>/`, and those that it declares.
Other channels need the grant `channels`.
"""

from __future__ import annotations

from typing import Any

from ._backend import backend
from ._current import caller
from ._imports import payload_of, text_of
from .types import ChannelMember, ChannelMessage, ChannelPage, Position

__all__ = [
    "ChannelMember",
    "ChannelMessage",
    "ChannelPage",
    "Position",
    "add",
    "count",
    "history",
    "kick_out",
    "members",
    "publish",
    "publish_and_wait",
    "subscribe",
    "unsubscribe",
]


def publish(channel: str, payload: Any = None) -> None:
    """Publishes a message, without waiting for the route of the channel."""
    backend().publish_to_channel(caller(), text_of(channel), payload_of(payload))


async def publish_and_wait(channel: str, payload: Any = None) -> Position | None:
    """Publishes a message, and waits until it has its place in the order of the channel.

    Returns the place, or `None` when the channel keeps no history. Raises `CallError` when the
    route of the channel refuses the message.
    """
    return await backend().publish_and_wait(caller(), text_of(channel), payload_of(payload))


def subscribe(channel: str, route: str) -> str:
    """Subscribes a route of this module, in this worker, to a channel.

    Returns the name of the subscription, which outlasts swaps and crashes.
    """
    return backend().subscribe_to_channel(caller(), text_of(channel), text_of(route))


def unsubscribe(subscription: str) -> None:
    """Ends a subscription that `subscribe` made in this worker."""
    backend().unsubscribe_from_channel(caller(), text_of(subscription))


def add(channel: str, session: str) -> None:
    """Subscribes a client of this node to a channel, without asking the route of the channel."""
    backend().add_to_channel(caller(), text_of(channel), text_of(session))


def kick_out(channel: str, session: str, message: str = "") -> None:
    """Ends the subscription of a client of this node, which receives the message as the reason."""
    backend().kick_out(caller(), text_of(channel), text_of(session), text_of(message))


def count(channel: str) -> int:
    """Returns the number of members of a channel on this node."""
    return backend().count_members(text_of(channel))


async def history(channel: str, *, after: Position | str | None = None, most: int = 100) -> ChannelPage:
    """Returns messages that a channel has kept, oldest first.

    Returns up to `most` messages after a position, or the newest without one. A page has at most
    1,000 messages. When it ends before `latest`, continue after its last message.
    """
    position = Position.parse(after) if isinstance(after, str) else after
    return await backend().channel_history(caller(), text_of(channel), position, most)


async def members(channel: str) -> list[ChannelMember]:
    """Returns the members of a channel with presence."""
    return await backend().channel_members(caller(), text_of(channel))
