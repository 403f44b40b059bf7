"""What has to be carried to a GPU machine without a network, where Python 3.12 and PyTorch 2.11 are there already.

    python -m benchmarks.gpu_wheels > wheels.txt
    pip download --only-binary=:all: --no-deps --python-version 3.12 --platform manylinux_2_28_x86_64 \\
        --platform manylinux2014_x86_64 --platform any --dest wheels -r wheels.txt      # with a network
    pip install --no-index --no-deps wheels/*                                            # there
    pip install --no-index --no-deps --no-build-isolation --editable .                   # there, in the checkout

The list is every package that tpsctl and its tests need, in the versions of this installation; PyTorch is left out, and
whatever only PyTorch needs.
"""

import importlib.metadata
from collections.abc import Iterator

from packaging.requirements import Requirement

TARGET = {
    "python_version": "3.12",
    "python_full_version": "3.12.0",
    "sys_platform": "linux",
    "platform_system": "Linux",
}
THERE_ALREADY = {"torch"}


def needed(name: str = "tpsctl", extras: tuple[str, ...] = ("test",)) -> dict[str, str]:
    """Packages by name with their versions, without the first one."""
    found: dict[str, str] = {}
    waiting = [(name, extras)]
    while waiting:
        one, its_extras = waiting.pop()
        for requirement in _requirements(one, its_extras):
            key = requirement.name.lower().replace("_", "-")
            if key not in found and key not in THERE_ALREADY:
                found[key] = importlib.metadata.version(requirement.name)
                waiting.append((requirement.name, tuple(requirement.extras)))
    return dict(sorted(found.items()))


def _requirements(name: str, extras: tuple[str, ...]) -> Iterator[Requirement]:
    """What a package requires on the target machine."""
    for line in importlib.metadata.requires(name) or []:
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate(TARGET | {"extra": extra}) for extra in ("", *extras)):
            yield requirement


if __name__ == "__main__":
    print("\n".join(f"{name}=={version}" for name, version in needed().items()))
