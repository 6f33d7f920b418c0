"""Arrows go one way. Each folder may import only folders to its left on this line."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "segment_concept"
ORDER = ["types", "html", "synthetic", "runtime", "ops", "video", "shots", "tracking", "models"]
ORDER += ["baselines", "recipes", "checkpoints", "metrics", "datasets", "pipeline", "batch"]
ORDER += ["train", "compat", "evaluate", "web", "cli"]
SIBLINGS = {"evaluate", "train", "compat", "web"}
NO_IO = {"cv2", "PIL", "os", "pathlib", "tqdm", "argparse"}
FORBIDDEN = {"models": NO_IO | {"hydra", "omegaconf"}, "tracking": NO_IO | {"transformers"}}
MAY_USE_TRANSFORMERS = {"models", "checkpoints"}

ENTRANCES = {ROOT / "__init__.py", ROOT / "__main__.py"}  # they name what lies anywhere
MODULES = sorted(p for p in ROOT.rglob("*.py") if p not in ENTRANCES)


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("segment_concept", *(p for p in parts if p != "__init__")))


def folder_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "segment_concept" and len(parts) > 1 else None


def imports(source: str) -> list[str]:
    """Modules that a source imports, wherever in it; `from package import name` counts as both."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute, so that they can be read and checked"
            module = node.module or ""
            found += [module, *(f"{module}.{alias.name}" for alias in node.names)]
    return found


def breaks_the_order(module: str, target: str) -> bool:
    here, there = folder_of(module), folder_of(target)
    if here is None or there not in ORDER or here == there:
        return False
    if here in SIBLINGS and there in SIBLINGS:
        return True
    return ORDER.index(there) > ORDER.index(here)


def top_level(source: str) -> set[str]:
    return {target.split(".")[0] for target in imports(source)}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_arrow_points_back(path: Path) -> None:
    module = name_of(path)
    for target in imports(path.read_text(encoding="utf-8")):
        assert not breaks_the_order(module, target), f"{module} must not import {target}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_is_in_a_folder_of_the_design(path: Path) -> None:
    assert folder_of(name_of(path)) in ORDER


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_networks_and_tracking_do_no_io(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        found = top_level(path.read_text(encoding="utf-8")) & FORBIDDEN[folder]
        assert not found, f"{name_of(path)} imports {found}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_transformers_stays_where_its_networks_are(path: Path) -> None:
    if folder_of(name_of(path)) not in MAY_USE_TRANSFORMERS:
        assert "transformers" not in top_level(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("module", "target", "breaks"),
    [
        ("segment_concept.tracking.session", "segment_concept.types", False),
        ("segment_concept.tracking.session", "segment_concept.tracking.memory", False),
        ("segment_concept.tracking.session", "segment_concept.models.sam2", True),
        ("segment_concept.types", "segment_concept.ops", True),
        ("segment_concept.video.open", "segment_concept.pipeline.track", True),
        ("segment_concept.evaluate.runner", "segment_concept.batch.pool", False),
        ("segment_concept.train.loop", "segment_concept.evaluate.scores", True),
        ("segment_concept.batch.shard", "segment_concept.datasets.types", False),
        ("segment_concept.cli.app", "segment_concept.web.app", False),
        ("segment_concept.models.sam2", "torch.nn", False),
    ],
)
def test_the_rule_tells_right_from_wrong(module: str, target: str, breaks: bool) -> None:
    assert breaks_the_order(module, target) is breaks


def test_imports_are_found_wherever_they_stand() -> None:
    source = "import a.b\ndef f():\n    from segment_concept import web\n    import c as d\n"
    assert imports(source) == ["a.b", "segment_concept", "segment_concept.web", "c"]


@pytest.mark.parametrize(
    "code",
    [
        "import segment_concept",
        "import segment_concept; segment_concept.Box(0, 0, 1, 1)",
        "import segment_concept; segment_concept.open_video",
        "import segment_concept.cli",
        "from segment_concept.cli.app import make_app; make_app()",
        "import segment_concept.cli.track",
    ],
)
def test_importing_is_quick_because_neither_torch_nor_transformers_is_loaded(code: str) -> None:
    probe = f"{code}; import sys; print(sorted({{'torch', 'transformers'}} & set(sys.modules)))"
    found = subprocess.run(
        [sys.executable, "-c", probe],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT.parent), "PATH": ""},
    )
    assert found.stdout.strip() == "[]", found.stderr
