"""The current call, which every import passes to the host unseen."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._call import Call

# A task copies the context of the task that creates it, so that all work of a handler belongs to
# its call.
_current: ContextVar[Call | None] = ContextVar("fanfare_call", default=None)


def current() -> Call | None:
    """Returns the current call. `None` outside a handler, which is background work."""
    return _current.get()


def enter(call: Call) -> None:
    """Makes this the call of the current context."""
    _current.set(call)


def caller() -> int | None:
    """Returns the id of the current call, to which the host charges the work."""
    call = _current.get()
    return None if call is None else call.id
