"""The words of docstrings and comments: docs/style.md has the list. tests/test_house.py holds the docs to the same one."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

PACKAGES = ("archive", "bench", "handlers", "importers", "model_defs", "serving", "tests", "train")
MODULES = sorted(module for package in PACKAGES for module in Path(package).rglob("*.py"))
UNUSUAL = re.compile(r"\b(?:anew|beside|likewise|but\s+for|knows\s+nothing\s+of)\b", re.I)


def prose(code: str) -> list[str]:
    """Docstrings and comments. Lines of comments that follow each other are one text."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.append(ast.get_docstring(node) or "")
    comments, last_line = [], -1
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type == tokenize.COMMENT:
            text, line = token.string.lstrip("# "), token.start[0]
            if line == last_line + 1:
                comments[-1] += f" {text}"
            else:
                comments.append(text)
            last_line = line
    return found + comments


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_docstrings_and_comments_have_the_usual_words(module):
    texts = prose(module.read_text(encoding="utf-8"))
    assert not [found.group() for text in texts for found in UNUSUAL.finditer(text)]


def test_an_unusual_word_is_found_in_docstrings_and_across_lines_of_comments():
    code = 'x = "but for"  # nothing but\n# for y\ndef f():\n    """Made anew."""\n'
    assert [UNUSUAL.findall(text) for text in prose(code)] == [[], ["anew"], ["but for"]]
