"""The errors of handlers and of calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# The HTTP status of each kind of `CallError`, the same as in the problem documents of the host.
_STATUS = {
    "timeout": 504,
    "not-found": 404,
    "forbidden": 403,
    "overloaded": 503,
    "unavailable": 503,
    "crashed": 500,
    "would-deadlock": 508,
    "too-deep": 508,
    "invalid": 400,
}


class Failure(Exception):
    """Refuses a call: a name to match on, a sentence for a person, a status, and data.

    A handler raises it. An HTTP client receives a problem document, another module a `CallError`
    of the kind `failure`. Any other exception of a handler becomes a failure with the name `error`
    and the status 500.
    """

    def __init__(
        self,
        name: str,
        message: str,
        *,
        status: int = 500,
        data: Any = None,
        extra: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(name, message)
        self.name = name
        self.message = message
        #: 400 to 599.
        self.status = status
        #: Data for the program of the caller: text, bytes, or a value that JSON can represent.
        self.data = data
        #: Values for the host. `close-code` closes the connection of a client, and `silent` keeps
        #: the failure out of the log.
        self.extra = dict(extra or {})

    @classmethod
    def bad_request(cls, name: str, message: str, *, data: Any = None) -> Failure:
        """Creates a failure with status 400: the arguments of the caller are wrong."""
        return cls(name, message, status=400, data=data)

    @classmethod
    def forbidden(cls, name: str, message: str, *, data: Any = None) -> Failure:
        """Creates a failure with status 403: the caller may not do this."""
        return cls(name, message, status=403, data=data)

    @classmethod
    def not_found(cls, name: str, message: str, *, data: Any = None) -> Failure:
        """Creates a failure with status 404: the requested item does not exist."""
        return cls(name, message, status=404, data=data)

    @classmethod
    def conflict(cls, name: str, message: str, *, data: Any = None) -> Failure:
        """Creates a failure with status 409: the request conflicts with the current state."""
        return cls(name, message, status=409, data=data)

    @property
    def json(self) -> Any:
        """The data of a failure that another handler has returned, parsed as JSON.

        `data` itself is the text or the bytes that arrived.
        """
        from ._payload import from_json

        return from_json(self.data)

    def __str__(self) -> str:
        return f"{self.name}: {self.message}"

    def __repr__(self) -> str:
        return f"Failure({self.name!r}, {self.message!r}, status={self.status})"


class CallError(Exception):
    """Why an import of the host returned an error.

    `kind` is the name in the contract: `failure`, `timeout`, `not-found`, `forbidden`,
    `overloaded`, `crashed`, `unavailable`, `would-deadlock`, `too-deep`, `invalid`, or a kind of a
    later host. `failure` is the failure of the handler that was called, when the kind is `failure`.
    """

    def __init__(self, kind: str, message: str, failure: Failure | None = None) -> None:
        super().__init__(kind, message)
        self.kind = kind
        self.message = message
        self.failure = failure

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        return f"CallError({self.kind!r}, {self.message!r})"

    def into_failure(self) -> Failure:
        """Returns the failure of the handler that was called, or one with the kind as its name."""
        if self.failure is not None:
            return self.failure
        return Failure(self.kind, self.message, status=_STATUS.get(self.kind, 502))


def failed(failure: Failure) -> CallError:
    """Returns the error of a call whose handler refused it."""
    return CallError("failure", str(failure), failure)


def timed_out() -> CallError:
    """Returns the error of a call whose deadline has passed."""
    return CallError("timeout", "no answer by the deadline")
