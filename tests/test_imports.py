"""The import rule: who may know whom. It keeps the way of the data visible in the folders."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "driftline"

# Room -> the rooms it may import from, besides itself.
ALLOWED = {
    "core": set(),
    "log": {"core"},
    "store": {"core"},
    "files": {"core"},
    "settings": {"core"},
    "logs": set(),
    "notify": {"core"},
    "actions": {"core", "notify"},
    "report": {"core", "files"},
    "workers": {"core", "log", "store", "settings", "notify", "actions"},
    "api": {"core", "log", "store", "settings", "files", "workers"},
    "demo": {"core"},
    "cli": {"core", "log", "store", "settings", "logs", "files", "workers", "api", "report", "demo", "notify"},
    "sdk": {"core"},
    "__init__": {"report", "sdk"},
    "__main__": {"cli"},
}
PURE = {
    "os",
    "io",
    "logging",
    "time",
    "random",
    "socket",
    "threading",
    "subprocess",
    "structlog",
    "pathlib",
    "psycopg",
}


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write absolute imports"
            names.add(node.module or "")
            if node.module == "driftline":
                names |= {f"driftline.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_room_imports_only_the_rooms_it_may(path):
    room = room_of(path)
    assert room in ALLOWED, f"{room} is a new room: say here what it may import"
    rooms = {name.split(".")[1] for name in imported(path) if name.startswith("driftline.")}
    assert rooms - {room} - {"__version__"} <= ALLOWED[room]


@pytest.mark.parametrize("path", sorted((SOURCE / "core").glob("*.py")), ids=lambda path: path.name)
def test_core_is_pure(path):
    assert not {name.split(".")[0] for name in imported(path)} & PURE


HEAVY = ("numpy", "pyarrow", "pandas", "fastapi", "psycopg", "pydantic")
LOG = """
monitor = driftline.Monitor(
    "fraud", "3", transport="file", dir=sys.argv[1], schema={"features": []}, url="http://127.0.0.1:9"
)
monitor.label(monitor.log({}, 1, 0.5), 1)
monitor.log_batch([{}, {}])
assert monitor.close(), monitor.counts
"""


@pytest.mark.parametrize("then", ["", LOG], ids=["imported", "logged with"])
def test_driftline_loads_nothing_heavy(then, tmp_path):
    code = f"import sys, driftline\n{then}\nprint([m for m in {HEAVY!r} if m in sys.modules])"
    arguments = [sys.executable, "-c", code, str(tmp_path)]
    found = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_importing_driftline_loads_no_room():
    code = "import sys, driftline; print([m for m in sys.modules if m.startswith('driftline.')])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
