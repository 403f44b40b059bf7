"""`python -m tpsctl`."""

from tpsctl.cli.app import main

main()
