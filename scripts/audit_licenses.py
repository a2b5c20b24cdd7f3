"""Names the licenses of what is installed, and fails on one that nobody has looked at.

    python scripts/audit_licenses.py FOLDER     FOLDER is a site-packages, or what pip's --target made

Exit code: 0 all are known, 1 some are not.
"""

import re
import sys
from collections import Counter
from email.message import Message
from importlib.metadata import distributions
from typing import cast

# Licenses that ask nothing of those who use this project. What is new belongs here only after a look at its text.
KNOWN = frozenset(
    {
        "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "EDL-1.0", "EPL-2.0", "ISC", "LLVM-exception",
        "MIT", "MIT-0", "MIT-CMU", "MPL-2.0", "PSF-2.0", "Zlib",
    }
)  # fmt: skip
# Older metadata has no SPDX expression, but a classifier, or words.
SPDX = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
_BETWEEN = re.compile(r"\s+(?:AND|OR|WITH)\s+|[()]")


def licenses(metadata: Message) -> set[str]:
    """Return all licenses that metadata name, alternatives and exceptions too; empty if they name none."""
    if expression := metadata.get("License-Expression"):
        return {part.strip() for part in _BETWEEN.split(expression)} - {""}
    classifiers = [text for text in metadata.get_all("Classifier", []) if text.startswith("License ::")]
    words = [text.rpartition(" :: ")[2] for text in classifiers] or metadata.get("License", "").splitlines()[:1]
    return {SPDX.get(word, word) for word in words}


def main(folder: str) -> int:
    """Write a line for each unknown license and one about all; return the exit code."""
    seen: Counter[str] = Counter()
    unknown = []
    for distribution in distributions(path=[folder]):
        found = licenses(cast(Message, distribution.metadata)) or {"no license"}
        seen.update(found)
        unknown += [f"{distribution.name} {distribution.version}: {name}" for name in sorted(found - KNOWN)]
    sys.stdout.writelines(f"license not known: {line}\n" for line in unknown)
    sys.stdout.write(f"licenses: {', '.join(f'{count} {name}' for name, count in seen.most_common()) or 'none'}\n")
    return int(bool(unknown) or not seen)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
