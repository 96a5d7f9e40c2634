"""Writes lines to the host's log: `log.info("sold a hat", left=3)`.

`print` and the module `logging` write there too.
"""

from __future__ import annotations

from typing import Any

from . import host

__all__ = ["debug", "error", "info", "trace", "warn"]


def trace(message: object, **fields: Any) -> None:
    """Logs a line at level `trace`, for the finest detail."""
    host.log("trace", message, **fields)


def debug(message: object, **fields: Any) -> None:
    """Logs a line at level `debug`, for finding faults."""
    host.log("debug", message, **fields)


def info(message: object, **fields: Any) -> None:
    """Logs a line at level `info`."""
    host.log("info", message, **fields)


def warn(message: object, **fields: Any) -> None:
    """Logs a line at level `warn`, for problems that need attention."""
    host.log("warn", message, **fields)


def error(message: object, **fields: Any) -> None:
    """Logs a line at level `error`, for work that failed."""
    host.log("error", message, **fields)
