"""What only the SDK for Python has: asyncio, random numbers, requests, and what must not trap."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import uuid
from collections.abc import AsyncIterator
from typing import Any

from fanfare import Call, CallError, Failure, Reply, broadcast, handler, http, log, reply, rpc

# Random numbers of the build. No instance may repeat them.
BUILT = random.random()
lock = asyncio.Lock()
shared: asyncio.Task[str] | None = None


async def sleep(seconds: float, result: str) -> str:
    await asyncio.sleep(seconds)
    return result


async def wait() -> list[Any]:
    """Everything of asyncio that waits."""
    found: list[Any] = [await sleep(0.01, "slept")]
    try:
        async with asyncio.timeout(0.01):
            await asyncio.get_running_loop().create_future()
    except TimeoutError:
        found.append("timed out")
    try:
        await asyncio.wait_for(rpc.call("/slow"), 0.01)
    except TimeoutError:
        found.append("gave up")
    async with asyncio.TaskGroup() as group:
        both = [group.create_task(sleep(0.01, "one")), group.create_task(sleep(0, "two"))]
    found += [task.result() for task in both]
    tasks = [asyncio.create_task(sleep(0.001, "first")), asyncio.create_task(sleep(60, "last"))]
    done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    found += [task.result() for task in done]
    for task in rest:
        task.cancel()
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_result, "soon")
    return [*found, await future, [number async for number in numbers()]]


async def numbers() -> AsyncIterator[int]:
    for number in range(3):
        await asyncio.sleep(0)
        yield number


@handler
async def waits() -> list[Any]:
    return await wait()


@handler
async def slow() -> str:
    return await sleep(0.05, "slow")


@handler
async def locked(call: Call) -> str:
    async with lock:
        return await sleep(0.005, call.text)


@handler
async def share() -> str:
    """Every call waits for the task of the first one."""
    global shared
    if shared is None or shared.done():
        shared = asyncio.create_task(sleep(0.05, "shared"))
    return await shared


@handler
async def leftovers(call: Call) -> str:
    """Ends before its tasks do, one of which fails and one of which exits."""

    async def later() -> None:
        await asyncio.sleep(0.02)
        log.info("left over", call=call.id)
        raise ValueError("raised by a task")

    async def leave() -> None:
        await asyncio.sleep(0)
        sys.exit(3)

    for task in (later(), leave()):
        tasks.add(asyncio.create_task(task))
    return str(call.id)


tasks: set[asyncio.Task[None]] = set()


@handler
def refuses() -> None:
    raise Failure("no", "not today", status=400, extra={"fact": "1"})


@handler
async def refused() -> Reply:
    """What a failure carries, in a reply with a header field that it has twice."""
    extra = (await rpc.call_every("/refuses"))[0].error.failure.extra  # type: ignore[union-attr]
    return reply(extra, headers=[("set-cookie", "a=1"), ("set-cookie", "b=2")])


@handler
async def says() -> None:
    """Logs in everything that a handler can start."""

    async def say(where: str) -> None:
        log.info(f"said in {where}")

    loop = asyncio.get_running_loop()
    loop.call_soon(log.info, "said in call_soon")
    loop.call_later(0.001, log.info, "said in call_later")
    await asyncio.create_task(say("create_task"))
    await asyncio.gather(say("gather"))
    async with asyncio.TaskGroup() as group:
        group.create_task(say("TaskGroup"))
    await asyncio.wait_for(say("wait_for"), 1)
    await asyncio.sleep(0.002)


@handler
async def random_everywhere() -> list[Any]:
    return [entry.result().json for entry in await broadcast.gather("random")]


@handler
def random_here() -> list[Any]:
    return [random.random() != BUILT, random.random(), str(uuid.uuid4())]


@handler
def variables() -> dict[str, str]:
    return dict(os.environ)


@handler
async def fetch(call: Call) -> dict[str, Any]:
    try:
        response = await http.request("PUT", call.query["url"], body={"a": "é" * 40_000}, timeout=5)
    except CallError as error:
        return {"kind": error.kind}
    return {"status": response.status, "text": response.text}


# None of these may trap. Each ends with a failure.


@handler
def exits() -> None:
    sys.exit(3)


@handler
def recurses() -> None:
    recurses()


@handler
def threads() -> Any:
    return asyncio.to_thread(print)


@handler
def imports() -> None:
    import difflib

    difflib.get_close_matches("", [])


@handler
def fills() -> int:
    return len("x" * 2_000_000_000)


@handler
def parses(call: Call) -> int:
    return len(call.json)


@handler
def mutters() -> None:
    print("to standard output", end="", flush=True)
    print("to standard error", file=sys.stderr)
