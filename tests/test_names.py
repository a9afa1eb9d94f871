"""One name, one thing: no two classes of the package have the same name."""

import ast
from collections import defaultdict
from pathlib import Path


PACKAGE = Path(__file__).parents[1] / "hfdistill"


def test_no_class_name_stands_for_two_things():
    places = defaultdict(list)
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(file.relative_to(PACKAGE)))
    assert {name: files for name, files in places.items() if len(files) > 1} == {}
