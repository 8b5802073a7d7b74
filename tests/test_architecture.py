"""The rules of the layers, read off the code: who imports whom, how large things are, what is never used."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LABELER = sorted(path for path in (ROOT / "labeler").rglob("*.py") if "migrations" not in path.parts)
LEARNER = sorted((ROOT / "learner").rglob("*.py"))
MODULES = [*LABELER, *LEARNER]
DOOR = ROOT / "labeler" / "learning"
SELECTORS = ROOT / "labeler" / "selectors"
READING_ROOMS = {
    SELECTORS / "scores.py",
    SELECTORS / "forecast.py",
    SELECTORS / "served.py",
}  # pages read score files and curves here
READ_WITHOUT_TORCH = (
    "learner.config", "learner.errors", "learner.forecast", "learner.metrics", "learner.scores",
    "learner.served", "learner.summary",
)  # fmt: skip
MAX_MODULE, MAX_FUNCTION = 400, 40
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "misc"}


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imports(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Every (dotted name, statement) below `node`; `from a import b` gives a and a.b."""
    for child in ast.walk(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield alias.name, child
        elif isinstance(child, ast.ImportFrom) and child.module:
            yield child.module, child
            for alias in child.names:
                yield f"{child.module}.{alias.name}", child


def is_in(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def statements_in_functions(path: Path) -> set[ast.AST]:
    functions = (node for node in ast.walk(tree_of(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {child for function in functions for child in ast.walk(function)}


TREES: dict[Path, ast.Module] = {}


def tree_of(path: Path) -> ast.Module:
    if path not in TREES:
        TREES[path] = tree(path)
    return TREES[path]


def is_type_checking(path: Path) -> set[ast.AST]:
    """Statements under `if TYPE_CHECKING:`, which never run."""
    blocks = (
        node
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    )
    return {child for block in blocks for child in ast.walk(block)}


@pytest.mark.parametrize("path", LEARNER, ids=shown)
def test_the_learner_knows_no_django_and_no_labeler(path: Path):
    assert not [
        name
        for name, _ in imports(tree_of(path))
        if any(is_in(name, other) for other in ("labeler", "django", "celery", "kombu", "redis"))
    ]


@pytest.mark.parametrize("path", [path for path in LABELER if DOOR not in path.parents], ids=shown)
def test_only_the_door_the_score_files_and_the_demo_data_reach_the_learner(path: Path):
    unrun = is_type_checking(path)
    reached = {name for name, at in imports(tree_of(path)) if is_in(name, "learner") and at not in unrun}
    if path in READING_ROOMS:
        reached = {name for name in reached if not any(is_in(name, one) for one in READ_WITHOUT_TORCH)}
    if shown(path) == "labeler/datasets.py":  # torchvision's datasets; used by a command, inside a function
        reached -= {"learner.vision", "learner.vision.torchvision"}
    assert not reached


@pytest.mark.parametrize("path", LABELER, ids=shown)
def test_torch_and_learner_are_imported_inside_functions(path: Path):
    inside = statements_in_functions(path) | is_type_checking(path)
    heavy = ("learner", "torch", "torchvision", "sklearn", "scipy")
    assert not [
        name for name, at in imports(tree_of(path)) if any(is_in(name, one) for one in heavy) and at not in inside
    ]


@pytest.mark.parametrize("path", [path for path in LABELER if DOOR not in path.parents], ids=shown)
def test_only_tasks_and_commands_pass_the_door_and_inside_functions(path: Path):
    passed = [at for name, at in imports(tree_of(path)) if is_in(name, "labeler.learning")]
    if passed:
        assert shown(path) == "labeler/tasks.py" or "commands" in path.parts
        assert all(at in statements_in_functions(path) for at in passed)


def test_the_web_process_never_loads_torch(tmp_path: Path):
    program = """
import sys
import labeler.wsgi
from django.urls import get_resolver
def walk(patterns):
    for pattern in patterns:
        if hasattr(pattern, "url_patterns"):
            yield from walk(pattern.url_patterns)
        else:
            yield pattern.callback
views = list(walk(get_resolver().url_patterns))
assert len(views) > 30, len(views)
heavy = sorted({"torch", "torchvision", "sklearn", "scipy", "learner"} & set(sys.modules))
sys.exit(f"loaded: {heavy}" if heavy else 0)
"""
    environment = {**os.environ, "DATA_DIR": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_what_pages_read_of_the_learner_never_loads_torch():
    names = ", ".join(READ_WITHOUT_TORCH)
    program = f"import sys, {names}; sys.exit(str({{'torch', 'sklearn', 'scipy'}} & set(sys.modules) or '') or 0)"
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("path", LABELER, ids=shown)
def test_views_and_selectors_keep_their_place(path: Path):
    """Selectors read; views and templates tags import no tasks; services import no views."""
    names = {name for name, _ in imports(tree_of(path))}
    group = path.relative_to(ROOT / "labeler").parts[0]
    forbidden = {
        "selectors": ("labeler.views", "labeler.forms", "labeler.tasks"),
        "views": ("labeler.tasks", "labeler.learning"),
        "services": ("labeler.views", "labeler.forms"),
        "models": ("labeler.services", "labeler.selectors", "labeler.views"),
        "imaging": ("labeler.models", "labeler.services", "labeler.selectors", "labeler.views", "django.db"),
    }.get(group, ())
    assert not [name for name in names if any(is_in(name, one) for one in forbidden)]


@pytest.mark.parametrize("path", MODULES, ids=shown)
def test_a_module_is_named_for_what_it_holds(path: Path):
    assert path.stem not in FORBIDDEN_NAMES and path.parent.name not in FORBIDDEN_NAMES


@pytest.mark.parametrize("path", MODULES, ids=shown)
def test_modules_and_functions_are_short_or_say_why_not(path: Path):
    module = tree_of(path)
    lines = len(path.read_text().splitlines())
    assert lines <= MAX_MODULE or _says_why(ast.get_docstring(module)), f"{lines} lines"
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node)
            length = (node.end_lineno or 0) - node.lineno + 1 - len((docstring or "").splitlines())
            assert length <= MAX_FUNCTION or _says_why(docstring), f"{node.name} has {length} lines"


def _says_why(docstring: str | None) -> bool:
    return bool(docstring and re.search(r"\b(long|length|one piece|together)\b", docstring, re.I))


@pytest.mark.parametrize("path", MODULES, ids=shown)
def test_it_fails_loudly_and_unpickles_nothing(path: Path):
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"line {node.lineno}: bare except"
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"eval", "exec", "torch.save", "__import__"}, f"line {node.lineno}: {called}"
            if called == "torch.load":
                safely = [keyword.value for keyword in node.keywords if keyword.arg == "weights_only"]
                assert [isinstance(value, ast.Constant) and value.value is True for value in safely] == [True]
            if called.endswith("np.load") or called == "numpy.load":
                allowed = [keyword.value for keyword in node.keywords if keyword.arg == "allow_pickle"]
                assert all(isinstance(value, ast.Constant) and value.value is False for value in allowed)
    used = {name for name, _ in imports(tree_of(path))}
    assert not [name for name in used if is_in(name, "pickle") or is_in(name, "cloudpickle") or is_in(name, "shelve")]


@pytest.mark.parametrize("path", LABELER, ids=shown)
def test_nothing_hangs_on_signals_of_models_nor_on_save(path: Path):
    names = {name for name, _ in imports(tree_of(path))}
    assert not [name for name in names if is_in(name, "django.db.models.signals") or is_in(name, "django.dispatch")]
    if "models" in path.parts:
        for node in ast.walk(tree_of(path)):
            assert not (isinstance(node, ast.FunctionDef) and node.name in {"save", "delete"})


@pytest.mark.parametrize("path", LABELER, ids=shown)
def test_the_time_is_the_databases(path: Path):
    """Machines disagree about it (labeler/clock.py). Sessions are Django's, which takes its own machine's."""
    if path.stem in {"clock", "authentication", "numbers"}:
        return
    called = {ast.unparse(node) for node in ast.walk(tree_of(path)) if isinstance(node, ast.Attribute)}
    assert not called & {"timezone.now", "datetime.now", "datetime.utcnow"}


TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))


@pytest.mark.parametrize("path", TEMPLATES, ids=shown)
def test_a_template_holds_no_script_and_no_style(path: Path):
    """The policy `script-src 'self'; style-src 'self'` would ignore them."""
    text = re.sub(r"\{#.*?#\}|\{% comment.*?endcomment %\}", "", path.read_text(), flags=re.S)
    for script in re.findall(r"<script\b[^>]*>", text):
        assert "src=" in script or 'type="application/json"' in script, script
    assert "<style" not in text
    assert not re.search(r"<[^>]*\sstyle\s*=", text)
    assert not re.search(r"<[^>]*\son[a-z]+\s*=\s*[\"']", text)
    assert "javascript:" not in text.lower()
    assert "|safe" not in text and "autoescape off" not in text


@pytest.mark.parametrize("path", [*TEMPLATES, *sorted((ROOT / "static").rglob("*.*"))], ids=shown)
def test_nothing_is_loaded_from_elsewhere(path: Path):
    text = path.read_text()
    addresses = re.findall(
        r"(?:src|href)=[\"'](?:https?:)?//[^\"']+|@import\s+[^;]+|url\(\s*[\"']?(?:https?:)?//[^)]+", text
    )
    addresses += re.findall(r"(?:import|from)\s+[\"']https?://[^\"']+", text)
    assert not [address for address in addresses if "//" in address]


@pytest.mark.parametrize("path", sorted((ROOT / "static").rglob("*.js")), ids=shown)
def test_scripts_use_no_eval_and_no_html_from_strings(path: Path):
    text = path.read_text()
    assert not re.search(r"\beval\(|new Function\(|\.innerHTML\s*=|document\.write|insertAdjacentHTML", text)
