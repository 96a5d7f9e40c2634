"""A module for the tests of the SDK."""

import asyncio
import dataclasses
import sys

from fanfare import (
    Failure,
    broadcast,
    channels,
    config,
    current,
    events,
    handler,
    http,
    log,
    master,
    messages,
    nodes,
    passed,
    reply,
    rpc,
    snapshot,
    sse,
)

count = 0
started = []


@dataclasses.dataclass
class Hat:
    name: str
    price: float


@handler
def greet(call):
    return f"Hello, {call.params['name']}"


@handler("kebab-name")
def named():
    return b"bytes"


@handler
async def count_up(call):
    global count
    await asyncio.sleep(0)
    count += 1
    return count


@handler
def hat(call):
    return Hat(call.json["name"], 1.5)


@handler
def shown(call):
    return {
        "method": call.method,
        "query": dict(call.query),
        "all": call.query.all("tag"),
        "raw": call.query_string,
        "text": call.text,
        "bytes": len(call.bytes),
        "trigger": call.trigger.kind,
        "origin": call.origin.kind,
        "user": call.header("X-User"),
        "extra": call.extra,
        "path": call.head and call.head.path,
    }


@handler
def made():
    return reply({"made": True}, status=201, headers=[("X-Color", "red")])


@handler
def gate(call):
    if not call.header("x-user"):
        raise Failure("no-user", "log in first", status=401)
    return passed(call.text.upper(), extra={"user": call.header("x-user")})


@handler
def refuse():
    raise Failure.not_found("no-hat", "there is no hat", data={"hat": 7})


@handler
def fault():
    raise Failure("no-stock", "the shelf is empty")


@handler
def key_error():
    return {}["missing"]


@handler
def leave_now():
    sys.exit(3)


@handler
def circle():
    value = []
    value.append(value)
    return value


@handler
def surrogate():
    return "\ud800"


@handler
def not_a_number():
    return float("nan")


@handler
async def prices(call):
    both = await asyncio.gather(rpc.call("bank/rates", "EUR"), rpc.call("/greet/Ada"))
    return [both[0].json, both[1].text]


@handler
async def refused():
    return await rpc.call("/refuse")


@handler
async def told_all(call):
    entries = await broadcast.gather("told", call.json)
    return [entry.result().json for entry in entries]


@handler
def told(call):
    return {"id": call.id, "current": current().id, "mine": call.broadcast.same_as_caller, "body": call.json}


@handler
def warm(call):
    started.append(call.startup.reason)


@handler
def reasons():
    return started


@handler
def tick(call):
    return {"kind": call.trigger.kind, "name": call.schedule.name, "data": call.json}


@handler
def heard(call):
    log.info("heard", source=call.subscription.source, topic=call.subscription.topic, value=call.json)


@handler
def sends(call):
    sse.publish("shop", sse.event({"n": 1}, event="tick", id="7", retry=2))
    sse.publish_all("all")
    events.emit("shop/sold", {"hat": 7})
    messages.publish("redis", "news", "text")
    channels.publish("shop/room", b"bytes")
    broadcast.emit("told", {"by": "sends"})


@handler
def settings():
    return {
        "word": config.get("/word"),
        "none": config.get("/none", 7),
        "env": master.options("/environment"),
    }


@handler
def cluster(call):
    found = nodes.get(call.query["id"])
    return {"ids": [node.id for node in nodes.list()], "chat": [node.id for node in nodes.list("chat")]} | (
        {"settings": found.settings, "frontend": found.frontend} if found else {}
    )


@handler
async def fetch(call):
    response = await http.post("https://api.test/hats", {"a": 1}, headers={"X-Key": "k"})
    return {"status": response.status, "json": response.json, "type": response.header("Content-Type")}


@handler
async def interleaved(call):
    """Waits in turn with other calls, and reports the call that the SDK sees."""
    seen = []
    for _ in range(5):
        seen.append(current().id)
        await asyncio.sleep(0)
    seen.append(await asyncio.create_task(inner()))
    return set(seen) == {call.id}


async def inner():
    await asyncio.sleep(0)
    return current().id


@handler
async def many(call):
    entries = await asyncio.gather(*(rpc.call("/interleaved") for _ in range(64)))
    return [entry.json for entry in entries].count(True)


snapshot(lambda: {"count": count}, lambda state: globals().update(state))
