"""tpsctl: molecular transition paths from two structures and a generative prior."""

__version__ = "0.1.0"
