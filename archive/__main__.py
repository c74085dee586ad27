"""Package artifacts into archives that TorchServe hosts.

python -m archive digits                     # artifacts/digits + archive/recipes/digits.yaml -> model_store/digits-1.0.mar
python -m archive digits --version 2.0
"""

import argparse
import logging
from pathlib import Path

from model_defs.command import reported

RECIPES = Path("archive/recipes")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m archive", description="Package artifacts into archives that TorchServe hosts."
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help="a folder in artifacts/ and a recipe in archive/recipes/")
    parser.add_argument("--version", default="1.0", help="of the archive (default: %(default)s)")
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"), help="where artifacts are (default: %(default)s)")
    parser.add_argument("--store", type=Path, default=Path("model_store"), help="where archives go (default: %(default)s)")
    arguments = parser.parse_args()

    logging.basicConfig(format="%(levelname)s: %(message)s")
    with reported("archive"):
        package(arguments)


def package(arguments: argparse.Namespace) -> None:
    from archive import make_rule
    from archive.build import build, sha256
    from handlers import comparison_report

    for model in arguments.models:
        made = build(arguments.artifacts / model, RECIPES / f"{model}.yaml", arguments.store, arguments.version)
        make_rule.write(made)
        if compared := comparison_report.read_packed(made):
            print(f"{model}: {compared}")
        size = made.stat().st_size / 1e6  # MB
        print(f"{made}: {size:.1f} MB, sha256 {sha256(made)[:12]}...; it answers its samples as in training")


if __name__ == "__main__":
    main()
