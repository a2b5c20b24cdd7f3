"""What SECURITY.md says of the source, read from the source; and what it points at is there."""

import ast
import re
from pathlib import Path

import pytest

from tests.test_import_rules import imports_in, imports_of, show

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")

LISTENS = {"bind", "listen", "accept", "serve_forever", "create_server", "start_server"}
EXECUTES = {"eval", "exec", "os.system", "os.popen", "pickle.load", "pickle.loads", "np.load", "numpy.load"}
UNPICKLERS = ("pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib")
NETWORK = ("http", "urllib.request", "socketserver", "asyncio", "ftplib", "smtplib", "xmlrpc", "requests")


def dangerous_calls(source: str) -> list[str]:
    """Return calls that wait for strangers or execute what they bring."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            options = {word.arg: ast.unparse(word.value) for word in node.keywords}
            loads_code = name == "torch.load" and options.get("weights_only") != "True"
            if name.split(".")[-1] in LISTENS or name in EXECUTES or loads_code or options.get("shell") == "True":
                found.append(f"{node.lineno}: {ast.unparse(node)}")
    return found


@pytest.mark.parametrize(
    "line",
    [
        "server.bind(('', 80))", "listener.listen()", "eval(text)", "pickle.loads(data)", "torch.load(path)",
        "torch.load(path, weights_only=False)", "subprocess.run(command, shell=True)", "np.load(path)",
    ],
)  # fmt: skip
def test_the_reader_finds_what_it_looks_for(line: str) -> None:
    assert dangerous_calls(line)


def test_nothing_listens_and_nothing_foreign_is_executed() -> None:
    files = sorted((ROOT / "edge_lstm").rglob("*.py"))
    assert files
    assert not [f"{file.relative_to(ROOT)}:{call}" for file in files for call in dangerous_calls(file.read_text())]


def test_nothing_is_unpickled() -> None:
    assert [one for one in imports_of("from pickle import loads", "x") if one.within(*UNPICKLERS)]
    found = [one for one in imports_in("edge_lstm") if one.within(*UNPICKLERS)]
    assert {one.module for one in found} <= {"pickle.UnpicklingError"}, show(found)


def test_the_broker_is_all_that_is_talked_to() -> None:
    found = imports_in("edge_lstm")
    assert not show([one for one in found if one.within(*NETWORK)])
    assert not show([one for one in found if one.within("socket") and not one.file.startswith("edge_lstm/daemon/")])


def test_what_the_page_names_is_there() -> None:
    named = re.findall(r"`((?:edge_lstm|tests|scripts|docs)/[\w./]+)(?:::(\w+))?`(?:, `(test_\w+)` there)?", PAGE)
    assert len(named) > 20
    for path, *tests in named:
        assert (ROOT / path).exists(), path
        for test in filter(None, tests):
            assert f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), f"{path}::{test}"
    assert PAGE.count("` there") == sum(bool(other) for _, _, other in named)
