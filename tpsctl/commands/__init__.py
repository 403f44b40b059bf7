"""What the command line calls: one module for each command that does more than print."""
