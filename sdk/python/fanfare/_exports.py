"""The exports of a component. The build imports this module, and then that of the user."""

from __future__ import annotations

import importlib
from typing import Any

from componentize_py_types import Err
from wit_world import exports

from . import _loop, _output
from ._backend import install
from ._component import Component
from ._component_types import Arrived, failure, from_payload, outcome, to_payload
from ._outcome import failure_of, message_of
from ._registry import is_awaitable, registry

_started = False


def _start() -> None:
    """Prepares an instance before its first call.

    componentize-py has given it random numbers and variables of its own.
    """
    global _started
    if not _started:
        _started = True
        install(Component())
        _output.redirect()


class Handler(exports.Handler):  # type: ignore[misc]
    async def handle(self, raw: Any) -> Any:
        _start()
        call = Arrived(raw)
        try:
            result = registry().begin(call)
            return outcome(await result if is_awaitable(result) else result)
        except BaseException as error:  # noqa: BLE001 an exception is no trap
            refused, expected = failure_of(error)
            if not expected:
                _output.exception(f"handler {call.handler} failed", error)
        raise Err(failure(refused))


class Describe(exports.Describe):  # type: ignore[misc]
    def handlers(self) -> list[str]:
        return list(registry().handlers)


class Snapshot:
    async def save(self) -> Any:
        _start()
        try:
            return to_payload(await registry().state())
        except BaseException as error:  # noqa: BLE001 an exception is no trap
            _output.exception("save failed", error)
            message = message_of(error)
        raise Err(message)

    async def load(self, from_: str, state: Any) -> None:
        _start()
        try:
            await registry().restore(from_, from_payload(state))
            return
        except BaseException as error:  # noqa: BLE001 an exception is no trap
            _output.exception("load failed", error)
            message = f"cannot load the state of generation {from_[:12]}: {message_of(error)}"
        raise Err(message)


if hasattr(exports, "Snapshot"):
    Snapshot = type("Snapshot", (Snapshot, exports.Snapshot), {})  # type: ignore[misc, assignment]


class WitWorld:
    def wake(self, wake: Any) -> None:
        raise NotImplementedError


def load(entry: str) -> None:
    """Imports the module of the user. Runs once, when the component is built."""
    _loop.install()
    importlib.import_module(entry)
