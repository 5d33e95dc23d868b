"""`make bench`: every figure as one JSON line. Names on the command line choose among them."""

import importlib
import sys

FIGURES = (
    "start",
    "codecs",
    "pipeline",
    "parts",
    "memory",
    "model",
    "models",
    "pools",
    "kafka",
    "cameras",
    "many",
    "days",
    "serve",
)


def main() -> None:
    for name in sys.argv[1:] or FIGURES:
        importlib.import_module(f"tests.bench.bench_{name}").main()


if __name__ == "__main__":
    main()
