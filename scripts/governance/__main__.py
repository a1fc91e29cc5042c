"""The command line of `scripts/validate_governance`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from governance.rules import RULES, check
from governance.tree import Tree

HERE = Path(__file__).resolve().parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(prog="validate_governance", description=__doc__)
    parser.add_argument(
        "root", nargs="?", type=Path, default=HERE, help="the source tree (default: this one)"
    )
    parser.add_argument("--list", action="store_true", help="print the rules and end")
    arguments = parser.parse_args()
    if arguments.list:
        for rule in RULES.values():
            print(f"{rule.name:18} {rule.promise}")
        return
    root = arguments.root.resolve()
    if not (root / "videoqueue").is_dir():
        parser.error(f"{arguments.root} has no folder videoqueue: give the root of a source tree")
    tree = Tree(root)
    faults = check(tree)
    for fault in faults:
        print(fault, file=sys.stderr)
    if faults:
        sys.exit(1)
    print(f"ok {len(RULES)} rules, {len(tree.modules)} modules")


if __name__ == "__main__":
    main()
