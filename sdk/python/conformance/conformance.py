"""The module of `sdk/cases` in Python."""

from __future__ import annotations

import asyncio
import json as parser
import random as numbers
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any

from fanfare import (
    Call,
    CallError,
    Entry,
    Failure,
    Passed,
    Reply,
    broadcast,
    channels,
    config,
    events,
    handler,
    host,
    http,
    log,
    messages,
    nodes,
    passed,
    reply,
    rpc,
    sessions,
    snapshot,
    sse,
)
from fanfare import (
    master as program,
)
from fanfare.types import Broadcast, ChannelEvent, Hook, Position, Schedule, Startup, Subscription

KEY = "conformance"


async def kind_of(function: Callable[[], Any]) -> str:
    """Returns the kind of the error of a function, or `none`."""
    try:
        result = function()
        if isawaitable(result):
            await result
    except CallError as error:
        return error.kind
    return "none"


# What a handler receives, and what it returns.


@handler
def echo(call: Call) -> str | bytes | None:
    return call.payload


@handler
def greet(call: Call) -> str:
    return f"Hello, {call.params['name']}"


@handler("kebab-name")
def named(call: Call) -> str:
    return call.handler


@handler
def query(call: Call) -> dict[str, str]:
    return {**call.query, "raw": call.query_string}


@handler
def request(call: Call) -> dict[str, Any]:
    head = http.head()
    return {
        "method": call.method,
        "trigger": call.trigger.kind,
        "origin": call.origin.kind,
        "color": call.header("x-color"),
        "same": http.header("X-Color"),
        "none": call.headers.get("x-none"),
        "listed": any(name == "host" for name, _ in http.headers()),
        "path": call.head.path if call.head else None,
        "scheme": head.scheme if head else None,
        "deadline": call.deadline_ms > 0 and call.id > 0,
    }


@handler
async def json(call: Call) -> dict[str, Any]:
    return {"got": call.json}


@handler
def text(call: Call) -> dict[str, int]:
    return {"length": len(call.text)}


@handler
def reversed(call: Call) -> bytes:
    return call.bytes[::-1]


@handler
def number() -> int:
    return 42


@handler
def nothing() -> None:
    pass


@handler
def made() -> Reply:
    return reply({"made": True}, status=201, headers={"X-Color": "red", "location": "/made/1"})


@handler
async def later() -> str:
    await rpc.call("/echo")
    return "later"


@handler
def gate(call: Call) -> Passed:
    user = call.header("x-user")
    if not user:
        raise Failure("no-user", "log in first", status=401)
    return passed(call.text.upper(), extra={"user": user, "level": call.query["level"]})


@handler
def gated(call: Call) -> dict[str, Any]:
    return {"user": call.extra[f"{KEY}.user"], "payload": call.text, "level": call.query.get("level")}


# Failures.


@handler
def fail() -> None:
    raise Failure("no-such-flag", "there is no flag `dark`", status=404, data={"flag": "dark"})


@handler
async def fault() -> None:
    await rpc.call("/echo")
    raise RuntimeError("out of cheese")


@handler
def unsendable() -> dict[str, Any]:
    circle: dict[str, Any] = {}
    circle["self"] = circle
    return circle


# The memory of the module in its worker.
calls = 0


@handler
def state() -> dict[str, int]:
    global calls
    calls += 1
    return {"calls": calls}


def save() -> dict[str, int]:
    return {"calls": calls}


def load(saved: dict[str, int]) -> None:
    global calls
    calls = saved["calls"]


snapshot(save, load)


#: The calls that wait in `hold` until `release`.
held: list[asyncio.Future[None]] = []


@handler
async def hold(call: Call) -> str:
    waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    held.append(waiting)
    await waiting
    echoed = (await rpc.call("/echo", call.text)).text
    log.info(f"released {echoed} of the held calls")
    return echoed


@handler
def release() -> int:
    waiting, held[:] = list(held), []
    for call in waiting:
        call.set_result(None)
    return len(waiting)


@handler
def spin() -> None:
    while True:
        pass


@handler
def random() -> float:
    return numbers.random()


# The host, its log, config and options.


@handler
def whoami() -> Any:
    return host.whoami()


@handler
def note() -> None:
    log.info("sold a hat", shop="main", left=3)
    print("printed", {"a": [1, "two"]})


@handler
def settings() -> dict[str, Any]:
    return {
        "word": config.get("/word"),
        "second": config.get("/list/1"),
        "none": config.get("/none"),
        "all": config.get(),
    }


@handler
def options() -> dict[str, Any]:
    return {
        "environment": program.options("/environment"),
        "workers": program.options("/workers"),
        "none": program.options("/none"),
    }


@handler
def cluster() -> dict[str, Any]:
    mine = host.whoami()
    found = nodes.get(mine.node)
    return {
        "all": [node.id == mine.node for node in nodes.list()],
        "mine": len(nodes.list(mine.server)),
        "others": len(nodes.list("no-such-type")),
        "unknown": nodes.get("no-such-node"),
        "frontend": found and found.frontend,
        "workers": found and found.workers == mine.workers,
        "settings": found and found.settings,
        "since": bool(found and found.since_ms > 1_700_000_000_000),
    }


@handler
async def master(call: Call) -> dict[str, Any]:
    found: dict[str, Any] = {"send": "none", "reply": None, "failure": None}
    found["post"] = await kind_of(lambda: program.post(call.json))
    try:
        found["reply"] = parser.loads(str(await program.send(call.json)))
    except CallError as error:
        found["send"] = error.kind
        found["failure"] = error.failure.name if error.failure else None
    return found


@handler
def asked(call: Call) -> dict[str, Any]:
    """The hook that receives messages to the master."""
    trigger = call.trigger
    assert isinstance(trigger, Hook)
    if call.json["word"] == "bad":
        raise Failure("bad-word", "this word is bad")
    isolate = host.whoami().isolate
    return {"kind": trigger.kind, "name": trigger.name, "isolate": isolate, "body": call.json}


@handler
def hoard() -> str:
    """Asks for 256 MiB."""
    every = [bytearray(b"x" * (1 << 20)) for _ in range(256)]
    return f"there was enough for {len(every)}"


# Calls of other routes.


@handler
async def ask(call: Call) -> dict[str, Any]:
    made = await rpc.call("/reply")
    echoed = await rpc.call(f"{KEY}.echo", call.payload)
    worker = await rpc.call("/echo", call.payload, to=rpc.worker(0), timeout=5)
    return {
        "status": made.status,
        "json": made.json,
        "color": made.header("x-color"),
        "echoed": echoed.text,
        "worker": worker.text,
    }


@handler
def refused() -> Awaitable[Reply]:
    return rpc.call("flags/all")


@handler
async def caught() -> dict[str, Any]:
    found: dict[str, Any] = {
        "forbidden": await kind_of(lambda: rpc.call("flags/all")),
        "unknown": await kind_of(lambda: rpc.call("/nothing/here")),
        "large": await kind_of(lambda: rpc.call("/echo", "x" * 70_000)),
    }
    try:
        await rpc.call("/fail")
    except CallError as error:
        assert error.failure is not None
        found |= {"failure": error.failure.name, "status": error.failure.status, "data": error.failure.json}
    return found


@handler
async def every(call: Call) -> dict[str, Any]:
    if call.text == "origin":
        origins = [entry.result().json for entry in await rpc.call_every("/inner/origin")]
        trigger = origins[0]["trigger"]
        return {"origins": [without(origin, "trigger") for origin in origins], "trigger": trigger}
    entries = await rpc.call_every("/echo", "hi", to=rpc.WORKERS)
    return {
        "isolates": [entry.isolate for entry in entries],
        "texts": [entry.result().text for entry in entries],
        "accepted": rpc.notify("/echo", {"a": 1}, to=rpc.WORKERS),
    }


def without(values: dict[str, Any], name: str) -> dict[str, Any]:
    return {other: value for other, value in values.items() if other != name}


@handler
def deep() -> Awaitable[Reply]:
    return rpc.call("/rpc/deep")


@handler
async def late() -> dict[str, Any]:
    kind = await kind_of(lambda: rpc.call("/hold", "late", timeout=0.05))
    return {"kind": kind, "released": (await rpc.call("/release")).json}


@handler
def origin(call: Call) -> dict[str, Any]:
    own = call.origin
    facts = {"kind": own.kind, "module": own.module, "isolate": own.isolate, "trigger": call.trigger.kind}
    return {name: value for name, value in facts.items() if value is not None}


# Broadcasts, startups and schedules.


@handler
def emit(call: Call) -> dict[str, Any]:
    receipt = broadcast.emit("told", call.payload)
    return {"seq": receipt.seq, "accepted": receipt.accepted, "skipped": receipt.skipped}


@handler
async def gather(call: Call) -> list[dict[str, Any]]:
    def shown(entry: Entry) -> dict[str, Any]:
        if entry.error is not None and entry.error.failure is not None:
            return {"isolate": entry.isolate, "error": entry.error.failure.name}
        return {"isolate": entry.isolate, "reply": entry.result().json}

    return [shown(entry) for entry in await broadcast.gather("told", call.json, timeout=5)]


@handler
def told(call: Call) -> dict[str, Any]:
    trigger = call.trigger
    assert isinstance(trigger, Broadcast)
    body = parser.loads(call.text) if call.text.startswith("{") else call.payload
    if isinstance(body, dict) and body.get("word") == "bad":
        raise Failure("bad-word", "this word is bad")
    return {
        "kind": trigger.kind,
        "name": trigger.name,
        "seq": trigger.seq,
        "mine": trigger.same_as_caller,
        "body": body,
    }


@handler
async def keep(call: Call) -> dict[str, str]:
    return {
        "kept": await kind_of(lambda: broadcast.emit_durable("kept", call.payload)),
        "told": await kind_of(lambda: broadcast.emit_durable("told", call.payload)),
    }


@handler
async def renew() -> dict[str, str]:
    return {"kind": await kind_of(lambda: broadcast.reload("no-such-module"))}


started: Startup | None = None


@handler
def warm(call: Call) -> None:
    global started
    started = call.startup


@handler
def warmed() -> Startup | None:
    return started


@handler
def tick(call: Call) -> dict[str, Any]:
    trigger = call.trigger
    assert isinstance(trigger, Schedule)
    return {
        "kind": trigger.kind,
        "name": trigger.name,
        "due": trigger.due_ms > 0,
        "run": len(trigger.run) > 0,
        "data": call.json,
    }


# Subdomains.


@handler
def tenant(call: Call) -> dict[str, Any]:
    rpc.notify("/inner/visited", "first", subdomain=call.text)
    return {"subdomain": call.subdomain}


@handler
def visited(call: Call) -> None:
    sse.publish(KEY, sse.event({"visit": call.text, "subdomain": call.subdomain}, event="visited"))
    if call.text == "first":
        rpc.notify("/inner/visited", "second")
    if call.text == "second":
        broadcast.emit("visited", "third", subdomain="other")


# Live streams.


@handler
def publish(call: Call) -> dict[str, int]:
    wanted = call.json
    if "closeAll" in wanted:
        return {"closed": sse.close_all()}
    if "close" in wanted:
        return {"closed": sse.close(wanted["close"])}
    if "key" not in wanted:
        return {"reached": sse.publish_all(wanted["data"], reach="this-node")}
    key = wanted["key"]
    event = sse.event(wanted["data"], event=wanted.get("event"), id=wanted.get("id"), retry=1)
    return {"reached": sse.publish(key, event), "open": sse.count(key)}


@handler
def admit(call: Call) -> Passed:
    if not call.header("x-user"):
        raise Failure("no-user", "log in first", status=401)
    wanted = call.stream
    assert wanted is not None
    announced = {"kind": call.trigger.kind, "key": wanted.key, "last": wanted.last_event_id}
    sse.publish(KEY, sse.event(announced, event="admitted"))
    return passed()


# Events and messages.


@handler
def tell(call: Call) -> None:
    events.emit(call.json["type"], call.json["value"])


@handler
def heard(call: Call) -> None:
    trigger = call.trigger
    assert isinstance(trigger, Subscription)
    if call.json == "bad":
        raise Failure("bad-value", "this value is bad", status=422)
    facts = {
        "kind": trigger.kind,
        "name": trigger.name,
        "source": trigger.source,
        "topic": trigger.topic,
        "id": trigger.id is not None,
        "value": call.json,
    }
    sse.publish(KEY, sse.event(facts, event="heard"))


@handler
async def subscribe() -> dict[str, Any]:
    name = events.subscribe("conformance/later", "inner/heard")
    same = events.subscribe("conformance/later", "inner/heard") == name
    events.unsubscribe(name)
    ended = await kind_of(lambda: events.unsubscribe(name))
    channels.unsubscribe(channels.subscribe("conformance/talk", "inner/heard"))
    return {"same": same, "ended": ended, "channel": "ended"}


@handler
async def message(call: Call) -> dict[str, str]:
    return {
        "news": await kind_of(lambda: messages.publish("redis", "news", call.text)),
        "other": await kind_of(lambda: messages.publish("redis", "other", call.text)),
    }


# Connected clients.

USERS = {"ada": "user-1", "bob": "user-2"}


@handler
def upgrade(call: Call) -> Passed:
    if call.query.get("as") not in USERS and not call.header("x-user"):
        raise Failure("no-such-user", "use ?as=ada or ?as=bob", status=401)
    return passed()


async def values(call: Call) -> dict[str, Any]:
    sessions.bind("user-1", "share")
    sessions.send(None, "note", {"note": "first"})
    sessions.set({"name": {"a": 1}, "list": [1]})
    value, all_of_them = sessions.get("name"), sessions.values()
    sessions.remove("name")
    await sessions.apply()
    own = sessions.current()
    assert own is not None and call.client is not None and call.session is not None
    return {
        "kind": call.trigger.kind,
        "id": call.params["id"],
        "wants": call.client.wants_reply,
        "mine": call.client.session == own.id and call.session.id == own.id and call.origin.id == own.id,
        "uid": own.uid,
        "protocol": own.protocol,
        "value": value,
        "values": all_of_them,
        "left": list(own.values()),
        "none": own.get("none"),
    }


def group(_: Call) -> dict[str, Any]:
    sessions.unbind()
    sessions.bind("user-2")
    sessions.set({"name": "bob"})
    joined = sessions.join("team")
    [id] = sessions.find("user-2")
    found = sessions.look(id)
    return {
        "joined": joined,
        "members": len(sessions.members("team")),
        "found": 1 if found is not None and found.uid == "user-2" else 0,
        **sessions.count()._asdict(),
    }


async def push(_: Call) -> dict[str, Any]:
    sessions.send(sessions.group("team"), "note", parser.dumps("to the group"))
    to = [sessions.user("user-2"), sessions.user("nobody")]
    pushed = await sessions.push(to, "note", parser.dumps("to user-2"))
    sessions.send(sessions.EVERYONE, "note", parser.dumps("to all"))
    [bob] = await sessions.find_everywhere("user-2")
    _record, read = await sessions.read(bob.id)
    await sessions.write(bob.id, {"five": 5}, remove=["name"])
    return {
        "reached": pushed.reached,
        "unknown": [{one.kind: one.value} for one in pushed.unknown],
        "silent": pushed.silent,
        "ask": await kind_of(lambda: sessions.ask(bob.id, "question", "?")),
        "read": read,
        "written": sessions.get("five", session=bob.id),
    }


def sign(call: Call) -> dict[str, Any]:
    sessions.authenticate({"name": "carol"}, expires=60)
    now = sessions.current()
    assert now is not None and now.claims is not None and call.client is not None
    claims = dict(now.claims)
    expires = claims.pop("exp") > claims.pop("iat")
    sessions.deauthenticate()
    after = sessions.current()
    return {
        "name": call.client.name,
        "protocol": now.protocol,
        "claims": claims,
        "expires": expires,
        "after": after and after.claims,
    }


def fails(_: Call) -> None:
    raise Failure("no-deed", "there is nothing to do")


def leave(_: Call) -> None:
    sessions.leave("team")
    sessions.disconnect(4001, "goodbye")


async def attend(call: Call) -> dict[str, Any]:
    assert call.session is not None
    channels.add("conformance/room", call.session.id)
    count = channels.count("conformance/room")
    [member] = await channels.members("conformance/room")
    channels.kick_out("conformance/room", call.session.id, "enough")
    return {"count": count, "uid": member.uid, "after": channels.count("conformance/room")}


DEEDS: dict[str, Callable[[Call], Any]] = {
    "values": values,
    "group": group,
    "push": push,
    "sign": sign,
    "fail": fails,
    "leave": leave,
    "channel": attend,
}


@handler
def room(call: Call) -> Any:
    return DEEDS[call.json["do"]](call)


@handler
def left(call: Call) -> None:
    assert call.hook is not None
    facts = {"kind": call.trigger.kind, "name": call.hook.name, "code": call.json["code"]}
    sse.publish(KEY, sse.event(facts, event="left"))


@handler
async def clients(call: Call) -> dict[str, Any]:
    return {
        "session": call.session,
        "get": await kind_of(lambda: sessions.get("name")),
        "look": sessions.look("nobody"),
    }


# Channels.


@handler
async def channel() -> dict[str, Any]:
    name = "conformance/room"
    channels.publish(name, "one")
    place = await channels.publish_and_wait(name, "two")
    assert place is not None
    page = await channels.history(name)
    after = await channels.history(name, after=Position(place.epoch, place.offset - 1), most=10)
    refused = None
    try:
        await channels.publish_and_wait(name, "bad")
    except CallError as error:
        refused = error.failure.name if error.failure else error.kind
    return {
        "offset": place.offset,
        "messages": [message.payload for message in page.messages],
        "after": [message.payload for message in after.messages],
        "latest": page.latest,
        "complete": page.complete,
        "members": await channels.members(name),
        "count": channels.count(name),
        "refused": refused,
        "forbidden": await kind_of(lambda: channels.publish("lobby", "hi")),
        "without": await channels.publish_and_wait("conformance/talk", "hi"),
    }


@handler
def may(call: Call) -> Passed:
    trigger = call.trigger
    if call.text == "bad":
        raise Failure("bad-word", "this word is bad", status=422)
    assert (
        isinstance(trigger, ChannelEvent)
        and trigger.channel == "conformance/room"
        and trigger.action == "publish"
    )
    return passed(call.text.upper())
