"""The borders between packages, read from the source: who may import whom (DESIGN.md, section 2)."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
STDLIB = sys.stdlib_module_names

# Who may import the daemon besides itself: the command line's own entry, and what is still to be moved.
DAEMON_USERS = {
    "edge_lstm/__main__.py",
}
DYNAMIC_IMPORTS = {"edge_lstm/daemon/cli.py", "edge_lstm/convert/sources.py", "edge_lstm/convert/verify.py"}


class Import(NamedTuple):
    """One imported module, absolute and dotted."""

    file: str
    line: int
    module: str
    deep: bool  # inside a function

    def within(self, *packages: str) -> bool:
        """Tell whether it is one of the packages or inside one."""
        return any(self.module == package or self.module.startswith(f"{package}.") for package in packages)


def imports_of(source: str, file: str) -> list[Import]:
    """Return every import, those inside functions and ``import_module("literal")`` among them."""
    found: list[Import] = []

    def visit(node: ast.AST, deep: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend(Import(file, node.lineno, alias.name, deep) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: relative import"
            # "from a import b" may mean the module a.b, so both the package and the name count
            found.extend(Import(file, node.lineno, f"{node.module}.{alias.name}", deep) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
            name = node.args[0]
            if isinstance(name, ast.Constant):
                found.append(Import(file, node.lineno, str(name.value), deep))
            else:  # a name that only running tells: the table of commands, never at module level
                assert deep, f"{file}:{node.lineno}"
                assert file in DYNAMIC_IMPORTS, f"{file}:{node.lineno}"
        inside = deep or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            visit(child, inside)

    visit(ast.parse(source), False)
    return found


def imports_in(*places: str) -> list[Import]:
    """Return the imports of files, or of folders with all below them."""
    files = [file for place in places for file in sorted(_files(ROOT / place))]
    assert files, places
    return [found for file in files for found in imports_of(file.read_text(), file.relative_to(ROOT).as_posix())]


def _files(place: Path) -> list[Path]:
    return [place] if place.is_file() else list(place.rglob("*.py"))


def show(found: list[Import]) -> list[str]:
    return [f"{one.file}:{one.line}: {one.module}" for one in found]


def test_reader_sees_hidden_imports() -> None:
    source = "import a.b\ndef f():\n    from c import d\n    class X:\n        import e\nx = import_module('g.h')\n"
    assert [(one.module, one.deep) for one in imports_of(source, "f")] == [
        ("a.b", False), ("c.d", True), ("e", True), ("g.h", False),
    ]  # fmt: skip


def test_nouns_and_errors_stand_alone() -> None:
    found = imports_in("edge_lstm/messages.py", "edge_lstm/errors.py")
    assert not show([one for one in found if one.module.split(".")[0] not in (*STDLIB, "msgspec")])
    assert not show([one for one in found if one.within("os", "io", "socket", "threading", "time", "pathlib")])


def test_stages_are_pure() -> None:
    found = imports_in("edge_lstm/stages")
    outside = (
        "numba", "numpy", "safetensors", "paho", "time", "threading", "_thread", "multiprocessing", "concurrent",
        "asyncio", "socket", "select", "ssl", "signal", "os", "io", "pathlib", "shutil", "tempfile", "subprocess",
        "logging", "random", "secrets", "uuid", "urllib", "http", "zoneinfo",
    )  # fmt: skip
    assert not show([one for one in found if one.within(*outside)])
    allowed = ("edge_lstm.messages", "edge_lstm.errors", "edge_lstm.stages")
    assert not show([one for one in found if one.within("edge_lstm") and not one.within(*allowed)])


def clock_and_file_calls(source: str) -> list[str]:
    """Return calls that would read a clock, open something or print."""
    names = {"open", "print", "input", "exec", "eval", "compile", "__import__"}
    methods = {"now", "utcnow", "today", "time", "time_ns", "monotonic", "perf_counter", "sleep", "open"}
    methods |= {"read_text", "read_bytes", "write_text", "write_bytes"}
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name) and called.id in names:
                found.append(f"{node.lineno}: {ast.unparse(node)}")
            if isinstance(called, ast.Attribute) and called.attr in methods:
                found.append(f"{node.lineno}: {ast.unparse(node)}")
    return found


def test_clock_reader_finds_clocks() -> None:
    source = "datetime.now(UTC)\nt.time()\nopen('x')\nPath('x').read_text()\n"
    source += "datetime.fromisoformat('x')\nre.compile('x')\n"
    assert len(clock_and_file_calls(source)) == 4


@pytest.mark.parametrize(
    "place", ["stages", "core", "messages.py", "errors.py", "report.py", "changes.py", "lane.py", "pipeline.py"]
)
def test_no_clock_and_no_file(place: str) -> None:
    # The digest of the sources names the compiler's cache; and what is in it is checked.
    allowed = {"core/cache.py": ["read_bytes"], "core/kept.py": ["read_bytes", "read_text", "write_text"]}
    for file in _files(ROOT / "edge_lstm" / place):
        calls = clock_and_file_calls(file.read_text())
        expected = allowed.get(file.relative_to(ROOT / "edge_lstm").as_posix(), [])
        methods = sorted(method for call in calls for method in expected if f".{method}(" in call)
        assert len(calls) == len(expected), calls
        assert methods == expected, calls


def test_no_stage_imports_another() -> None:
    may = {"topics": (), "align": (), "encode": (), "decode": ("formats", "topics"), "formats": ("formats", "topics")}
    stages = {path.stem for path in (ROOT / "edge_lstm/stages").iterdir() if path.name[0] != "_"}
    assert stages == set(may)
    for stage, friends in may.items():
        place = "edge_lstm/stages/" + (stage if stage == "formats" else f"{stage}.py")
        others = [f"edge_lstm.stages.{friend}" for friend in friends]
        inner = [one for one in imports_in(place) if one.within("edge_lstm.stages")]
        assert not show([one for one in inner if not one.within(*others)])


def test_formats_know_only_the_checks_of_topics() -> None:
    """The one way from a format back up: is a name safe to print."""
    found = [one for one in imports_in("edge_lstm/stages/formats") if one.within("edge_lstm.stages.topics")]
    assert {one.module for one in found} <= {"edge_lstm.stages.topics.is_safe", "edge_lstm.stages.topics.is_sound"}


def test_core_knows_rows_only() -> None:
    found = imports_in("edge_lstm/core")
    foreign = ("logging", "time", "datetime", "socket", "msgspec", "json", "safetensors")
    assert not show([one for one in found if one.within(*foreign)])
    allowed = ("edge_lstm.core", "edge_lstm.errors")
    assert not show([one for one in found if one.within("edge_lstm") and not one.within(*allowed)])


def test_core_raises_only_at_its_door() -> None:
    """Jitted files neither raise nor assert nor use try; the engine, its handles and the compiler's glue may."""
    door = {"engine.py", "cpu.py", "handle.py", "cache.py", "cuda.py", "maths.py"}
    for file in _files(ROOT / "edge_lstm/core"):
        if file.name not in door:
            bad = [n for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Raise | ast.Assert | ast.Try)]
            assert not bad, file


def test_nobody_imports_the_daemon() -> None:
    found = [one for one in imports_in("edge_lstm") if one.within("edge_lstm.daemon")]
    users = {one.file for one in found if not one.file.startswith("edge_lstm/daemon/")}
    assert users <= DAEMON_USERS


def test_fitting_stays_on_the_workstation() -> None:
    own = ("edge_lstm/fit/", "edge_lstm/convert/", "edge_lstm/compare/")
    found = [one for one in imports_in("edge_lstm") if not one.file.startswith(own)]
    ours = ("edge_lstm.fit", "edge_lstm.convert", "edge_lstm.compare")
    heavy = [one for one in found if one.within(*ours, "torch", "scipy", "pandas") and not one.deep]
    assert not show(heavy)
    drawing = [one for one in found if one.within("matplotlib") and not one.deep]
    assert {one.file for one in drawing} <= {"edge_lstm/replay/plot.py"}
    plotting = [one for one in found if one.within("edge_lstm.replay.plot") and not one.deep]
    assert not show(plotting)


def test_importers_need_no_framework() -> None:
    """Only the originals, which are run beside an import where they are installed, know the tools that trained it."""
    frameworks = ("torch", "tensorflow", "keras", "tf_keras", "onnxruntime", "ai_edge_litert")
    found = [one for one in imports_in("edge_lstm/convert") if one.within(*frameworks)]
    assert found
    assert not show([one for one in found if not one.file.startswith("edge_lstm/convert/originals/")])
    of_formats = [one for one in imports_in("edge_lstm/convert/formats") if one.within("edge_lstm")]
    parts = ("formats", "model", "checks", "files")
    shared = (*(f"edge_lstm.convert.{part}" for part in parts), "edge_lstm.errors")
    assert not show([one for one in of_formats if not one.within(*shared)])


def test_sensors_and_product_do_not_meet() -> None:
    assert not show([one for one in imports_in("firmware_sim") if one.within("edge_lstm")])
    assert not show([one for one in imports_in("edge_lstm") if one.within("firmware_sim")])


def test_product_does_not_import_tests() -> None:
    found = imports_in("edge_lstm", "firmware_sim")
    assert not show([one for one in found if one.within("tests", "pytest", "hypothesis", "weights")])


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("edge_lstm.messages", ("numba", "numpy", "paho", "safetensors", "torch")),
        ("edge_lstm.errors", ("numba", "numpy", "msgspec")),
        ("edge_lstm.tables", ("numba", "paho", "torch", "matplotlib", "msgspec")),
        ("edge_lstm.stages.decode", ("numba", "numpy", "paho")),
        ("edge_lstm.pipeline", ("paho", "torch", "matplotlib", "edge_lstm.daemon", "edge_lstm.fit")),
        ("edge_lstm.detector", ("paho", "torch", "matplotlib", "edge_lstm.daemon", "edge_lstm.fit")),
        ("edge_lstm.replay.command", ("numba", "torch", "matplotlib")),
    ],
)
def test_light_imports_stay_light(module: str, absent: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print([name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
