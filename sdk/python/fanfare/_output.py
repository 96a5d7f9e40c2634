"""Where `print`, `logging`, warnings and exceptions go: to the host's log."""

from __future__ import annotations

import io
import logging
import sys

from ._backend import installed
from ._current import caller
from ._outcome import message_of, places


def line(level: str, message: str, fields: list[tuple[str, str]] | None = None) -> None:
    """Writes one line to the host's log. Outside a host, to standard error."""
    host = installed()
    if host is None:
        print(f"{level}: {message}", file=sys.__stderr__)
        return
    clean = [(name, _clean(value)) for name, value in fields or []]
    host.log(caller(), level, _clean(message), clean)


def exception(subject: str, error: BaseException) -> None:
    """Logs an exception with the places in the source that it came through."""
    stack = places(error)
    where = f" at {stack[0]}" if stack else ""
    fields = [("stack", ", ".join(stack))] if len(stack) > 1 else []
    if isinstance(error, ModuleNotFoundError):
        fields.append(
            ("help", "a component has no files: import it at the top of a file, so that the build finds it")
        )
    name = type(error).__name__
    text = message_of(error)
    line("error", f"{subject}: {text if text.startswith(name) else f'{name}: {text}'}{where}", fields)


def _clean(text: str) -> str:
    return text if text.isascii() else text.encode(errors="replace").decode()


# A line that never ends must not fill the memory.
_LONGEST_LINE = 65_536


class Output(io.TextIOBase):
    """A text stream whose lines become lines of the log."""

    def __init__(self, level: str) -> None:
        self.level = level
        self._rest = ""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        lines = (self._rest + text).split("\n")
        self._rest = lines.pop()
        if len(self._rest) > _LONGEST_LINE:
            lines.append(self._rest)
            self._rest = ""
        for one in lines:
            if one.strip():
                line(self.level, one)
        return len(text)

    def flush(self) -> None:
        """Writes what has no line break yet, as `print(.., end="", flush=True)` asks for."""
        rest, self._rest = self._rest, ""
        if rest.strip():
            line(self.level, rest)


class LogHandler(logging.Handler):
    """Writes the records of `logging` to the host's log."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            level = "trace" if record.levelno < logging.DEBUG else _level(record.levelno)
            fields = [("logger", record.name)] if record.name != "root" else []
            message = self.format(record) if self.formatter else record.getMessage()
            error = record.exc_info[1] if record.exc_info else None
            if error is not None and not self.formatter:
                stack = places(error)
                fields.append(("exception", f"{type(error).__name__}: {message_of(error)}"))
                fields.append(("stack", ", ".join(stack)))
            line(level, message, fields)
        except Exception:  # noqa: BLE001 as every handler of `logging`
            self.handleError(record)


def _level(number: int) -> str:
    if number >= logging.ERROR:
        return "error"
    if number >= logging.WARNING:
        return "warn"
    return "info" if number >= logging.INFO else "debug"


def redirect() -> None:
    """Sends the output of this process to the log."""
    sys.stdout, sys.stderr = Output("info"), Output("warn")
    root = logging.getLogger()
    for handler in list(root.handlers):
        # `logging.basicConfig()` at the top of a module has kept the streams of the build.
        if type(handler) is logging.StreamHandler:
            root.removeHandler(handler)
    if not root.handlers:
        root.addHandler(LogHandler())
        if root.level == logging.WARNING:
            root.setLevel(logging.INFO)
