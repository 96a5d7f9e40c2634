"""The parts of the SDK that need no module."""

from __future__ import annotations

import io
import logging
import sys
import tempfile
import unittest
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any
from unittest import mock

import fanfare
from fanfare import (
    CallError,
    Failure,
    _backend,
    _output,
    broadcast,
    build,
    channels,
    handler,
    log,
    rpc,
    snapshot,
    sse,
)
from fanfare._imports import millis, payload_of
from fanfare._outcome import places, short
from fanfare._payload import from_json
from fanfare._registry import Registry, replace_registry
from fanfare.testing._manifest import read_jsonc

SDK = Path(__file__).parents[1]


class Recorder:
    """Imports that record the log."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, list[tuple[str, str]]]] = []

    def log(self, caller: int | None, level: str, message: str, fields: list[tuple[str, str]]) -> None:
        self.lines.append((level, message, fields))


@contextmanager
def recording() -> Iterator[Recorder]:
    recorder: Any = Recorder()
    _backend.install(recorder)
    try:
        yield recorder
    finally:
        _backend.install(None)


class Registering(unittest.TestCase):
    def setUp(self) -> None:
        self.registry = Registry()
        previous = replace_registry(self.registry)
        self.addCleanup(replace_registry, previous)

    def test_two_handlers_cannot_share_a_name(self) -> None:
        @handler
        def greet() -> None: ...

        with self.assertRaisesRegex(ValueError, "two handlers have the name `greet`"):
            handler("greet")(lambda: None)

    def test_a_decorator_returns_the_function(self) -> None:
        def plain() -> int:
            return 7

        self.assertIs(handler(plain), plain)
        self.assertIs(handler("other-name")(plain), plain)
        self.assertEqual(list(self.registry.handlers), ["plain", "other-name"])

    def test_a_module_has_one_snapshot(self) -> None:
        snapshot(dict, print)
        with self.assertRaises(ValueError):
            snapshot(dict, print)


class Snapshots(unittest.IsolatedAsyncioTestCase):
    async def test_load_receives_what_save_has_returned(self) -> None:
        for state in ({"a": [1, None]}, "text", 7, b"bytes", None):
            registry, loaded = Registry(), []
            registry.save = lambda state=state: state
            registry.load = loaded.append
            await registry.restore("digest", await registry.state())
            self.assertEqual(loaded, [state])

    async def test_load_may_take_the_generation(self) -> None:
        registry, loaded = Registry(), []
        registry.load = lambda state, generation: loaded.append(generation)
        await registry.restore("digest", "1")
        self.assertEqual(loaded, ["digest"])


class Outside(unittest.TestCase):
    def test_an_import_outside_a_handler_says_so(self) -> None:
        with self.assertRaisesRegex(RuntimeError, "there is no host"):
            broadcast.emit("told")

    def test_arguments_are_checked(self) -> None:
        for call in (
            lambda: payload_of(object()),
            lambda: payload_of("\ud800"),
            lambda: millis(-1),
            lambda: millis(float("nan")),
            lambda: sse.publish("key", "data", reach="nowhere"),
            lambda: channels.Position.parse("7"),
            lambda: fanfare.sessions.bind("ada", "steal"),
            lambda: fanfare.sessions.disconnect(7),
        ):
            with (
                mock.patch.object(_backend, "_installed", mock.Mock()),
                self.assertRaises(CallError) as caught,
            ):
                call()
            self.assertEqual(caught.exception.kind, "invalid")
        with mock.patch.object(_backend, "_installed", mock.Mock()), self.assertRaises(TypeError):
            rpc.notify(7)  # type: ignore[arg-type]
        self.assertEqual((millis(1e300), millis(0.25), millis(None)), (2**32 - 1, 250, None))

    def test_a_call_error_becomes_a_failure_with_the_status_of_its_kind(self) -> None:
        self.assertEqual(CallError("timeout", "late").into_failure().status, 504)
        self.assertEqual(CallError("later-kind", "?").into_failure().status, 502)
        failure = Failure("own", "text", status=418)
        self.assertIs(CallError("failure", "text", failure).into_failure(), failure)

    def test_a_position_is_written_as_clients_have_it(self) -> None:
        self.assertEqual(str(channels.Position.parse("abc-7")), "abc-7")


class Json(unittest.TestCase):
    def test_deep_json_is_refused_before_it_ends_the_instance(self) -> None:
        for text in ("[" * 251, "[" * 251 + "]" * 251, '{"a":' * 300, '"[" [{' * 200, b"[" * 300):
            with self.assertRaises(ValueError):
                from_json(text)
        with self.assertRaisesRegex(ValueError, "nested more than 250 times"):
            from_json("[" * 251 + "]" * 251)

    def test_brackets_in_texts_and_side_by_side_are_not_deep(self) -> None:
        deep = "[" * 250 + "]" * 250
        self.assertEqual(len(from_json(f"[{','.join(['{}'] * 1000)}]")), 1000)
        self.assertEqual(from_json('{"a": "' + "[" * 1000 + '\\\\", "b": "\\"["}')["b"], '"[')
        for text in (deep, deep.encode()):
            self.assertEqual(len(from_json(text)), 1)
        for text in ('"' + "[" * 1000, "[" * 200 + '"\\' + "[" * 200):
            with self.assertRaises(ValueError):
                from_json(text)


class Output(unittest.TestCase):
    def test_lines_of_print_are_lines_of_the_log(self) -> None:
        with recording() as recorder:
            out = _output.Output("info")
            print("one", {"a": 1}, file=out)
            print("two\n\nthree", end="", file=out)
            self.assertEqual([line[1] for line in recorder.lines], ["one {'a': 1}", "two"])
            print("!", end="", flush=True, file=out)
            out.close()
        self.assertEqual(recorder.lines[-1], ("info", "three!", []))

    def test_a_line_without_an_end_does_not_fill_the_memory(self) -> None:
        with recording() as recorder:
            out = _output.Output("info")
            for _ in range(3):
                out.write("x" * 40_000)
            self.assertEqual(len(recorder.lines), 1)
            out.close()

    def test_logging_has_levels_and_exceptions(self) -> None:
        logger = logging.Logger("shop.hats")
        logger.addHandler(_output.LogHandler())
        with recording() as recorder:
            logger.warning("%d left", 3)
            logger.log(5, "detail")
            try:
                raise ValueError("boom")
            except ValueError:
                logger.exception("failed")
        self.assertEqual(recorder.lines[0], ("warn", "3 left", [("logger", "shop.hats")]))
        self.assertEqual(recorder.lines[1][0], "trace")
        fields = dict(recorder.lines[2][2])
        self.assertEqual((recorder.lines[2][0], fields["exception"]), ("error", "ValueError: boom"))
        self.assertIn("test_units.py:", fields["stack"])

    def test_log_cleans_text_that_is_not_unicode(self) -> None:
        with recording() as recorder:
            log.warn("half \ud800", left=3)
        self.assertEqual(recorder.lines, [("warn", "half ?", [("left", "3")])])

    def test_a_module_that_is_missing_at_run_time_has_help(self) -> None:
        with recording() as recorder:
            _output.exception("failed", ModuleNotFoundError("No module named 'x'"))
        self.assertIn("at the top of a file", dict(recorder.lines[0][2])["help"])

    def test_a_recursion_without_end_has_few_places(self) -> None:
        def recurse() -> None:
            recurse()

        try:
            recurse()
        except RecursionError as error:
            self.assertEqual(len(places(error)), 10)

    def test_paths_of_the_component_are_those_of_the_module(self) -> None:
        self.assertEqual(short("/0/hello.py"), "hello.py")
        self.assertEqual(short("/2/shop/hats.py"), "shop/hats.py")
        self.assertEqual(short("/home/ada/hello.py"), "/home/ada/hello.py")


class Building(unittest.TestCase):
    def error(self, *arguments: str) -> str:
        stderr = io.StringIO()
        with redirect_stderr(stderr):
            self.assertEqual(build.main(list(arguments)), 1)
        return stderr.getvalue()

    def test_a_missing_tool_is_named_with_its_command(self) -> None:
        missing = build.importlib.metadata.PackageNotFoundError
        with mock.patch.object(build.importlib.metadata, "version", side_effect=missing):
            message = self.error("hello.py")
        self.assertEqual(
            message,
            f"error: componentize-py is not installed. Run: {sys.executable} -m pip install componentize-py==0.25.1\n",
        )

    def test_another_version_of_the_tool_is_refused(self) -> None:
        with mock.patch.object(build.importlib.metadata, "version", return_value="0.24.0"):
            self.assertIn(
                "componentize-py 0.24.0 is installed, and the SDK needs 0.25.1", self.error("hello.py")
            )

    def test_names_that_cannot_be_built_are_refused(self) -> None:
        with mock.patch.object(build, "_check_tool"):
            self.assertIn("is not a file of Python", self.error("nothing.py"))
        for name, expected in (
            ("json.py", "the name of another module, `json`"),
            ("my-module.py", "cannot be imported"),
        ):
            with (
                self.assertRaisesRegex(build.BuildError, expected),
                mock.patch.object(Path, "is_file", return_value=True),
            ):
                build._module_name(Path(name))

    def test_the_export_of_the_state_is_guessed_from_the_sources_of_the_module(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            entry = folder / "hello.py"
            entry.write_text("")
            for hidden in (".venv", "environment"):
                (folder / hidden).mkdir()
                (folder / hidden / "x.py").write_text("snapshot(save, load)")
            (folder / "environment/pyvenv.cfg").write_text("")
            self.assertFalse(build._mentions_snapshot(entry))
            (folder / "state.py").write_text("snapshot(save, load)")
            self.assertTrue(build._mentions_snapshot(entry))

    def test_an_error_has_its_place_in_the_source(self) -> None:
        facts = {"file": "/1/shop/hats.py", "line": "7", "message": "SyntaxError: expected ':'"}
        mounted = [Path("/tmp/app"), Path.cwd() / "modules"]
        self.assertEqual(build._describe(facts, mounted), "modules/shop/hats.py:7: SyntaxError: expected ':'")
        facts = {
            "file": "/1/a.py",
            "line": "1",
            "message": "ModuleNotFoundError: ..",
            "missing": "requests.adapters",
        }
        described = build._describe(facts, mounted)
        self.assertIn("add it to requirements.txt", described)
        self.assertIn("-m pip install requests\n", described)


class Files(unittest.TestCase):
    def test_the_contract_in_the_package_is_that_of_the_repository(self) -> None:
        contract = SDK.parents[1] / "wit"
        if not contract.is_dir():
            self.skipTest("not in the repository")
        copied = SDK / "fanfare/wit/deps/fanfare-module"
        names = {path.name for path in contract.glob("*.wit")}
        self.assertEqual({path.name for path in copied.glob("*.wit")}, names)
        for name in names:
            self.assertEqual((copied / name).read_text(), (contract / name).read_text(), name)

    def test_the_tool_has_one_version(self) -> None:
        self.assertIn(f'"componentize-py=={build.COMPONENTIZE_PY}"', (SDK / "pyproject.toml").read_text())

    def test_manifests_may_have_comments(self) -> None:
        text = '{ // one\n "a": [1, /* two , */ 2, ], "b": "// \\" ,]", // , }\n}'
        self.assertEqual(read_jsonc(text), {"a": [1, 2], "b": '// " ,]'})


if __name__ == "__main__":
    unittest.main()
