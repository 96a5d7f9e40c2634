"""The handlers and the snapshot of a module."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, overload

from ._call import Call
from ._current import enter
from ._errors import Failure
from ._outcome import outcome
from ._payload import Payload, from_json, to_json
from .types import Passed, Reply

#: A function that takes the call, or nothing, and returns a result or an awaitable of one.
HandlerFn = Callable[..., Any]
F = TypeVar("F", bound=HandlerFn)


class Registry:
    """What a module has registered."""

    def __init__(self) -> None:
        self.handlers: dict[str, HandlerFn] = {}
        # Handlers that have run, with whether they take the call.
        self._known: dict[str, tuple[HandlerFn, bool]] = {}
        self.save: Callable[[], Any] | None = None
        self.load: Callable[..., Any] | None = None

    def add(self, name: str, function: HandlerFn) -> None:
        """Registers a handler. Raises `ValueError` when another function has the name."""
        other = self.handlers.get(name)
        if other is not None:
            where = (
                f"{other.__code__.co_filename}:{other.__code__.co_firstlineno}"
                if inspect.isfunction(other)
                else other
            )
            raise ValueError(f"two handlers have the name `{name}`: the other one is at {where}")
        self.handlers[name] = function

    async def run(self, call: Call) -> Reply | Passed:
        """Runs one call. Raises what the handler raises."""
        result = self.begin(call)
        return outcome(await result if is_awaitable(result) else result)

    def begin(self, call: Call) -> Any:
        """Calls the handler. Returns what it returns, or an awaitable of it."""
        enter(call)
        known = self._known.get(call.handler) or self._find(call.handler)
        function, takes_call = known
        return function(call) if takes_call else function()

    def _find(self, name: str) -> tuple[HandlerFn, bool]:
        function = self.handlers.get(name)
        if function is None:
            raise Failure(
                "no-such-handler",
                f"the component has no handler `{name}`: write `@handler` above its function",
            )
        known = self._known[name] = (function, _parameters(function) > 0)
        return known

    async def state(self) -> Payload:
        """Returns the state for the next generation."""
        if self.save is None:
            return None
        state = self.save()
        if inspect.isawaitable(state):
            state = await state
        if state is None or isinstance(state, bytes):
            return state
        return to_json(state)

    async def restore(self, generation: str, payload: Payload) -> None:
        """Hands the state of the previous generation to the module."""
        if self.load is None:
            return
        state = payload if isinstance(payload, bytes) else from_json(payload)
        done = self.load(state, generation) if _parameters(self.load) > 1 else self.load(state)
        if inspect.isawaitable(done):
            await done


def _parameters(function: Callable[..., Any]) -> int:
    """The number of positional parameters."""
    positional = (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.VAR_POSITIONAL,
    )
    parameters = inspect.signature(function).parameters.values()
    return sum(parameter.kind in positional for parameter in parameters)


# What most handlers return. `inspect.isawaitable` takes longer than a short handler.
_VALUES = frozenset((str, bytes, type(None), dict, list, Reply, Passed))


def is_awaitable(result: Any) -> bool:
    """Whether a handler has returned an awaitable, and not its result."""
    return type(result) not in _VALUES and inspect.isawaitable(result)


_registry = Registry()


def registry() -> Registry:
    """Returns the registry that decorators add to."""
    return _registry


def replace_registry(new: Registry) -> Registry:
    """Sets the registry that decorators add to, and returns the previous one."""
    global _registry
    previous, _registry = _registry, new
    return previous


@overload
def handler(function: F, /) -> F: ...
@overload
def handler(name: str, /) -> Callable[[F], F]: ...
def handler(subject: Any, /) -> Any:
    """Makes a function a handler, which `module.json` names in its routes.

    The function takes the `Call`, or nothing, and may be `async`. It returns `None`, text, bytes,
    a value that becomes JSON, `reply(..)` or `passed(..)`. The name of the handler is the name of
    the function, or the text in `@handler("some-name")`.
    """
    if isinstance(subject, str):

        def named(function: F) -> F:
            registry().add(subject, function)
            return function

        return named
    if not callable(subject):
        raise TypeError('`handler` decorates a function: write `@handler` or `@handler("name")` above it')
    registry().add(subject.__name__, subject)
    return subject


def snapshot(save: Callable[[], Any], load: Callable[..., Any]) -> None:
    """Hands the state of the module to its next generation during a swap.

    `save` returns the state: bytes, or a value that JSON can represent. `load` takes the state, and
    may take the digest of the previous generation as a second argument. Both may be `async`. If one
    raises, the host rejects the new generation and keeps the old one.
    """
    current = registry()
    if current.save is not None:
        raise ValueError("a module has one snapshot: call `snapshot` once")
    current.save, current.load = save, load
