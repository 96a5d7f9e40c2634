# The contract in Python, without an SDK.
import json

from componentize_py_types import Err, Ok
from wit_world import exports, u8_future
from wit_world.imports import (
    broadcast, channels, channels_await, events, host, rpc, sessions, sessions_await, sse,
)
from wit_world.imports.types import (
    Call, CallError_Failure, CallError_Other, CallOptions, Emission, Failure, Outcome_Pass, Outcome_Reply,
    Passed, Payload_None_, Payload_Text, Recipient_Session, Recipient_Uid, Reply, Target_Any, Trigger_Client,
    Trigger_Subscription,
)

SLOW = "echo/slow"
NONE = Payload_None_()

KINDS = {
    "Failure": "failure", "Timeout": "timeout", "NotFound": "not-found", "Forbidden": "forbidden",
    "Overloaded": "overloaded", "Crashed": "crashed", "Unavailable": "unavailable",
    "WouldDeadlock": "would-deadlock", "TooDeep": "too-deep", "Invalid": "invalid",
}

# The calls that wait in `hold` until `release`. Each waits for a future of the component model: an
# `asyncio.Future` that another call resolves does not wake the call, and a call that waits for
# nothing else traps.
held = []


class Handler(exports.Handler):
    async def handle(self, call: Call):
        known = HANDLERS.get(call.handler)
        if known is None:
            raise failure("no-such-handler", f"there is no handler `{call.handler}`")
        ended = await known(call)
        return Outcome_Pass(ended) if isinstance(ended, Passed) else Outcome_Reply(Reply(0, [], ended, []))


async def echo(call):
    return call.payload


async def passes(call):
    return Passed(call.payload, [("fact", str(call.id))])


async def wait(call):
    route = call.payload.value if isinstance(call.payload, Payload_Text) else SLOW
    return await ask(call.id, route, NONE)


async def emit(call):
    try:
        receipt = broadcast.emit(call.id, Emission(None, "ping", None, []), call.payload)
    except Err as error:
        raise refused(error.value)
    return Payload_Text(json.dumps({"id": receipt.id, "seq": receipt.seq, "accepted": receipt.accepted}, separators=(",", ":")))


async def charged(call):
    for _ in range(2):
        await ask(call.id, SLOW, Payload_Text(str(call.id)))
    host.log(call.id, host.Level.INFO, "charged", [])
    return Payload_Text(str(call.id))


async def stream(call):
    event = sse.Event(Payload_Text("grüße"), "tick", "7", 1000, None, [])
    try:
        reached = sse.publish(call.id, call.payload.value, event, sse.Reach.THIS_NODE)
    except Err as error:
        raise refused(error.value)
    return Payload_Text(f"{reached} of {sse.count(call.payload.value)}")


async def tell(call):
    event_type = call.payload.value if isinstance(call.payload, Payload_Text) else None
    try:
        events.emit(call.id, event_type, Payload_Text("grüße"))
    except Err as error:
        raise refused(error.value)
    return NONE


async def hear(call):
    if not isinstance(call.trigger, Trigger_Subscription):
        raise failure("not-an-event", "a subscription calls this handler")
    source = call.trigger.value
    position = "true" if source.id is not None else "false"
    line = " ".join([source.name, source.source, source.topic, call.payload.value, position])
    try:
        sse.publish(call.id, "python", sse.Event(Payload_Text(line), None, None, None, None, []), sse.Reach.EVERYWHERE)
    except Err as error:
        raise refused(error.value)
    return NONE


async def greet(call):
    """Handles a message of a connected client."""
    if not isinstance(call.trigger, Trigger_Client):
        raise failure("not-a-client", "a client calls this handler")
    try:
        session = sessions.current(call.id)
        own = Recipient_Session(session.id)
        sessions.set(call.id, None, [("name", call.payload.value)])
        sessions.send(call.id, own, "note", Payload_Text("grüße"))
        to = [own, Recipient_Uid("nobody")]
        pushed = settled(await sessions_await.push(call.id, to, "note", Payload_Text("pushed")).read())
        kept = sessions.get(call.id, None, "name")
    except Err as error:
        raise error if isinstance(error.value, Failure) else refused(error.value)
    facts = [call.trigger.value.name, kept, str(pushed.reached), str(len(pushed.unknown)), session.protocol]
    return Payload_Text(" ".join(facts))


async def channel(call):
    """Publishes to the channel in the payload, and reads its history and its members."""
    name = call.payload.value
    try:
        channels.publish(call.id, name, Payload_Text("first"))
    except Err as error:
        raise refused(error.value)
    place = settled(await channels_await.publish(call.id, name, Payload_Text("grüße")).read())
    page = settled(await channels_await.history(call.id, name, place, 10).read())
    kept = settled(await channels_await.history(call.id, name, None, 10).read()).messages
    members = settled(await channels_await.members(call.id, name).read())
    complete = "true" if page.complete else "false"
    facts = [place.offset, kept[-1].payload.value, len(page.messages), len(kept), complete, len(members), channels.count(name)]
    return Payload_Text(" ".join(str(fact) for fact in facts))


async def hold(call):
    release, released = u8_future(lambda: 0)
    held.append(release)
    await released.read()
    return Payload_Text("released")


async def release(call):
    calls = held.copy()
    held.clear()
    for one in calls:
        await one.write(0)
    return Payload_Text(str(len(calls)))


HANDLERS = {"pass": passes} | {f.__name__: f for f in (echo, wait, emit, charged, stream, tell, hear, greet, channel, hold, release)}


async def ask(caller, route, payload):
    """Calls a route and waits. An error becomes a failure with the name of its kind."""
    return settled(await rpc.call(caller, Target_Any(), route, payload, CallOptions(None, None, [])).read()).payload


def settled(answer):
    """Returns the value of a result. An error becomes a failure."""
    if isinstance(answer, Ok):
        return answer.value
    raise refused(answer.value)


def failure(name, message):
    return Err(Failure(name, message, 0, NONE, []))


def refused(error):
    if isinstance(error, CallError_Other):
        return failure(*error.value)
    kind = KINDS[type(error).__name__.removeprefix("CallError_")]
    if isinstance(error, CallError_Failure):
        return failure(kind, error.value.message)
    return failure(kind, getattr(error, "value", ""))


class WitWorld:
    def wake(self, wake):
        raise NotImplementedError
