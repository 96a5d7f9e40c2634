"""Where the module runs, and the host's log."""

from __future__ import annotations

from typing import Any

from ._backend import backend
from ._current import caller
from .types import Identity

__all__ = ["log", "whoami"]

LEVELS = ("trace", "debug", "info", "warn", "error")


def whoami() -> Identity:
    """Returns the node, the isolate and the module of this instance."""
    return backend().whoami()


def log(level: str, message: object, **fields: Any) -> None:
    """Writes one line to the host's log. `level` is `trace`, `debug`, `info`, `warn` or `error`.

    The functions of `fanfare.log` are shorter.
    """
    if level not in LEVELS:
        raise ValueError(f"unknown level `{level}`: use {', '.join(LEVELS)}")
    pairs = [(name, _clean(value)) for name, value in fields.items()]
    backend().log(caller(), level, _clean(message), pairs)


def _clean(value: object) -> str:
    """Text for the log. A lone surrogate must not lose the line."""
    text = str(value)
    return text if text.isascii() else text.encode(errors="replace").decode()
