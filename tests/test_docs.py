"""What the documentation says exists, and what exists is documented."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tpsctl.cli import app as cli

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
NEWS = sorted(path for path in (ROOT / "news").glob("*.md") if path.name != "README.md")
LINE = re.compile(r"^\s*(?:\$ )?(tpsctl [a-z].*)$", flags=re.MULTILINE)
"""A command on a line of its own in a block of code, with or without a prompt."""
WORDS = re.compile(r"(?<!`)`(tpsctl [a-z][^`\n]*)`(?!`)")
"""A command within a sentence; it may be a part of one, like `tpsctl check`."""


def commands_of_the_program():
    listed = CliRunner().invoke(cli.app, ["--help"], prog_name="tpsctl").output.partition("\nCommands:\n")[2]
    return re.findall(r"^  ([a-z]+)", listed.split("\n\n")[0], flags=re.MULTILINE)


COMMANDS = commands_of_the_program()


def name(page):
    return str(page.relative_to(ROOT))


def commands_on(page):
    """Every command of a page: its words, and whether it is complete."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    for block in blocks:
        for line in LINE.findall(block.replace("\\\n", " ")):
            yield shlex.split(re.split("     # | > ", line)[0])[1:], True
    rest = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    for line in WORDS.findall(rest):
        yield shlex.split(line)[1:], False


def test_pages_have_commands():
    assert sum(1 for page in PAGES for _ in commands_on(page)) > 60


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_readme(command):
    assert f"`tpsctl {command}" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_and_options_on_a_page_exist(page):
    for (command, *rest), _ in commands_on(page):
        assert command in COMMANDS, f"{page}: tpsctl {command}"
        if command == "submit":
            continue  # its words are parsed where the command is complete
        text = CliRunner().invoke(cli.app, [command, "--help"]).output
        for option in re.findall(r"--[a-z-]+", " ".join(rest)):
            assert option in text, f"{page}: tpsctl {command} {option}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_complete_commands_on_a_page_are_parsed(page, monkeypatch):
    """The parser of the program takes every command of a block of code; nothing is run."""
    for words, complete in commands_on(page):
        if complete and "…" not in words:
            assert parses(words), f"{page}: tpsctl {shlex.join(words)}"


def parses(words):
    from typer.main import get_command

    group = get_command(cli.app)
    name, command, rest = group.resolve_command(group.make_context("tpsctl", [words[0]]), list(words))
    try:
        command.make_context(name, rest)
    except Exception as error:
        raise AssertionError(f"tpsctl {shlex.join(words)}: {error}") from error
    return True


def test_a_wrong_command_is_noticed():
    with pytest.raises(AssertionError, match="No such option"):
        parses(["sample", "r.yaml", "--nonsense"])


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_and_recipes_on_a_page_exist(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / target).exists(), f"{page}: {target}"
    for recipe in re.findall(r"recipes/[\w/]+\.yaml", text):
        assert (ROOT / recipe).exists(), f"{page}: {recipe}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_and_make_targets_named_on_a_page_exist(page):
    text, makefile = page.read_text(encoding="utf-8"), (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:`|^)make ([a-z][a-z-]*)", text, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), f"{page}: make {target}"
    for file in re.findall(r"`((?:tpsctl|tests|benchmarks|docs|examples|container|\.ci)/[\w./-]+)`", text):
        assert (ROOT / file).exists(), f"{page}: {file}"
    for module in re.findall(r"python -m (benchmarks\.\w+)", text):
        assert (ROOT / f"{module.replace('.', '/')}.py").exists(), f"{page}: {module}"


def test_the_recipes_on_the_pages_are_valid(tmp_path):
    from tpsctl.recipe.kinds import of_command
    from tpsctl.recipe.loader import load_recipe

    checked = 0
    for page in PAGES:
        for text in re.findall(r"^```yaml[^\n]*\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL):
            if "version: 1" in text:
                (tmp_path / "recipe.yaml").write_text(text)
                command = "train" if "\nmodel:" in text else "refine" if "\nsample:" in text else "sample"
                load_recipe(tmp_path / "recipe.yaml", of_command(command, tmp_path / "recipe.yaml"))
                checked += 1
    assert checked >= 3


@pytest.mark.parametrize("fragment", NEWS, ids=name)
def test_a_news_fragment_is_a_sentence_of_a_known_type(fragment):
    assert re.fullmatch(r"[a-z0-9-]+\.(added|changed|deprecated|removed|fixed)", fragment.stem)
    text = fragment.read_text(encoding="utf-8").strip()
    assert text.endswith((".", ")")), "a whole sentence"
    assert "\n" not in text, "one line"
