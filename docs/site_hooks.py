"""What MkDocs does beside turning Markdown into pages: formulas, and the reference of commands.

Formulas are written in LaTeX and become MathML while the site is built, so that a browser shows them without any
script. The reference of commands is made from what the commands themselves answer to `--help`.
"""

import html
import re
from typing import Any

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(span|div) class="arithmatex">(.*?)</\1>', re.DOTALL)
COMMANDS = "<!-- The reference of commands is written here by docs/site_hooks.py. -->"
ENTRY = re.compile(r"^  (\S.*?)(?:\s{2,}(\S.*))?$")
"""One argument, option or command in a help text: what is typed, and what it means."""


def on_page_content(content: str, **_: Any) -> str:
    """Each formula of a page as MathML."""
    return FORMULA.sub(_mathml, content)


def _mathml(found: re.Match[str]) -> str:
    block = found[1] == "div"
    latex = html.unescape(found[2]).strip().removeprefix("\\[").removeprefix("\\(")
    latex = latex.removesuffix("\\]").removesuffix("\\)").strip()
    formula = convert(latex, display="block" if block else "inline")
    formula = formula.replace("<mo>&#x0007C;</mo>", '<mo stretchy="false">&#x0007C;</mo>')  # |x| as high as x
    return f'<div class="formula">{formula}</div>' if block else formula


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The reference of commands in place of its mark."""
    return markdown.replace(COMMANDS, commands()) if COMMANDS in markdown else markdown


def commands() -> str:
    """One section for each command, in the order of `tpsctl --help`."""
    names = [entry for entry, _ in _entries(_help(), "Commands:")]
    return "\n\n".join(_command(name) for name in names)


def _help(*words: str) -> str:
    from typer.testing import CliRunner

    from tpsctl.cli.app import app

    return CliRunner().invoke(app, [*words, "--help"], prog_name="tpsctl").output


def _command(name: str) -> str:
    text = _help(name)
    usage, description, *_ = (" ".join(part.split()) for part in text.strip().split("\n\n"))
    rows = [*_entries(text, "Arguments:"), *_entries(text, "Options:")]
    table = ["| argument or option | meaning |", "|---|---|", *(_row(*row) for row in rows)]
    parts = [
        f"## tpsctl {name}",
        description,
        f"```\n{re.sub('[{}]', '', usage.removeprefix('Usage: '))}\n```",
        "\n".join(table),
    ]
    _, _, example = text.partition("Example: ")
    return "\n\n".join([*parts, *([f"```\n{' '.join(example.split())}\n```"] if example else [])])


def _entries(text: str, title: str) -> list[tuple[str, str]]:
    """Arguments, options or commands with their meanings, from the part of a help text under this title."""
    _, _, rest = text.partition(f"\n{title}\n")
    found: list[list[str]] = []
    for line in rest.split("\n\n")[0].splitlines():
        entry = ENTRY.match(line)
        if entry:
            found.append([entry[1], entry[2] or ""])
        else:
            found[-1][1] = f"{found[-1][1]} {line.strip()}".strip()
    return [(typed, meaning) for typed, meaning in found]


def _row(typed: str, meaning: str) -> str:
    cells = (f"`{typed}`", " ".join(meaning.split()).replace("|", "\\|"))  # between backticks a | needs no escape
    return "| " + " | ".join(cells) + " |"
