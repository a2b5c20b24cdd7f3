"""Reads what pip-audit found, and does not take "not looked at" for "nothing found", as pip-audit does.

    python scripts/audit_advisories.py REPORT.json...     reports of pip-audit --format json

Exit code: 0 everything was looked at and nothing found, 1 something was found, 69 nothing found, but not everything
was looked at: the service could not be reached, or the index has no advisories.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOUND, UNAVAILABLE = 1, 69


def dependencies(paths: list[str]) -> Iterator[dict[str, Any]]:
    """Yield what reports say of each distribution; of a report that is not there, that it was skipped."""
    for path in paths:
        try:
            yield from json.loads(Path(path).read_text(encoding="utf-8"))["dependencies"]
        except (OSError, ValueError, KeyError) as error:
            yield {"name": path, "skip_reason": f"no report: {type(error).__name__}"}


def main(*paths: str) -> int:
    """Write a line for each advisory and one about what is open; return the exit code."""
    found: set[str] = set()
    skipped: dict[str, str] = {}
    audited: set[tuple[str, str]] = set()
    for one in dependencies(list(paths)):
        if "skip_reason" in one:
            skipped[one["name"]] = one["skip_reason"]
            continue
        audited.add((one["name"], one["version"]))
        for advisory in one["vulns"]:
            fixed = ", ".join(advisory["fix_versions"]) or "no version"
            found.add(f"{one['name']} {one['version']}: {advisory['id']}, fixed in {fixed}")
    sys.stdout.writelines(f"advisory: {line}\n" for line in sorted(found))
    sys.stdout.write(f"advisories: {len(audited)} distributions looked at, {len(found)} advisories\n")
    if skipped or not audited:
        example = next(iter(skipped.values()), "the reports are empty")
        sys.stdout.write(f"NOT LOOKED AT: {len(skipped)}, such as: {example}\n")
    return FOUND if found else UNAVAILABLE if skipped or not audited else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
