"""Reports to the build, from within the component, why the module cannot be loaded."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

# The build passes every file that it finds to the component. The cache of compiled files would
# otherwise appear in the folders of the user.
sys.dont_write_bytecode = True


@contextmanager
def loading(with_snapshot: bool) -> Iterator[None]:
    """Ends the build with a report when the module raises, or does not fit the world."""
    try:
        yield
    except BaseException as error:  # noqa: BLE001 `sys.exit()` at the top level, too
        _end(_facts(error))
    from ._registry import registry

    if not registry().handlers:
        _end({"message": "the module has no handler: write `@handler` above a function"})
    if (registry().save is not None) != with_snapshot:
        _end({"world": "other"})


def _facts(error: BaseException) -> dict[str, str]:
    name = type(error).__name__
    if isinstance(error, SyntaxError):
        return {
            "file": error.filename or "",
            "line": str(error.lineno or 0),
            "message": f"{name}: {error.msg}",
        }
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith("/")]
    own = [frame for frame in frames if not frame.filename.startswith("/python/")]
    # The last one of the user: an error in the SDK is one of its caller.
    here = __file__.rpartition("/")[0] + "/"
    user = [frame for frame in own[1:] if not frame.filename.startswith(here)] or own
    facts = {"message": f"{name}: {error}" if str(error) else name}
    if user:
        facts |= {"file": user[-1].filename, "line": str(user[-1].lineno)}
    if isinstance(error, ModuleNotFoundError) and error.name:
        facts["missing"] = error.name
    return facts


def _end(facts: dict[str, str]) -> None:
    raise SystemExit(f"fanfare-build: {json.dumps(facts)}")
