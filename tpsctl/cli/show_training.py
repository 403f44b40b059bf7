"""Prints the result of a training."""

from typing import Any

from tpsctl.console import print_table
from tpsctl.workflows.train.results import tables_of


def show_training(card: dict[str, Any]) -> None:
    """Print the tables that end a training run."""
    for table in tables_of(card):
        print_table(table.title, table.columns, table.rows, notes=table.notes)
