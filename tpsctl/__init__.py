"""tpsctl: molecular transition paths from two structures and a generative prior."""

from typing import TYPE_CHECKING

__version__: str

if not TYPE_CHECKING:

    def __getattr__(name: str) -> str:
        """`__version__`: the version of the installed package, looked up only when somebody asks for it."""
        if name != "__version__":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import metadata

        try:
            return metadata.version("tpsctl")
        except metadata.PackageNotFoundError:
            return "0+unknown"  # a source folder that is on the search path without being installed
