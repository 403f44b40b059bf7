"""Initial paths between two fixed ends, one file per kind."""

from tpsctl.guess.base import Guess
from tpsctl.guess.idpp import IdppGuess
from tpsctl.guess.latent import LatentGuess
from tpsctl.guess.linear import LinearGuess
from tpsctl.guess.ratchet import RatchetGuess
from tpsctl.guess.screen import Screening, all_of, energy_below, screened
from tpsctl.guess.torsion import TorsionGuess, Waypoint
from tpsctl.guess.trajectory import TrajectoryGuess
from tpsctl.guess.untangle import untangled

__all__ = [
    "Guess",
    "IdppGuess",
    "LatentGuess",
    "LinearGuess",
    "RatchetGuess",
    "Screening",
    "TorsionGuess",
    "TrajectoryGuess",
    "Waypoint",
    "all_of",
    "energy_below",
    "screened",
    "untangled",
]
