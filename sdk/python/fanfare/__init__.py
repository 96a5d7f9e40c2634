"""Fanfare modules in Python.

from fanfare import broadcast, handler

@handler
def greet(call):
    return f"Hello, {call.params['name']}"

@handler
async def tell(call):
    return {"workers": len(await broadcast.gather("told", call.json))}
"""

from . import (
    broadcast,
    channels,
    config,
    events,
    host,
    http,
    log,
    master,
    messages,
    nodes,
    rpc,
    sessions,
    sse,
    types,
)
from ._call import Call, Query, StreamRequest
from ._current import current
from ._errors import CallError, Failure
from ._outcome import passed, reply
from ._registry import handler, snapshot
from .sessions import Session
from .types import Entry, Passed, Receipt, Reply

__version__ = "0.1.0"

__all__ = [
    "Call",
    "CallError",
    "Entry",
    "Failure",
    "Passed",
    "Query",
    "Receipt",
    "Reply",
    "Session",
    "StreamRequest",
    "broadcast",
    "channels",
    "config",
    "current",
    "events",
    "handler",
    "host",
    "http",
    "log",
    "master",
    "messages",
    "nodes",
    "passed",
    "reply",
    "rpc",
    "sessions",
    "snapshot",
    "sse",
    "types",
]
