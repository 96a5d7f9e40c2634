"""Says how likely a text is spam, and learns from the texts that people judge."""

from fanfare import CallError, Failure, broadcast, handler, host, log, rpc, snapshot

import examples
from spam import Filter

#: How long a new instance waits for the words of another worker, in seconds.
CATCH_UP = 1.0

# This runs once, in the build: each instance starts with the examples learned.
known = Filter()
for text in examples.SPAM:
    known.learn(text, True)
for text in examples.HAM:
    known.learn(text, False)

#: The number of the last broadcast in `known`.
last_seq = 0


def save():
    return {"texts": known.texts, "words": known.words, "seq": last_seq}


def load(state):
    global last_seq
    known.texts, known.words, last_seq = state["texts"], state["words"], state["seq"]


snapshot(save, load)


@handler
def score(call):
    """`score`: the body is a text."""
    likely, because = known.score(call.text)
    return {"spam": round(likely, 3), "because": because}


@handler
async def learn(call):
    """`learn`: every worker learns a text and whether it is spam."""
    body = call.json
    if not isinstance(body, dict) or not isinstance(body.get("text"), str) or not isinstance(body.get("spam"), bool):
        raise Failure("invalid", 'send {"text": "..", "spam": true}', status=400)
    entries = await broadcast.gather("learned", body)
    return {"workers": sum(entry.error is None for entry in entries)}


@handler
def learned(call):
    """The inner route of the broadcast."""
    global last_seq
    if call.trigger.kind != "broadcast":
        raise Failure("not-a-broadcast", "this route is for the broadcast: call `learn`", status=400)
    # What another worker told this instance at its start may contain the broadcast already.
    if call.trigger.seq > last_seq:
        last_seq = call.trigger.seq
        known.learn(call.json["text"], call.json["spam"])


@handler
def words():
    """What this worker knows, for a new instance in another worker."""
    return save()


@handler
async def catch_up(call):
    """The startup: an instance that follows a crash asks another worker what it has learned."""
    if call.trigger.reason in ("start", "swap"):
        return
    me = host.whoami()
    for index in range(me.workers):
        if me.isolate == f"worker-{index}":
            continue
        try:
            load((await rpc.call("GET /inner/words", to=rpc.worker(index), timeout=CATCH_UP)).json)
            return
        except CallError as error:
            log.warn(f"cannot read the words of worker-{index}: {error}")
