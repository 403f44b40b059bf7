"""`python -m tpsctl`."""

from tpsctl.cli import main

main()
