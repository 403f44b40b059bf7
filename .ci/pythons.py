"""Runs what needs no PyTorch under every other Python that pyproject.toml declares and this machine has.

    python .ci/pythons.py

For each version: a virtual environment with the small dependencies, every module compiled and, unless it needs
PyTorch, imported, and the tests of recipes, of the command line, of surviving kills and of the documents. A Python that
is not there is skipped, and named.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACE = ROOT / ".venv" / "pythons"
PACKAGES = "beartype hypothesis jaxtyping numpy pydantic pytest pyyaml rich safetensors typer".split()
TESTS = "tests/recipe tests/cli tests/jobs tests/test_console.py tests/test_docs.py".split()
LEFT_OUT = [
    "--ignore-glob=*/slurm/test_shards.py",
    "--ignore-glob=*/slurm/test_cluster.py",
    "-m",
    "not slow and not campaign",
    "-k",
    "not doctor",
]
IMPORTS = """
import importlib, pathlib
files = [path for path in pathlib.Path("tpsctl").rglob("*.py") if path.name != "__main__.py"]
names = sorted(".".join(path.with_suffix("").parts) for path in files)
found = 0
for name in names:
    try:
        importlib.import_module(name.removesuffix(".__init__"))
        found += 1
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("torch", "openmm", "mdtraj", "matplotlib"):
            raise
assert found > 50, found
print(f"{len(names)} modules compiled, {found} of them imported without PyTorch")
"""


def main() -> None:
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    for version in declared():
        python = interpreter(version)
        if version == here:
            print(f"Python {version}: runs everything in `make test`")
        elif python is None:
            print(f"Python {version}: skipped, because no interpreter python{version} was found")
        else:
            check(version, python)


def declared() -> list[str]:
    """The versions of Python in the classifiers."""
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    return [
        found[1] for name in classifiers if (found := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", name))
    ]


def interpreter(version: str) -> str | None:
    """A Python of this version that starts: on the search path, or installed by pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [shutil.which(f"python{version}"), *sorted(map(str, pyenv.glob(f"{version}.*/bin/python")))]
    for candidate in filter(None, candidates):
        asked = subprocess.run(
            [candidate, "-c", "import sys; print(sys.version)"], capture_output=True, text=True, check=False
        )
        if asked.stdout.startswith(f"{version}."):
            return candidate
    return None


def check(version: str, interpreter: str) -> None:
    """One version of Python; ends the program if something fails."""
    folder = PLACE / version
    python = str(folder / "bin" / "python")
    print(f"Python {version}:", flush=True)
    if not (folder / "installed").exists():
        run(interpreter, "-m", "venv", "--clear", str(folder))
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES)
        (folder / "installed").touch()
    run(python, "-W", "error", "-m", "compileall", "-q", "-f", "tpsctl")
    run(python, "-c", IMPORTS)
    run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-r", "fE", *LEFT_OUT, *TESTS)


def run(*command: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False)
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
