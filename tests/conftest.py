"""Shared by all tests: checked array shapes, float64, a fixed seed, golden files."""

from pathlib import Path

import pytest
from jaxtyping import install_import_hook

NUMERICS = [
    f"tpsctl.{name}"
    for name in ("action", "endpoints", "geometry", "guess", "optimize", "potentials", "prior", "schedule", "score")
]
install_import_hook(NUMERICS, "beartype.beartype")  # before the first import of these modules

import torch  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files instead of comparing")


@pytest.fixture(autouse=True)
def _float64_and_seed():
    """float64 and one fixed seed for every test."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def golden(request):
    """Compare text with a golden file; `pytest --update-golden` rewrites it."""

    def compare(path: Path, text: str) -> None:
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path} is missing: run pytest --update-golden"
        assert path.read_text(encoding="utf-8") == text, f"{path} differs: check, then run pytest --update-golden"

    return compare


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return Path(__file__).parents[1]
