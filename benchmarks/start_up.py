"""How long it takes until tpsctl answers: help, and the check of the default recipe.

    python -m benchmarks.start_up

Whole processes, from start to exit; median of the rounds. Bars: help 0.3 s, check 5 s.
"""

import argparse
import subprocess
import sys

from benchmarks.report import ROOT, Table, in_turns, machine, medians, write_report

ROUNDS = 5
BARS_S = {"--help": 0.3, "check recipes/alanine_dipeptide.yaml": 5.0}


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    facts = machine()

    def call(words: str) -> None:
        command = [sys.executable, "-m", "tpsctl", *words.split()]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    seconds = in_turns({words: lambda words=words: call(words) for words in BARS_S}, rounds=ROUNDS)
    middle = medians(seconds)
    rows = [[f"tpsctl {words}", middle[words], bar] for words, bar in BARS_S.items()]
    table = Table("Start-up", ["command", "s", "at most, s"], rows)
    write_report("start_up", facts, {"seconds": seconds}, [table])


if __name__ == "__main__":
    main()
