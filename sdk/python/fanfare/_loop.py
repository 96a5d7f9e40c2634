"""The event loop of a component: what componentize-py's loop lacks.

componentize-py runs the jobs of each call in the turns of this call. Without this file

- a future that another call resolves does not wake its waiter, and a call that waits for nothing
  else traps,
- an exception in a task, or a task that outlives its handler, traps,
- there are no timers, so that `asyncio.sleep` and `asyncio.timeout` fail.

`install` replaces parts of the pinned version of `componentize_py_async_support`.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from contextvars import Context, copy_context
from typing import Any

import componentize_py_async_support as support
import componentize_py_runtime as runtime
from wit_world import u8_future
from wit_world.imports import monotonic_clock

from . import _output

# How long the timer of a call sleeps at most. A sleep cannot be cancelled, so a call whose timers
# were all cancelled ends this much later. Callers do not notice: they have their answer.
_LONGEST_SLEEP = 0.25
_NANOSECONDS = 1_000_000_000


class _State(support._FutureState):  # type: ignore[misc]
    """The state of one call in the component. Most calls change nothing of it."""

    waitable_set: Any = None
    pending_count = 1
    # Tasks besides that of the handler.
    tasks = 0
    waker: _Waker | None = None
    asleep = False

    def __init__(self) -> None:
        # Not the initialiser of the base class, which every call would pay for.
        self.futures: dict[int, Any] = {}
        self.handles: list[asyncio.Handle] = []
        self.timers: list[tuple[float, int, asyncio.TimerHandle]] = []


class _Waker:
    """A future of the component model that a call waits for, and that another call writes."""

    def __init__(self, state: _State) -> None:
        self.state = state
        writer, reader = u8_future(lambda: 0)
        writer.finalizer.detach()
        reader.finalizer.detach()
        self.type, self.writer, self.reader = writer.type_, writer.handle, reader.handle
        waitable, self.promise = runtime.future_read(self.type, self.reader).value
        state.futures[waitable] = self
        _join(state, waitable)

    def wake(self) -> None:
        """Makes the host call back."""
        if self.writer is not None:
            writer, self.writer = self.writer, None
            runtime.future_write(self.type, writer, 0)
            runtime.future_drop_writable(self.type, writer)

    def set_result(self, event: int) -> None:
        """The host calls back."""
        runtime.promise_get_result(event, self.promise)
        runtime.future_drop_readable(self.type, self.reader)
        self.state.waker = None


class _Pending:
    """An import that has not answered yet."""

    def __init__(self, future: asyncio.Future[int], promise: int) -> None:
        self.future = future
        self.promise = promise
        self.reader: tuple[int, int] | None = None

    def set_result(self, event: int) -> None:
        """The import has answered. Nobody reads the answer if its waiter was cancelled."""
        if not self.future.cancelled():
            self.future.set_result(event)
            return
        try:
            runtime.promise_get_result(event, self.promise)
        except support.Err:
            pass
        if self.reader is not None:
            runtime.future_drop_readable(*self.reader)


def _join(state: _State, waitable: int) -> None:
    if state.waitable_set is None:
        state.waitable_set = runtime.waitable_set_new()
    runtime.waitable_join(waitable, state.waitable_set)


_loop = support._loop
# The call whose turn it is.
_running: _State | None = None
_timer_count = 0


async def _await_result(result: Any, reader: tuple[int, int] | None = None) -> Any:
    """Waits for an import."""
    if isinstance(result, support.Ok):
        return result.value
    waitable, promise = result.value
    state = support._future_state.get()
    future = _loop.create_future()
    pending = _Pending(future, promise)
    pending.reader = reader
    state.futures[waitable] = pending
    _join(state, waitable)
    return runtime.promise_get_result(await future, promise)


async def read(reader: Any) -> Any:
    """Reads a future of the component model. Frees it also when the waiter is cancelled."""
    reader.finalizer.detach()
    handle, reader.handle = reader.handle, None
    place = (reader.type_, handle)
    value = await _await_result(runtime.future_read(*place), place)
    runtime.future_drop_readable(*place)
    return value


def _turn(state: _State) -> int:
    """Runs the jobs of a call until it waits or has ended."""
    global _running
    _running = state
    try:
        while state.handles:
            handles, state.handles = state.handles, []
            for handle in handles:
                if not handle._cancelled:
                    _run(handle)
    finally:
        _running = None
    waker = state.waker
    if state.pending_count == 0:
        if waker is not None:
            # The wait for it must end before it can be dropped.
            waker.wake()
        elif not state.futures:
            if state.waitable_set is not None:
                runtime.waitable_set_drop(state.waitable_set)
            return int(support._CallbackCode.EXIT)
    elif waker is None and state.pending_count + state.tasks > len(state.futures):
        # A task waits for something that is not an import, so another call may resolve it.
        state.waker = _Waker(state)
    runtime.context_set(state)
    return int(support._CallbackCode.WAIT | (state.waitable_set << 4))


def _run(handle: asyncio.Handle) -> None:
    try:
        handle._run()
    except BaseException as error:  # noqa: BLE001 `SystemExit` must not end the instance
        # A task keeps its exception for the code that awaits it.
        if not isinstance(getattr(handle._callback, "__self__", None), asyncio.Task):  # type: ignore[attr-defined]
            handle._context.run(_output.exception, "a callback failed", error)  # type: ignore[attr-defined]


def _first_poll(export_index: int, borrows: int, coroutine: Any) -> int:
    state = _State()
    answer = _answer(state, export_index, borrows, coroutine)
    # An eager task runs at once. A call that waits for nothing has ended here, and needs no turn.
    asyncio.Task(answer, loop=_loop, context=Context(), eager_start=True)  # type: ignore[call-arg, unused-ignore]
    if state.pending_count == 0 and not state.handles and not state.futures:
        return int(support._CallbackCode.EXIT)
    return _turn(state)


async def _answer(state: _State, export_index: int, borrows: int, coroutine: Any) -> None:
    """Runs an export and hands its result to the host."""
    support._future_state.set(state)
    try:
        result = support.Ok(await coroutine)
    except support.Err as error:
        result = error
    try:
        runtime.call_task_return(export_index, borrows, result)
    finally:
        state.pending_count -= 1


def _call_soon(callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:
    if context is None:
        context = copy_context()
    state = context.get(support._future_state)
    if state is None:
        raise RuntimeError("only a handler can schedule work: the top level of a module has no call")
    handle = asyncio.Handle(callback, args, _loop, context)
    state.handles.append(handle)
    if state is not _running and state.waker is not None:
        state.waker.wake()
    return handle


def _create_task(coroutine: Any, *, name: str | None = None, context: Context | None = None, **_: Any) -> Any:
    state = support._future_state.get() if context is None else context[support._future_state]
    task = asyncio.Task(coroutine, loop=_loop, name=name, context=context)
    state.tasks += 1

    def ended(_: Any) -> None:
        state.tasks -= 1
        if state.pending_count == 0 and not task.cancelled() and (error := task.exception()) is not None:
            # The handler has ended, so nobody awaits the task.
            _output.exception("a task failed", error)

    task.add_done_callback(ended)
    return task


def _call_at(when: float, callback: Any, *args: Any, context: Context | None = None) -> asyncio.TimerHandle:
    global _timer_count
    state = support._future_state.get()
    timer = asyncio.TimerHandle(when, callback, args, _loop, context)
    timer._scheduled = True  # type: ignore[attr-defined]
    _timer_count += 1
    heapq.heappush(state.timers, (when, _timer_count, timer))
    if not state.asleep:
        state.asleep = True
        # Not `create_task`: the timers are no work that the call waits for.
        asyncio.Task(_timers(state), loop=_loop)
    return timer


async def _timers(state: _State) -> None:
    """Runs the timers of a call when they are due."""
    while True:
        timers = state.timers
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)
        if not timers:
            break
        left = timers[0][0] - time.monotonic()
        if left > 0:
            await monotonic_clock.wait_for(int(min(left, _LONGEST_SLEEP) * _NANOSECONDS) + 1)
            continue
        timer = heapq.heappop(timers)[2]
        _run(timer)
    state.asleep = False


def _report(context: dict[str, Any]) -> None:
    """Logs what asyncio reports, such as an exception of a task that nobody awaits."""
    error = context.get("exception")
    message = context.get("message", "a task failed")
    if error is None:
        _output.line("error", message)
    else:
        _output.exception(message, error)


def _no_threads(*_: Any) -> Any:
    raise RuntimeError("a component has no threads: call the function directly")


def install() -> None:
    """Replaces the parts. Runs once, when the component is built."""
    support.first_poll = _first_poll
    support._poll = _turn
    support.await_result = _await_result
    _loop.call_soon = _call_soon
    _loop.create_task = _create_task
    _loop.call_at = _call_at
    _loop.call_later = lambda delay, callback, *args, context=None: _call_at(
        time.monotonic() + delay, callback, *args, context=context
    )
    # `_timers` drops cancelled timers.
    _loop._timer_handle_cancelled = lambda timer: None
    _loop.run_in_executor = _no_threads
    _loop.time = time.monotonic
    _loop.call_exception_handler = _report
    _loop.default_exception_handler = _report
