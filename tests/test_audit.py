"""The two judgements of ``scripts/audit``: it must not pass what nobody has looked at."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).parent.parent / "scripts"

CLEAN = {"name": "fine", "version": "1.0", "vulns": []}
BAD = {"name": "bad", "version": "0.22.0", "vulns": [{"id": "PYSEC-2026-1", "fix_versions": ["0.23.0"], "aliases": []}]}
UNFIXED = {"name": "worse", "version": "2.0", "vulns": [{"id": "PYSEC-2026-2", "fix_versions": []}]}
SKIPPED = {"name": "unheard", "skip_reason": "Dependency not found on PyPI and could not be audited: unheard (3.0)"}


def run(script: str, *arguments: Path) -> tuple[int, str]:
    command = [sys.executable, str(SCRIPTS / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("dependencies", "code", "line"),
    [
        ([CLEAN], 0, "advisories: 1 distributions looked at, 0 advisories"),
        ([CLEAN, BAD], 1, "advisory: bad 0.22.0: PYSEC-2026-1, fixed in 0.23.0"),
        ([UNFIXED], 1, "advisory: worse 2.0: PYSEC-2026-2, fixed in no version"),
        ([CLEAN, SKIPPED], 69, "NOT LOOKED AT: 1, such as: Dependency not found"),
        ([BAD, SKIPPED], 1, "NOT LOOKED AT: 1"),
        ([], 69, "NOT LOOKED AT: 0, such as: the reports are empty"),
    ],
)
def test_advisories(dependencies: list[dict[str, Any]], code: int, line: str, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"dependencies": dependencies, "fixes": []}))
    found, output = run("audit_advisories.py", report)
    assert found == code
    assert line in output


@pytest.mark.parametrize("content", [None, "", "Traceback", "{}"])
def test_no_report_is_not_a_clean_one(content: str | None, tmp_path: Path) -> None:
    clean, report = tmp_path / "clean.json", tmp_path / "report.json"
    clean.write_text(json.dumps({"dependencies": [CLEAN]}))
    if content is not None:
        report.write_text(content)
    code, output = run("audit_advisories.py", clean, report)
    assert code == 69
    assert "no report" in output


def install(folder: Path, *fields: str) -> None:
    """Put a distribution there that has metadata alone."""
    info = folder / "thing-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("\n".join(["Metadata-Version: 2.4", "Name: thing", "Version: 1.0", *fields, ""]))


@pytest.mark.parametrize(
    ("fields", "unknown"),
    [
        (["License-Expression: MIT"], []),
        (["License-Expression: Apache-2.0 WITH LLVM-exception AND (BSD-2-Clause OR MIT)"], []),
        (["Classifier: License :: OSI Approved :: BSD License"], []),
        (["License: MIT"], []),
        (["License-Expression: MIT AND GPL-3.0-or-later"], ["GPL-3.0-or-later"]),
        (["License-Expression: MIT OR AGPL-3.0-only"], ["AGPL-3.0-only"]),
        (["Classifier: License :: Other/Proprietary License"], ["Other/Proprietary License"]),
        (["License: Ask us", "Classifier: Topic :: System"], ["Ask us"]),
        ([], ["no license"]),
    ],
)
def test_licenses(fields: list[str], unknown: list[str], tmp_path: Path) -> None:
    install(tmp_path, *fields)
    code, output = run("audit_licenses.py", tmp_path)
    assert [line for line in output.splitlines() if "not known" in line] == [
        f"license not known: thing 1.0: {name}" for name in unknown
    ]
    assert code == bool(unknown)


def test_nothing_installed_is_nothing_looked_at(tmp_path: Path) -> None:
    assert run("audit_licenses.py", tmp_path) == (1, "licenses: none\n")
