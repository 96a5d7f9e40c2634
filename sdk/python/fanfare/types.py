"""The records of the contract, as values of Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Union

from ._errors import CallError
from ._payload import Body, Payload, from_json


@dataclass(frozen=True)
class Http:
    """A request from outside."""

    #: In capital letters. `HEAD` arrives as `GET`.
    method: str
    kind = "http"


@dataclass(frozen=True)
class Broadcast:
    """A broadcast of the module, which runs in every worker."""

    name: str
    id: int
    seq: int
    #: Whether a guest in this very worker emitted the broadcast.
    same_as_caller: bool
    kind = "broadcast"


@dataclass(frozen=True)
class Rpc:
    """A call of a guest, of the operator or of the embedding program."""

    kind = "rpc"


@dataclass(frozen=True)
class Schedule:
    """A schedule is due, or the operator runs it by hand."""

    name: str
    #: When the run was due, in milliseconds since 1970-01-01 UTC.
    due_ms: int
    #: The id of the run in the whole cluster.
    run: str
    kind = "schedule"


@dataclass(frozen=True)
class Subscription:
    """An event of the event service, or a message of Redis or of a channel."""

    name: str
    #: `event`, `redis`, `nats`, `channel`, or a later kind.
    source: str
    topic: str
    id: str | None
    kind = "subscription"


@dataclass(frozen=True)
class ClientMessage:
    """A message of a connected client."""

    session: str
    name: str
    wants_reply: bool
    kind = "client"


@dataclass(frozen=True)
class ChannelEvent:
    """An action on a channel that the module declares."""

    channel: str
    #: `subscribe`, `unsubscribe`, `publish`, `deliver`, `join`, `leave`, or a later action.
    action: str
    #: The session of the client that acts. `None` when a guest or the host acts.
    session: str | None
    kind = "channel"


@dataclass(frozen=True)
class Hook:
    """An event of the host. The payload describes it as JSON."""

    name: str
    kind = "hook"


@dataclass(frozen=True)
class Startup:
    """A new instance that does not serve calls yet."""

    name: str
    #: `start`, `swap`, `restart`, or a later reason.
    reason: str
    kind = "startup"


@dataclass(frozen=True)
class Other:
    """A kind of trigger without a class of its own: its name, and its data as JSON text.

    A client that asks to open a live stream has the name `stream`.
    """

    name: str
    data: str

    @property
    def kind(self) -> str:
        """The name of the trigger in the contract."""
        return self.name


#: What caused a call. `kind` is its name in the contract.
Trigger = Union[
    Http, Broadcast, Rpc, Schedule, Subscription, ClientMessage, ChannelEvent, Hook, Startup, Other
]


@dataclass(frozen=True)
class Origin:
    """Who made a call."""

    #: `client`, `session`, `guest`, `host`, `operator`, or a later kind.
    kind: str
    #: The session of a client in a session, or the id of a later kind.
    id: str | None = None
    #: The module of a guest, and the isolate that it runs in.
    module: str | None = None
    isolate: str | None = None
    #: The node of a guest. `None` for this node.
    node: str | None = None


@dataclass
class Reply(Body):
    """How a call ends well. `fanfare.reply` creates it from any body."""

    #: 200 to 599. 0 stands for 200, or 204 without a payload.
    status: int = 0
    #: Names and values, in order.
    headers: list[tuple[str, str]] = field(default_factory=list)
    payload: Payload = None
    extra: dict[str, str] = field(default_factory=dict)

    def header(self, name: str) -> str | None:
        """Returns the first value of a header field."""
        wanted = name.lower()
        return next((value for other, value in self.headers if other.lower() == wanted), None)

    def _malformed(self, name: str, message: str) -> Exception:
        return CallError("invalid", f"cannot read the reply: {message}")


@dataclass
class Passed:
    """Lets the call continue with its next step. `fanfare.passed` creates it."""

    #: Whether `payload` replaces the payload of the call.
    replaces: bool = False
    payload: Payload = None
    #: Facts for the next steps, which find each as `<module>.<name>`.
    extra: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """The answer of one place, when a call went to several."""

    #: The isolate, such as `worker-0`.
    isolate: str
    #: The id of the node. `None` for this node.
    node: str | None
    reply: Reply | None
    error: CallError | None

    @property
    def ok(self) -> bool:
        """Whether the place replied."""
        return self.error is None

    def result(self) -> Reply:
        """Returns the reply. Raises the error of the place."""
        if self.error is not None:
            raise self.error
        return self.reply or Reply()


@dataclass(frozen=True)
class Skipped:
    """A place that a broadcast skipped, and why."""

    isolate: str
    node: str | None
    reason: str


@dataclass(frozen=True)
class Receipt:
    """What the host returns for a broadcast or a reload request that it accepted."""

    id: int
    seq: int
    #: The number of workers that the broadcast was queued for.
    accepted: int
    skipped: list[Skipped]
    extra: dict[str, str]


@dataclass(frozen=True)
class Node:
    """A node of the cluster."""

    id: str
    #: Its server type, such as `chat`.
    server: str
    #: Whether clients connect to it.
    frontend: bool = False
    workers: int = 1
    #: The keys of its entry in `cluster.servers` that the host does not know.
    settings: dict[str, Any] = field(default_factory=dict)
    #: When it started, in milliseconds since 1970-01-01 UTC.
    since_ms: int = 0
    extra: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Identity:
    """Where the module runs."""

    node: str
    #: The server type of the node, such as `chat`.
    server: str
    #: The isolate, such as `worker-0`.
    isolate: str
    #: The number of workers of the node.
    workers: int
    module: str
    #: The digest of the module's generation.
    generation: str


@dataclass(frozen=True)
class RequestHead:
    """The part of an HTTP request that is no header field."""

    #: The path without the query, not decoded.
    path: str
    scheme: str
    authority: str
    #: The address and port of the client's end of the socket.
    peer: str


@dataclass(frozen=True)
class SessionRecord:
    """A connected client, with the facts that it had when the session was read."""

    #: `<node>/<id>`. The client knows only the part after the slash.
    id: str
    #: The index of the worker that has the socket.
    worker: int
    #: The user that the session is bound to.
    uid: str | None
    ip: str
    #: How the client speaks, such as `socketcluster/2` or `plain`.
    protocol: str
    #: The claims of the client's token as JSON text.
    claims_text: str | None
    #: When the client connected, in milliseconds since 1970-01-01 UTC.
    since_ms: int
    extra: dict[str, str]

    @property
    def claims(self) -> Mapping[str, Any] | None:
        """The claims of the client's token, while the client is authenticated."""
        return None if self.claims_text is None else from_json(self.claims_text)


@dataclass(frozen=True)
class Target:
    """One place to call. `fanfare.rpc` has a function for each kind."""

    kind: str
    value: str | int | None = None


@dataclass(frozen=True)
class Group:
    """Several places to call. `fanfare.rpc` has a constant or a function for each kind."""

    kind: str
    value: str | None = None


@dataclass(frozen=True)
class Recipient:
    """Whom a message to clients is for. `fanfare.sessions` has a function for each kind."""

    kind: str
    value: str | tuple[str, str] | None = None


@dataclass(frozen=True)
class Pushed:
    """The result of a message to clients."""

    #: The number of sessions that it was queued for, on all nodes.
    reached: int
    #: The recipients that no session belongs to on the nodes that answered.
    unknown: list[Recipient]
    #: The ids of the nodes that did not answer.
    silent: list[str]


@dataclass(frozen=True)
class Position:
    """A place in the order of a channel with history, written `<epoch>-<offset>`."""

    epoch: str
    offset: int

    @classmethod
    def parse(cls, text: str) -> Position:
        """Reads `<epoch>-<offset>`."""
        epoch, separator, offset = text.partition("-")
        if not separator or not offset.isascii() or not offset.isdigit():
            raise CallError("invalid", f"`{text}` is not a position: write `<epoch>-<offset>`")
        return cls(epoch, int(offset))

    def __str__(self) -> str:
        return f"{self.epoch}-{self.offset}"


@dataclass(frozen=True)
class ChannelMessage(Body):
    """A message that a channel has kept."""

    offset: int
    #: When the message got its place, in milliseconds since 1970-01-01 UTC.
    at_ms: int
    #: The session of the client that published it. `None` when a guest or the host did.
    session: str | None
    payload: Payload
    extra: dict[str, str] = field(default_factory=dict)

    def _malformed(self, name: str, message: str) -> Exception:
        return CallError("invalid", f"cannot read the message: {message}")


@dataclass(frozen=True)
class ChannelPage:
    """A part of the history of a channel."""

    epoch: str
    #: Oldest first.
    messages: list[ChannelMessage]
    #: The offset of the newest message of the channel, or 0 when it has none.
    latest: int
    #: Whether no message is missing between the requested position and the first message.
    complete: bool


@dataclass(frozen=True)
class ChannelMember:
    """A client that has subscribed to a channel with presence."""

    session: str
    uid: str | None
    #: The data that the client subscribed with, as JSON text.
    info_text: str | None

    @property
    def info(self) -> Any:
        """The data that the client subscribed with. `None` when it sent none."""
        return None if self.info_text is None else from_json(self.info_text)


@dataclass(frozen=True)
class Event:
    """An event of a live stream. `fanfare.sse.event` creates it from any data."""

    data: Payload = None
    #: The type. `None` is `message`.
    event: str | None = None
    #: The id that the client sends as `Last-Event-ID` when it connects again.
    id: str | None = None
    #: How long the client waits before it connects again, in milliseconds.
    retry_ms: int | None = None
    #: Text that the client ignores.
    comment: str | None = None
