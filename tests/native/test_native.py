"""Builds and runs the checks of the headers under the sanitizers, without Python in the process."""

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SRC = HERE.parents[1] / "src"


@pytest.mark.parametrize("sanitizers", ["address,undefined", "thread"])
def test_headers_are_clean_under(sanitizers, tmp_path):
    compiler = shutil.which("g++")
    assert compiler, "g++ is missing: install it (Debian: apt install g++)"
    program = tmp_path / "test_headers"
    flags = ["-std=c++17", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", "-fno-sanitize-recover=all"]
    flags += [f"-fsanitize={sanitizers}", f"-I{SRC}"]
    build = [compiler, *flags, str(HERE / "test_headers.cpp"), "-o", str(program)]
    built = subprocess.run(build, capture_output=True, text=True, timeout=120)
    assert built.returncode == 0, built.stderr
    ran = subprocess.run([program], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout.strip()) == (0, "ok"), ran.stdout + ran.stderr
