"""The list of compiled modules and their flags; every other fact about the package is in pyproject.toml.

FLOW_DEBUG=1      compile the invariant checks in (they fold away in a release build)
FLOW_SANITIZE=x   build with -fsanitize=x (address,undefined)
Builds in place are incremental; other flags than the last time rebuild everything.
"""

import os
import shutil
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

DEBUG = os.environ.get("FLOW_DEBUG", "0") == "1"
SANITIZE = os.environ.get("FLOW_SANITIZE", "")
JOBS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "embedsignature": True,
    "binding": True,
}


class BuildExtensions(build_ext):
    """Names what to install where a compiler's own message says less; keeps objects between editable installs."""

    def finalize_options(self):
        super().finalize_options()
        if self.editable_mode:  # else pip compiles everything anew into a temporary folder
            self.build_lib = f"build/lib.{self.plat_name}-{sys.implementation.cache_tag}"
            self.build_temp = f"build/temp.{self.plat_name}-{sys.implementation.cache_tag}"

    def build_extensions(self):
        compiler = (getattr(self.compiler, "compiler_so_cxx", None) or ["g++"])[0]
        if self.compiler.compiler_type == "unix" and not shutil.which(compiler):
            raise SystemExit(f"flow-core: no C++ compiler ({compiler}). Install g++: apt-get install g++")
        if not any((Path(folder) / "Python.h").exists() for folder in self.compiler.include_dirs):
            raise SystemExit("flow-core: no Python headers (Python.h). Install them: apt-get install python3-dev")
        super().build_extensions()


class BuildPython(build_py):
    """Puts the headers into the wheel, where `flow_core.get_include()` finds them; a checkout has them in src/."""

    def run(self):
        super().run()
        if not self.editable_mode:
            target = str(Path(self.build_lib, "flow_core", "include", "flow_core"))
            self.mkpath(target)
            for header in Path("src/flow_core").glob("*.hpp"):
                self.copy_file(str(header), target)


def flavour(*flags):
    """A file that changes when the flags do: distutils compares the ages of files only."""
    path, text = Path("build/flavour"), " ".join(flags)
    path.parent.mkdir(exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
    return str(path)


def extensions():
    flags = ["-std=c++17", "-fvisibility=hidden", "-fno-strict-aliasing"]
    flags += ["-O1", "-g"] if SANITIZE or DEBUG else ["-O3", "-g0"]
    sanitize = [f"-fsanitize={SANITIZE}", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"] if SANITIZE else []
    depends = [*sorted(map(str, Path("src").rglob("*.hpp"))), flavour(*flags, *sanitize, f"DEBUG={DEBUG}")]
    for source in sorted(Path("flow_core/core").glob("*.pyx")):
        yield Extension(
            ".".join(source.with_suffix("").parts),
            [str(source)],
            language="c++",
            include_dirs=["src"],
            depends=depends,
            define_macros=[("FLOW_DEBUG", str(int(DEBUG)))],
            extra_compile_args=flags + sanitize,
            extra_link_args=sanitize,
        )


if __name__ == "__main__":  # cythonize's worker processes import this file
    modules = cythonize(list(extensions()), nthreads=JOBS, build_dir="build/cython", compiler_directives=DIRECTIVES)
    setup(
        ext_modules=modules,
        cmdclass={"build_ext": BuildExtensions, "build_py": BuildPython},
        options={"build_ext": {"parallel": JOBS}},
    )
