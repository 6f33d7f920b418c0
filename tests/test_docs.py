"""Links, imports and commands in the documentation, checked without a network."""

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest

from segment_concept.cli.app import COMMANDS, command

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("**/*.md")])
LINK = re.compile(r"!?\[[^\]\n]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")
by_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))


def prose(page: Path) -> str:
    return BLOCK.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The ids of a page's headings, as GitHub and MkDocs make them."""
    titles = re.findall(r"^#+\s+(.+?)\s*#*$", prose(page), re.MULTILINE)
    words = (re.sub(r"[^\w\s-]", "", title.lower()).strip() for title in titles)
    return {re.sub(r"\s", "-", each) for each in words}


def logged(page: Path) -> bool:
    """The log keeps commands and names of earlier versions."""
    return page.name in ("LOG.md", "CHANGELOG.md")


@by_page
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{page.name} links to {link}"


@by_page
def test_pages_of_the_website_link_only_to_pages_of_the_website(page: Path) -> None:
    if page.parent == ROOT:
        return
    for link in LINK.findall(prose(page)):
        assert not link.startswith("../"), f"{page.name} links to {link}, outside docs/"


@by_page
def test_imports_in_python_examples_exist(page: Path) -> None:
    if logged(page):
        return
    for language, code in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language != "python":
            continue
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and node.module:
                module = import_module(node.module)
                for name in node.names:
                    assert hasattr(module, name.name), f"{page.name}: {node.module}.{name.name}"


def commands_in(page: Path) -> list[list[str]]:
    """The words of every `segment-concept ...` in code, continued lines joined."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    code = re.findall(r"`segment-concept ([^`]+)`|^(?: {4})?segment-concept (.+)$", text, re.M)
    return [(inline or line).split("#")[0].split() for inline, line in code]


def options_of(name: str, words: list[str]) -> set[str]:
    """The options of a command, or of the command of a group that the words name."""
    found = command(name)
    inner = getattr(found, "commands", {})
    if words and words[0] in inner:
        found = inner[words[0]]
    return {option for each in found.params for option in each.opts} | {"--help"}


@by_page
def test_commands_in_examples_exist_with_their_options(page: Path) -> None:
    if logged(page):
        return
    for name, *words in commands_in(page):
        if name in ("COMMAND", "--help"):
            continue
        assert name in COMMANDS, f"{page.name}: segment-concept {name}"
        known = options_of(name, words)
        unknown = set(OPTION.findall(" ".join(words))) - known
        assert not unknown, f"{page.name}: segment-concept {name} has no {sorted(unknown)}"


def test_every_page_in_the_navigation_of_the_website_exists() -> None:
    listed = set(re.findall(r"([\w/]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    assert listed
    assert listed <= {str(page.relative_to(ROOT / "docs")) for page in PAGES if page.parent != ROOT}
