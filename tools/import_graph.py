"""Print which folders of the package import which, and check the order of the folders.

    python tools/import_graph.py                   every folder with the folders that it imports
    python tools/import_graph.py --dot graph.dot   also write a Graphviz file
    python tools/import_graph.py --svg graph.svg   also write a drawing

Exit code 1: a folder imports one that comes later in `ORDER`, or the graph has a cycle.
"""

import argparse
import ast
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1] / "src" / "segment_concept"
PACKAGE = ROOT.name
# A folder may import only folders before it. Those of the last group do not import each other.
ORDER = (
    *("types", "html", "synthetic", "runtime", "ops", "video", "shots", "tracking", "models"),
    *("baselines", "recipes", "checkpoints", "metrics", "datasets", "pipeline", "batch"),
    *("train", "compat", "evaluate", "web", "cli"),
)
SIBLINGS = frozenset({"train", "compat", "evaluate", "web"})
ENTRANCES = {ROOT / "__init__.py", ROOT / "__main__.py"}  # may import any folder

Graph = Mapping[str, frozenset[str]]  # folder -> folders that it imports

_ROW, _BOX, _MARGIN = 34, (104, 22), 20  # of the drawing, in pixels


@dataclass(frozen=True)
class Import:
    """An import of one module by another."""

    module: str
    target: str

    @property
    def folders(self) -> tuple[str | None, str | None]:
        """The folders of both, None for a module outside the package."""
        return folder_of(self.module), folder_of(self.target)

    @property
    def breaks_the_order(self) -> bool:
        """Whether it imports a later folder, or one sibling the other."""
        importer, imported = self.folders
        if importer is None or imported not in ORDER or importer == imported:
            return False
        if importer in SIBLINGS and imported in SIBLINGS:
            return True
        return ORDER.index(imported) > ORDER.index(importer)


def folder_of(module: str) -> str | None:
    """Folder of a module of the package; None for other modules."""
    parts = module.split(".")
    return parts[1] if parts[0] == PACKAGE and len(parts) > 1 else None


def module_name(path: Path) -> str:
    """Dotted name of a file of the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join((PACKAGE, *(part for part in parts if part != "__init__")))


def modules() -> list[Path]:
    """The files of all folders."""
    return sorted(path for path in ROOT.rglob("*.py") if path not in ENTRANCES)


def imported_modules(source: str) -> list[str]:
    """Modules that a source imports anywhere; `from package import name` counts as both.

    Raises:
        ValueError: an import is relative.
    """
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level or node.module is None:
                raise ValueError(f"line {node.lineno}: use an absolute import")
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


def all_imports() -> Iterator[Import]:
    """Every import of every module."""
    for path in modules():
        for target in imported_modules(path.read_text(encoding="utf-8")):
            yield Import(module_name(path), target)


def folder_graph(imports: Sequence[Import]) -> Graph:
    """Which folder imports which others, in the order of the folders."""
    pairs = {each.folders for each in imports}
    return {
        folder: frozenset(b for a, b in pairs if a == folder and b in ORDER and b != folder)
        for folder in ORDER
        if any(a == folder for a, _ in pairs)
    }


def find_cycle(graph: Graph) -> list[str]:
    """Folders that import each other in a circle; empty if there are none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def as_text(graph: Graph) -> str:
    """A line per folder."""
    return "\n".join(f"{a:12} -> {', '.join(_ordered(b)) or '-'}" for a, b in graph.items())


def as_dot(graph: Graph) -> str:
    """The graph for Graphviz."""
    edges = [f'  "{a}" -> "{b}";' for a, targets in graph.items() for b in _ordered(targets)]
    return "\n".join(["digraph imports {", "  rankdir=BT;", *edges, "}", ""])


def as_svg(graph: Graph) -> str:
    """A drawing: one folder per line in their order, with an arc to each folder it imports."""
    width, height = _BOX
    names = list(graph)
    middle = {name: _MARGIN + i * _ROW + height / 2 for i, name in enumerate(names)}
    reach = max(middle.values(), default=0.0)
    parts = []
    for name in names:
        for target in _ordered(graph[name]):
            a, b, x = middle[name], middle[target], _MARGIN + width
            bulge = x + 24 + 0.45 * abs(a - b)
            parts.append(
                f'<path d="M{x} {a}C{bulge:.0f} {a} {bulge:.0f} {b} {x + 4} {b}" fill="none" '
                'stroke="#2968a8" stroke-opacity=".45" marker-end="url(#arrow)"/>'
            )
    for name in names:
        y = middle[name]
        parts.append(
            f'<rect x="{_MARGIN}" y="{y - height / 2}" width="{width}" height="{height}" rx="5" '
            f'fill="#f6f8fa" stroke="#5c6676"/><text x="{_MARGIN + width / 2}" y="{y + 4}" '
            f'text-anchor="middle" fill="#1b222d">{name}</text>'
        )
    arrow = (
        '<marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0L8 4L0 8z" fill="#2968a8"/></marker>'
    )
    size = f"0 0 {_MARGIN * 2 + width + 40 + 0.4 * reach:.0f} {reach + height + _MARGIN:.0f}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{size}" font-family="sans-serif" '
        f'font-size="12"><defs>{arrow}</defs><rect width="100%" height="100%" fill="#fff"/>'
        f"{''.join(parts)}</svg>\n"
    )


def _ordered(folders: frozenset[str]) -> list[str]:
    return sorted(folders, key=ORDER.index)


def main() -> int:
    """Print the graph; the exit code says whether it is in order."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dot", type=Path, metavar="FILE", help="write a Graphviz file")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write a drawing")
    options = parser.parse_args()
    imports = list(all_imports())
    graph = folder_graph(imports)
    print(as_text(graph))
    for target, draw in ((options.dot, as_dot), (options.svg, as_svg)):
        if target is not None:
            target.write_text(draw(graph), encoding="utf-8")
    faults = sorted(
        {f"{i.module} must not import {i.target}" for i in imports if i.breaks_the_order}
    )
    cycle = find_cycle(graph)
    if cycle:
        faults.append(f"cycle: {' -> '.join(cycle)}")
    for fault in faults:
        print(fault, file=sys.stderr)
    if not faults:
        print(f"{len(graph)} folders; no cycle, and no import against the order")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
