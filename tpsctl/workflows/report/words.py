"""What the words of a report mean, for readers who have not read the documentation."""

from collections.abc import Sequence
from typing import Any

from tpsctl.output.report import Evidence

_ALWAYS = (
    ("path, image", "A path is a chain of structures from A to B; an image is one of them. Their order is no time."),
    ("barrier", "The energy of the highest image above one of the ends."),
    (
        "geometry gate",
        "Checks of every image before any energy: bonds, clashes, handedness of centers, peptide bonds, gaps between "
        "images. A path that fails is marked, and drawn dashed.",
    ),
    (
        "action",
        "How improbable a path is under overdamped dynamics with the forces of the prior; without a unit, and smaller "
        "is better. A converged path has the least action near it, which need not be the least of all.",
    ),
    (
        "max_steps",
        "The optimizer reached its limit of steps before the action was a minimum: the path is not converged.",
    ),
    ("prior", "Where the forces come from: a trained model, a force field, or a formula."),
)
_SADDLES = (
    (
        "saddle",
        "A structure without forces that is a maximum of the energy along one direction, a minimum along all others.",
    ),
    (
        "index",
        "Number of directions along which a structure without forces is a maximum: 0 in a minimum, 1 at a saddle.",
    ),
    ("|∇U|", "Size of the force that is left at a structure; 0 at an exact minimum or saddle."),
    ("lowest modes", "The softest vibrations; a negative number is the direction in which a saddle falls off."),
)
_ROUTES = (
    ("route", "A way from A to B over a sequence of saddles; routes are ranked by the highest of them."),
    (
        "share of the flux",
        "Which part of all reactive trajectories takes this route, if rates over single saddles are harmonic.",
    ),
    (
        "least action",
        "The smallest action that any path with these energies can have; it depends on rises and falls alone.",
    ),
    (
        "Good–Turing estimate",
        "The chance that the next find is a new one, from how many were found only once. It cannot know of places that "
        "the search never comes near.",
    ),
    ("arc length", "Distance along a path in coordinates weighted by the square roots of the masses."),
)
_CHANNELS = (("channel", "Paths whose highest images are alike share a channel, and a color."),)
_DYNAMICS = (
    ("committor p_B", "The chance that a simulation which starts there, with random velocities, reaches B before A."),
    ("95 % interval", "The range that holds the true value in 95 of 100 repetitions."),
    ("spread", "Root-mean-square distance of the ensemble's own paths from their mean."),
)


def words_of(manifest: dict[str, Any], dynamics: Sequence[Evidence]) -> list[tuple[str, str]]:
    """The words that the page of this run uses, with their meanings."""
    routes = "routes" in manifest
    judged = routes or any(entry.get("tops") for entry in manifest["paths"])
    several = len({entry.get("channel") for entry in manifest["paths"]}) > 1
    return [
        *_ALWAYS,
        *(_ROUTES if routes else _CHANNELS * several),
        *(_SADDLES * judged),
        *(_DYNAMICS * bool(dynamics)),
    ]
