"""Coverage-guided fuzzing of one reader, where atheris is installed.

    python -m tests.fuzz.guided decoder -max_total_time=60

What follows the reader's name goes to libFuzzer. It ends at the first exception that is no refusal, and keeps its
input. Only for readers that need no compiled kernel: decoder, topics.
"""

import sys

import atheris

with atheris.instrument_imports(include=["edge_lstm.stages"]):
    from tests.fuzz.decoder import Payloads
    from tests.fuzz.topics import Topics


def main() -> None:
    """Hand a reader over to libFuzzer, and never return."""
    reader = {"decoder": Payloads, "topics": Topics}[sys.argv.pop(1)]()

    def one(content: bytes) -> None:
        try:
            reader.run(content)
        except reader.refusal:
            return

    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
