"""Builds a component from a module in Python.

    python -m fanfare.build hello.py -o hello.wasm

The build runs the top level of the module once, in the interpreter of the component, and keeps the
result. Therefore every import has to be at the top level of a file.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

#: The SDK relies on details of this version.
COMPONENTIZE_PY = "0.25.1"

_HERE = Path(__file__).resolve().parent
_WORLD = "python-module"
_APP = "fanfare_app"
_TOOL = "import sys; from componentize_py import script; sys.exit(script())"
# `_build_report.py` writes it, in the component.
_REPORT = re.compile(r"fanfare-build: (\{.*\})")


class BuildError(Exception):
    """Why there is no component: one or two sentences for the author."""


@dataclass(frozen=True)
class Built:
    """A component that was built."""

    output: Path
    size: int
    seconds: float


def build(entry: Path, output: Path, paths: list[Path] | None = None) -> Built:
    """Builds the component of the module whose file is `entry`, and writes it by renaming.

    `paths` are folders with further modules. Raises `BuildError`.
    """
    started = time.monotonic()
    _check_tool()
    entry = entry.resolve()
    name = _module_name(entry)
    if not output.parent.is_dir():
        raise BuildError(f"the folder {output.parent} does not exist: create it, or choose another output")
    folders = _folders(entry, paths or [])
    partial = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    try:
        with_snapshot = _mentions_snapshot(entry)
        if not _componentize(name, folders, partial, with_snapshot):
            # The guess was wrong. The module itself knows it only when it runs.
            _componentize(name, folders, partial, not with_snapshot)
        size = partial.stat().st_size
        os.replace(partial, output)
    finally:
        partial.unlink(missing_ok=True)
    return Built(output, size, time.monotonic() - started)


def _check_tool() -> None:
    command = f"{sys.executable} -m pip install componentize-py=={COMPONENTIZE_PY}"
    try:
        found = importlib.metadata.version("componentize-py")
    except importlib.metadata.PackageNotFoundError:
        raise BuildError(f"componentize-py is not installed. Run: {command}") from None
    if found != COMPONENTIZE_PY:
        raise BuildError(
            f"componentize-py {found} is installed, and the SDK needs {COMPONENTIZE_PY}. Run: {command}"
        )


def _module_name(entry: Path) -> str:
    if not entry.is_file() or entry.suffix != ".py":
        raise BuildError(
            f"{entry} is not a file of Python: name the file with the handlers, such as hello.py"
        )
    name = entry.stem
    if not name.isidentifier():
        raise BuildError(
            f"{entry.name} cannot be imported: rename it, with letters, digits and underscores only"
        )
    if name in sys.stdlib_module_names or name in ("fanfare", _APP, "wit_world"):
        raise BuildError(f"{entry.name} has the name of another module, `{name}`: rename it")
    return name


def _folders(entry: Path, paths: list[Path]) -> list[Path]:
    """Where the component finds its modules: those of the user first."""
    for path in paths:
        if not path.is_dir():
            raise BuildError(f"{path} is not a folder: name one with modules of Python")
    folders = [entry.parent, *(path.resolve() for path in paths)]
    # The SDK is in a folder of its own when it is not installed.
    if _HERE.parent != Path(sysconfig.get_path("purelib")).resolve():
        folders.append(_HERE.parent)
    return folders


def _mentions_snapshot(entry: Path) -> bool:
    """Whether the module seems to hand over a state. Only a component that does exports it."""
    for folder, folders, files in os.walk(entry.parent):
        # Neither hidden folders nor virtual environments.
        folders[:] = [
            name for name in folders if name[0] != "." and not Path(folder, name, "pyvenv.cfg").exists()
        ]
        for name in files:
            if name.endswith(".py") and "snapshot(" in Path(folder, name).read_text(errors="replace"):
                return True
    return False


def _componentize(name: str, folders: list[Path], output: Path, with_snapshot: bool) -> bool:
    """Runs componentize-py. Returns whether the world fits the module."""
    with tempfile.TemporaryDirectory() as app:
        lines = [
            "from fanfare._build_report import loading",
            f"with loading({with_snapshot}):",
            "    from fanfare._exports import Describe, Handler, Snapshot, WitWorld, load",
            f"    load({name!r})",
        ]
        Path(app, f"{_APP}.py").write_text("\n".join(lines) + "\n")
        mounted = [Path(app), *folders]
        command = [sys.executable, "-c", _TOOL, "--quiet", "--wit-path", str(_HERE / "wit")]
        command += ["--world", f"{_WORLD}-with-snapshot" if with_snapshot else _WORLD, "componentize"]
        for folder in mounted:
            command += ["--python-path", str(folder)]
        command += ["--output", str(output), _APP]
        # The tool adds the packages of this environment, not those of another Python in PATH, and
        # writes no backtrace of itself after an error.
        environment = {**os.environ, "VIRTUAL_ENV": sys.prefix, "RUST_BACKTRACE": "0"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode == 0:
        sys.stderr.write(done.stdout)
        return True
    report = _REPORT.search(done.stderr)
    if report is None:
        raise BuildError(f"componentize-py failed:\n{done.stderr.strip()}")
    facts = json.loads(report[1])
    if facts.get("world"):
        return False
    raise BuildError(_describe(facts, mounted))


def _describe(facts: dict[str, str], mounted: list[Path]) -> str:
    """One sentence with the file and the line in the source of the user."""
    place = _place(facts.get("file", ""), facts.get("line", ""), mounted)
    text = f"{place}{facts['message']}"
    missing = facts.get("missing")
    if missing:
        package = missing.split(".")[0]
        text += (
            f"\nhelp: if it is a package, add it to requirements.txt, which `fanfare build` installs, or run:\n"
            f"      {sys.executable} -m pip install {package}\n"
            "      Only packages in pure Python work in a component."
        )
    return text


def _place(file: str, line: str, mounted: list[Path]) -> str:
    match = re.match(r"/(\d+)/(.*)", file)
    if match is None or int(match[1]) >= len(mounted):
        return f"{file}:{line}: " if file else ""
    path = mounted[int(match[1])] / match[2]
    try:
        path = path.relative_to(Path.cwd())
    except ValueError:
        pass
    return f"{path}:{line}: "


def main(arguments: list[str] | None = None) -> int:
    """Runs the command. Returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m fanfare.build", description="Builds the component of a module in Python."
    )
    parser.add_argument("entry", type=Path, help="the file with the handlers, such as hello.py")
    parser.add_argument(
        "-o", "--output", type=Path, help="the component. Default: the entry with the ending .wasm"
    )
    parser.add_argument(
        "-p", "--path", type=Path, action="append", default=[], help="a folder with further modules of Python"
    )
    options = parser.parse_args(arguments)
    output = options.output or options.entry.with_suffix(".wasm")
    try:
        built = build(options.entry, output, options.path)
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{built.output}: {built.size / 1e6:.1f} MB in {built.seconds:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
