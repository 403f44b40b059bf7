"""Standard output belongs to the answer: whatever else is printed goes to standard error.

Libraries print as they like. C code (MDTraj's `dcdplugin)` lines) writes to file descriptor 1, and what it buffers
appears only when the process ends; so `keep_stdout` gives that descriptor to standard error for good and leaves
`sys.stdout` a copy of its own. Python code prints to `sys.stdout`; `working` turns that away while a command works.
"""

import contextlib
import json
import os
import sys
from typing import Any

import typer


def keep_stdout() -> None:
    """Let only Python's `sys.stdout` reach standard output; called once, when the program starts."""
    if sys.stdout is None or sys.stderr is None:
        return  # closed by whoever started the program: there is nothing to keep apart
    sys.stdout.flush()
    stream = sys.stdout
    kept = os.dup(stream.fileno())
    os.dup2(sys.stderr.fileno(), stream.fileno())
    sys.stdout = open(  # noqa: SIM115
        kept, "w", buffering=1 if os.isatty(kept) else -1, encoding=stream.encoding, errors=stream.errors
    )


def working() -> contextlib.AbstractContextManager[Any]:
    """Around the work of a command: what Python code prints meanwhile goes to standard error."""
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
