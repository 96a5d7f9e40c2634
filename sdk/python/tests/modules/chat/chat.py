"""A module for connected clients."""

import asyncio

from fanfare import Failure, broadcast, channels, config, handler, log, passed, reply, rpc, sessions, sse

seen = []


@handler
def sign_in(call):
    call.session.bind(call.json, call.query.get("taken", "refuse"))
    call.session.set({"name": call.json})
    call.session.join("lobby")


@handler
async def say(call):
    """Sends the text to the group. Returns the number of members that it reached."""
    to = [sessions.group("lobby"), sessions.user("nobody")]
    return (await sessions.push(to, "said", call.text)).reached


@handler
async def ask(call):
    return await call.session.ask("question", call.text)


@handler
def token(call):
    call.session.authenticate({"uid": 7})


@handler
def facts(call):
    return {
        "name": call.client.name,
        "wants": call.client.wants_reply,
        "params": call.params,
        "body": call.text,
        "extra": call.extra["chat.mark"],
        "uid": call.session.uid,
        "tenant": call.subdomain,
        "values": call.session.values(),
        "count": sessions.count(),
        "origin": call.origin.id == call.session.id,
        "current": sessions.current().id == call.session.id,
    }


@handler
def kick(call):
    call.session.disconnect(4001, "kicked")


@handler
async def push():
    nobody = sessions.user("nobody")
    done = await sessions.push([sessions.EVERYONE, sessions.BOUND, nobody, nobody], "note")
    return [done.reached, [one.value for one in done.unknown]]


@handler
async def others(call):
    """Reads and changes the session in the body, in every way that names a session."""
    id = call.json
    sessions.set({"a": 1, "b": 2}, session=id)
    await sessions.write(id, {"c": [3]}, remove=["a"])
    found, values = await sessions.read(id)
    sessions.remove("b", session=id)
    reached = sessions.send(sessions.session(id), "note", "hi")
    everywhere = [one.id for one in await sessions.find_everywhere("bob")]
    on = sessions.send(sessions.user_on("bob", "test"), "note", "again")
    before = [sessions.members("lobby") == [id], sessions.leave("lobby", [id]), sessions.members("lobby")]
    same = sessions.look(id).uid == "bob" and found.id == id and sessions.find("bob") == [id] == everywhere
    sessions.unbind(session=id)
    await sessions.apply()
    return [values, sessions.get("b", "gone", session=id), reached, on, before, same, sessions.look(id).uid]


@handler
def is_open(call):
    return [call.session is None, sessions.current() is None]


@handler
def hook(call):
    """Records the hook, and rejects what the config names."""
    name = call.hook.name
    path = call.head.path if call.head else ""
    if call.head and call.header("x-user"):
        log.trace(f"{name} {call.header('x-user')}")
    log.debug(f"{name} {path} {call.query_string} {call.params.get('room')}")
    log.info(f"{name} {call.session.uid if call.session else '-'} {call.text}")
    code = config.get(f"/{name}")
    if code == "replace":
        return passed('{"replaced":true}')
    if code is not None:
        raise Failure("rejected", "no", status=403, extra={"close-code": code})
    return passed()


@handler
def mark(call):
    """A filter before: marks the message, refuses some texts and answers one."""
    if call.text == "bad":
        raise Failure.forbidden("bad-word", "not here")
    if call.text == "out":
        raise Failure("out", "go away", status=403, extra={"close-code": "4403"})
    if call.text == "known":
        return "from the filter"
    if call.text == "old":
        return passed("new", extra={"mark": ""})
    return passed(extra={"mark": call.extra["for"]})


@handler
def wrap(call):
    """A filter after: replaces the reply `1`."""
    if call.text == "over":
        return "from the filter after"
    return passed("one") if call.text == "1" else passed()


@handler
async def decide(call):
    event = call.channel
    own = call.session.id if call.session else None
    assert own == event.session, "the session that acts is that of the call"
    seen.append(f"{event.action} {event.channel}")
    if call.payload == '"refuse"':
        raise Failure.forbidden("no", "refused on request")
    if call.payload == '"status"':
        return reply(status=302)
    if call.payload == '"reply"':
        return None
    if event.action == "publish" and call.text:
        for _ in range(10 - int(call.text) if call.text.isdigit() else 0):
            await asyncio.sleep(0)
        return passed([call.text])
    if event.action == "deliver":
        return passed({"for": event.session, "was": call.text})
    if event.action == "subscribe" and call.payload is not None:
        return passed('"checked"')
    return passed()


@handler
def on_message(call):
    event = call.subscription
    log.warn(f"{event.name} {event.source} {event.topic} {event.id} {call.text}")


@handler
async def place(call):
    return str(await channels.publish_and_wait(call.query["channel"], call.payload))


@handler
def burst(call):
    for number in range(1, 6):
        channels.publish(call.text, number)


@handler
def follow(call):
    return channels.subscribe(call.text, "on-message")


@handler
def unfollow(call):
    channels.unsubscribe(call.text)


@handler
def add(call):
    channels.add(call.query["channel"], call.text)
    return channels.count(call.query["channel"])


@handler
def kick_out(call):
    channels.kick_out(call.query["channel"], call.text, "bye")
    return channels.count(call.query["channel"])


@handler
async def page(call):
    found = await channels.history(call.query["channel"], after=call.json, most=2)
    return [[one.offset for one in found.messages], found.latest, found.complete]


@handler
async def members(call):
    return [[one.session, one.info] for one in await channels.members(call.text)]


@handler
def seen_so_far():
    every, seen[:] = list(seen), []
    return every


@handler
def publish(call):
    """Publishes an event to the key, or to all."""
    query = call.query
    event = sse.event(call.payload, event=query.get("event"), id=query.get("id"))
    reach = query.get("reach", "everywhere")
    if "key" in query:
        return sse.publish(query["key"], event, reach=reach)
    return sse.publish_all(event, reach=reach)


@handler
def close(call):
    return sse.close(call.query["key"]) if "key" in call.query else sse.close_all()


@handler
def count(call):
    return sse.count(call.query.get("key"))


@handler
def admit(call):
    """Admits a reader as the last part of the key says."""
    last = call.stream.key.rpartition("/")[2]
    if last == "refuse":
        raise Failure.forbidden("no", "not you")
    if last == "redirect":
        return reply(status=302)
    if last == "reply":
        return "welcome"
    facts = [call.stream.last_event_id, call.header("x-user"), call.head.path, call.subdomain, call.origin.kind]
    if last == "resumed" and facts != ["7", "ada", "/stream", "acme", "client"]:
        raise Failure("not-resumed", str(facts))
    return passed()


@handler
async def tenants(call):
    """Calls itself in every way, for the tenant of the query and for its own."""
    if call.trigger.kind != "client":
        return call.subdomain
    found = []
    for subdomain in ("other", None):
        found.append((await rpc.call("/tenants", subdomain=subdomain)).text)
        found += [one.reply.text for one in await rpc.call_every("/tenants", subdomain=subdomain)]
        found += [one.reply.text for one in await broadcast.gather("tenants", subdomain=subdomain)]
    found.append((await rpc.call("shop/tenant")).text)
    return found
