"""The workshop keeps its promises: commands by their names, one version, a script that CI can run."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TARGETS = ("setup", "serve", "test", "check", "system", "bench", "demo")


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_that_others_rely_on_exists(target: str) -> None:
    make = shutil.which("make")
    assert make

    # Flags of a make that runs these tests are not for this one.
    plan = subprocess.run(
        [make, "--dry-run", target],
        cwd=ROOT,
        env={**os.environ, "MAKEFLAGS": ""},
        capture_output=True,
        text=True,
    )

    assert (plan.returncode, plan.stderr) == (0, "")


def test_the_version_is_that_of_the_newest_section_of_the_changelog() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    sections = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert project["version"] == sections[0]


def test_the_script_of_ci_can_be_run() -> None:
    script = ROOT / ".ci" / "run"

    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)


def test_what_the_image_is_built_from_is_let_into_it() -> None:
    listed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {project["project"]["readme"], *project["project"]["license-files"]}

    assert needed | {*wheel["packages"], *wheel["force-include"], "pyproject.toml", "uv.lock"} == listed
