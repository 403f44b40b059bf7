"""Scores and everything around them; a plug-in builds its prior's score from these classes."""

from tpsctl.score.base import AutogradScore, FiniteDifferenceScore, Score

__all__ = ["AutogradScore", "FiniteDifferenceScore", "Score"]
