"""Each folder imports only folders before it (`tools/import_graph.py` has the order)."""

import subprocess
import sys
from pathlib import Path

import import_graph as graph
import pytest

NO_IO = {"cv2", "PIL", "os", "pathlib", "tqdm", "argparse"}
FORBIDDEN = {"models": NO_IO | {"hydra", "omegaconf"}, "tracking": NO_IO | {"transformers"}}
MAY_USE_TRANSFORMERS = {"models", "checkpoints"}
MODULES = graph.modules()


def top_level(source: str) -> set[str]:
    return {target.split(".")[0] for target in graph.imported_modules(source)}


def test_no_folder_imports_a_later_one() -> None:
    broken = [each for each in graph.all_imports() if each.breaks_the_order]
    assert not broken, "\n".join(f"{each.module} must not import {each.target}" for each in broken)


def test_the_folders_have_no_cycle() -> None:
    assert not graph.find_cycle(graph.folder_graph(list(graph.all_imports())))


def test_a_cycle_is_found() -> None:
    found = graph.find_cycle({"a": frozenset("b"), "b": frozenset("a"), "c": frozenset("a")})
    assert set(found) == {"a", "b"}


@pytest.mark.parametrize("path", MODULES, ids=graph.module_name)
def test_every_module_is_in_a_folder_of_the_design(path: Path) -> None:
    assert graph.folder_of(graph.module_name(path)) in graph.ORDER


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_networks_and_tracking_do_no_io(folder: str) -> None:
    for path in (graph.ROOT / folder).rglob("*.py"):
        found = top_level(path.read_text(encoding="utf-8")) & FORBIDDEN[folder]
        assert not found, f"{graph.module_name(path)} imports {found}"


@pytest.mark.parametrize("path", MODULES, ids=graph.module_name)
def test_transformers_stays_where_its_networks_are(path: Path) -> None:
    if graph.folder_of(graph.module_name(path)) not in MAY_USE_TRANSFORMERS:
        assert "transformers" not in top_level(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", MODULES, ids=graph.module_name)
def test_libraries_for_training_are_imported_by_training_alone(path: Path) -> None:
    if graph.folder_of(graph.module_name(path)) != "train":
        assert not {"accelerate", "peft"} & top_level(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", MODULES, ids=graph.module_name)
def test_libraries_for_the_page_are_imported_by_the_page_alone(path: Path) -> None:
    if graph.folder_of(graph.module_name(path)) != "web":
        found = top_level(path.read_text(encoding="utf-8"))
        assert not {"fastapi", "starlette", "uvicorn", "pydantic"} & found


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
    assert graph.Import(module, target).breaks_the_order is breaks


def test_imports_are_found_anywhere_in_a_source() -> None:
    source = "import a.b\ndef f():\n    from segment_concept import web\n    import c as d\n"
    expected = ["a.b", "segment_concept", "segment_concept.web", "c"]
    assert graph.imported_modules(source) == expected


def test_relative_imports_are_refused() -> None:
    with pytest.raises(ValueError, match="line 2: use an absolute import"):
        graph.imported_modules("import a\nfrom . import b\n")


def test_the_command_prints_the_graph_and_draws_it(tmp_path: Path) -> None:
    command = [sys.executable, graph.__file__, "--svg", str(tmp_path / "graph.svg")]
    command += ["--dot", str(tmp_path / "graph.dot")]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert "tracking     -> types" in found.stdout
    assert '"tracking" -> "types";' in (tmp_path / "graph.dot").read_text()
    assert ">tracking</text>" in (tmp_path / "graph.svg").read_text()


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
        env={"PYTHONPATH": str(graph.ROOT.parent), "PATH": ""},
    )
    assert found.stdout.strip() == "[]", found.stderr
