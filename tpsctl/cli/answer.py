"""Keeps standard output for the answer of a command; everything else that is printed goes to standard error.

Libraries may print at any time. C code (MDTraj's `dcdplugin)` lines) writes to file descriptor 1, and buffered text
appears only when the process ends. So `keep_stdout` redirects that descriptor to standard error permanently, and gives
`sys.stdout` a copy of the original one. Python code of libraries prints to `sys.stdout`, which `working` redirects
while a command works.
"""

import contextlib
import json
import os
import sys
from typing import Any

import typer


def keep_stdout() -> None:
    """Let only Python's `sys.stdout` write to standard output; it is called once, when the program starts."""
    if sys.stdout is None or sys.stderr is None:
        return  # the program was started with a closed standard output, so there is nothing to separate
    sys.stdout.flush()
    stream = sys.stdout
    kept = os.dup(stream.fileno())
    os.dup2(sys.stderr.fileno(), stream.fileno())
    sys.stdout = open(  # noqa: SIM115
        kept, "w", buffering=1 if os.isatty(kept) else -1, encoding=stream.encoding, errors=stream.errors
    )


def working() -> contextlib.AbstractContextManager[Any]:
    """A context for the work of a command, in which Python code prints to standard error."""
    return contextlib.redirect_stdout(sys.stderr)


def say_json(answer: Any) -> None:
    """Print the answer of a command as JSON."""
    typer.echo(json.dumps(answer, indent=2))


def say_facts(facts: dict[str, Any], *, as_json: bool, title: str) -> None:
    """Print facts about what was done, as JSON or as a table of two columns."""
    from tpsctl.console import print_table

    if as_json:
        say_json(facts)
    else:
        print_table(title, ["what", "value"], [[name, str(value)] for name, value in facts.items()])
