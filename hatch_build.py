"""Compiles `tpsctl/networks/graph_transformer/attend.c` when tpsctl is installed or a wheel is built.

Without a C compiler tpsctl does the same with torch, slower; `tpsctl doctor` says which.
"""

import hashlib
import os
import platform
import shlex
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = Path("tpsctl/networks/graph_transformer/attend.c")
FLAGS = "-std=gnu11 -O3 -ffp-contract=fast -fno-math-errno -fno-trapping-math -Wno-psabi -fPIC -shared".split()
X86 = {
    "avx512": "-mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma".split(),
    "avx2": "-mavx2 -mfma".split(),
}
"""Flags for what `torch.backends.cpu.get_cpu_capability` tells apart; "default" is for any machine of the kind."""


class AttentionHook(BuildHookInterface):
    """The library for each instruction set, beside its source."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        sets = {"default": [], **(X86 if platform.machine().lower() in ("x86_64", "amd64") else {})}
        built = {name: SOURCE.with_name(f"_attend_{name}.so") for name in sets}
        try:
            for name, library in built.items():
                self._compile(Path(self.root, library), sets[name])
        except (OSError, subprocess.CalledProcessError) as error:
            for library in built.values():
                Path(self.root, library).unlink(missing_ok=True)  # never that of an earlier source
            said = getattr(error, "stderr", None) or error
            self.app.display_warning(f"{SOURCE} is not compiled, torch will do its work, slower: {said}")
            return
        system = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data |= {"pure_python": False, "tag": f"py3-none-{system}"}
        build_data["artifacts"] += [f"/{library.as_posix()}" for library in built.values()]

    def _compile(self, library: Path, flags: list[str]) -> None:
        """Never half a file: written beside its place and moved."""
        partial = library.with_suffix(f".{os.getpid()}")
        compiler, source = shlex.split(os.environ.get("CC", "cc")), Path(self.root, SOURCE)
        digest = hashlib.sha256(source.read_bytes()).hexdigest()
        command = [*compiler, *FLAGS, *flags, f'-DSOURCE="{digest}"', "-o", str(partial), str(source)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
            partial.replace(library)
        finally:
            partial.unlink(missing_ok=True)
