"""What is shipped and what an import costs: public names, versions, extras, headers, and modules pulled in."""

from __future__ import annotations

import importlib.metadata
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import flow_core

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(flow_core.__file__).resolve().parent
#: An installed wheel has no src/ beside the package.
CHECKOUT = (PACKAGE.parent / "src").is_dir()

EXTRAS = {"grpc", "http", "nats", "redis", "rabbitmq", "postgres", "crypto", "otel", "prometheus", "cli"}
# Optional, or slow and wanted only by those who use it: none of these may come with a bare `import flow_core`.
LAZY = {
    "aio_pika", "aiohttp", "asyncpg", "cryptography", "cyclopts", "email", "google.protobuf", "grpc", "http.client",
    "hypothesis", "importlib.metadata", "multiprocessing", "nats", "numpy", "opentelemetry", "orjson",
    "prometheus_client", "pytest", "ray", "redis", "rich", "setuptools", "sqlite3", "unittest", "urllib.request",
    "uvloop",
}  # fmt: skip


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def style_of(name: str) -> tuple[int, str]:
    """CONSTANTS, then Classes, then functions: the order that ruff gives __all__."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def test_public_names_are_exactly_all():
    names = [name for name in flow_core.__all__ if not name.startswith("__")]
    assert names == sorted(set(names), key=style_of)
    public = {name for name in dir(flow_core) if not name.startswith("_")}
    assert {name for name in public if not inspect.ismodule(getattr(flow_core, name))} == {
        name for name in names if not inspect.ismodule(getattr(flow_core, name))
    }


def test_every_public_object_has_a_docstring():
    objects = {name: getattr(flow_core, name) for name in flow_core.__all__}
    silent = [
        name
        for name, value in objects.items()
        if (inspect.isclass(value) or inspect.isroutine(value) or inspect.ismodule(value)) and not inspect.getdoc(value)
    ]
    assert silent == []


def test_an_import_is_light():
    script = "import flow_core, sys; print(flow_core.__file__, *sys.modules, sep='\\n')"
    # -I: no environment, no current folder; so the path to the package is given, last as site-packages would be.
    script = f"import sys; before = set(sys.modules); sys.path.append({str(PACKAGE.parent)!r}); {script}"
    script = script.replace("*sys.modules", "*(set(sys.modules) - before)")
    ran = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, timeout=60, check=True)
    where, *modules = ran.stdout.split()
    assert Path(where).resolve().parent == PACKAGE
    assert "flow_core" in modules
    assert LAZY & set(modules) == set()


def test_version_is_said_once_and_everywhere_the_same(project):
    assert "version" in project["project"]["dynamic"]
    assert re.fullmatch(r"\d+\.\d+\.\d+([a-z]+\d+)?", flow_core.__version__)
    try:
        installed = importlib.metadata.version("flow-core")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("flow-core is built in place here, not installed: scripts/bootstrap installs it")
    assert installed == flow_core.__version__


def test_extras_are_those_of_the_design_and_all_is_their_union(project):
    extras = project["project"]["optional-dependencies"]
    assert set(extras) - {"all", "bench", "test"} == EXTRAS
    [everything] = extras["all"]
    assert set(everything.removeprefix("flow-core[").removesuffix("]").split(",")) == EXTRAS


def test_wheels_are_built_for_every_python_that_is_promised(project):
    promised = {
        line.rsplit(" ", 1)[1].replace(".", "")
        for line in project["project"]["classifiers"]
        if re.search(r"Python :: 3\.\d+$", line)
    }
    assert promised == set(re.findall(r"cp(\d+)-\*", project["tool"]["cibuildwheel"]["build"]))
    assert f"3{sys.version_info.minor}" in promised


def test_headers_are_where_get_include_says():
    headers = {path.name for path in Path(flow_core.get_include(), "flow_core").glob("*.hpp")}
    wanted = {
        name
        for pxd in (PACKAGE / "core").glob("*.pxd")
        for name in re.findall(r'"flow_core/(\w+\.hpp)"', pxd.read_text(encoding="utf-8"))
    }
    assert wanted, "no .pxd names a header"
    assert wanted <= headers


def test_every_compiled_module_ships_its_map_and_its_types():
    core = PACKAGE / "core"
    modules = {path.name.split(".")[0] for path in core.glob("*.so")}
    assert modules
    assert {path.stem for path in core.glob("*.pxd")} >= modules
    assert {path.stem for path in core.glob("*.pyi")} >= modules
    assert (PACKAGE / "py.typed").exists()
    assert (PACKAGE / "proto" / "flow.proto").exists()


@pytest.mark.skipif(not CHECKOUT, reason="about the checkout, not about the wheel")
def test_the_licence_is_complete():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text and "END OF TERMS AND CONDITIONS" in text
