"""The list of compiled modules and their flags; every other fact about the package is in pyproject.toml.

FLOW_DEBUG=1      compile the invariant checks in (they fold away in a release build)
FLOW_SANITIZE=x   build with -fsanitize=x (address,undefined)
"""
import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

DEBUG = os.environ.get("FLOW_DEBUG", "0") == "1"
SANITIZE = os.environ.get("FLOW_SANITIZE", "")
HEADERS = sorted(map(str, Path("src").rglob("*.hpp")))

compile_args = ["-std=c++17", "-fvisibility=hidden", "-fno-strict-aliasing"]
compile_args += ["-O1", "-g"] if SANITIZE or DEBUG else ["-O3", "-g0"]
link_args = []
if SANITIZE:
    compile_args += [f"-fsanitize={SANITIZE}", "-fno-omit-frame-pointer"]
    link_args += [f"-fsanitize={SANITIZE}"]

extensions = [
    Extension(
        ".".join(source.with_suffix("").parts),
        [str(source)],
        language="c++",
        include_dirs=["src"],
        depends=HEADERS,
        define_macros=[("FLOW_DEBUG", str(int(DEBUG)))],
        extra_compile_args=compile_args,
        extra_link_args=link_args,
    )
    for source in sorted(Path("flow_core/core").glob("*.pyx"))
]

setup(
    ext_modules=cythonize(
        extensions,
        build_dir="build/cython",
        compiler_directives={
            "language_level": 3,
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "embedsignature": True,
            "binding": True,
        },
    )
)
