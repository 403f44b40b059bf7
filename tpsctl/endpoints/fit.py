"""Checks that the ends have the beads that a prior was made for, and finds their order.

Beads are compared by residue and name. The same beads may have another order; the order is returned.
Files do not agree on the names of equivalent hydrogens, and to a prior that distinguishes mirror images, the
other convention looks like an inverted methyl group. So the labels are also tested on the prior itself: if
exchanging two hydrogens of one center makes the squared score at the ends much smaller, they are exchanged
for the prior.
"""

from collections.abc import Callable, Sequence

from jaxtyping import Float
from torch import Tensor

from tpsctl.endpoints.match import label_keys
from tpsctl.errors import EndpointError
from tpsctl.molecule.beads import BeadKind, kind_of_beads
from tpsctl.molecule.symmetry import equivalence_classes, stereo_centers
from tpsctl.molecule.topology import Topology

WINDING_GAIN = 4.0
"""Two hydrogens are exchanged only if this divides the squared score by this factor; wrong labels give hundreds."""


def bead_order(ends: Topology, prior: Topology, *, name: str) -> list[int]:
    """For each of the prior's beads, find the index of the same bead in the ends.

    Args:
        ends: Beads of the ends, as selected.
        prior: Beads the prior was made for.
        name: What to call the prior in messages.

    Raises:
        EndpointError: The ends have C-alpha beads and the prior all atoms or the reverse, hydrogens are missing, or the
            molecules differ.
    """
    for theirs, ours in zip(label_keys(prior), label_keys(ends), strict=True):
        position = {key: i for i, key in enumerate(ours)}
        if len(position) == ends.n_atoms == prior.n_atoms and set(position) == set(theirs):
            return [position[key] for key in theirs]
    raise EndpointError(_difference(ends, prior, name))


def _difference(ends: Topology, prior: Topology, name: str) -> str:
    """Message that says why the beads do not fit, and what to do."""
    counts = f"{name} has {prior.n_atoms} beads, the ends have {ends.n_atoms}"
    ends_alpha, prior_alpha = (kind_of_beads(t) is BeadKind.ALPHA_CARBONS for t in (ends, prior))
    if ends_alpha and not prior_alpha:
        return (
            f"{counts}: the ends hold C-alpha atoms only, the prior is all-atom. Give structures with all atoms "
            "(endpoints.select: all), or a prior of C-alpha beads."
        )
    if prior_alpha and not ends_alpha:
        return f'{counts}: the prior is of C-alpha beads, the ends hold more. Set endpoints.select: "name CA".'
    hydrogens = [sum(atom.element == "H" for atom in topology.atoms) for topology in (prior, ends)]
    if prior.n_atoms - ends.n_atoms == hydrogens[0] - hydrogens[1] > 0:
        missing = f"{hydrogens[0] - hydrogens[1]} hydrogens are missing in the ends"
        return f"{counts}: {missing}. Add them (tpsctl prepare IN OUT)."
    names = [{(a.residue_name, a.name) for a in topology.atoms} for topology in (prior, ends)]
    only_prior = [a.label for a in prior.atoms if (a.residue_name, a.name) not in names[1]]
    only_ends = [a.label for a in ends.atoms if (a.residue_name, a.name) not in names[0]]
    first = f"the prior has {only_prior[0]}" if only_prior else f"the ends have {only_ends[0]}" if only_ends else ""
    mismatch = f" (first mismatch: {first})" if first else ""
    return f"{counts}{mismatch}. Give structures of the prior's molecule with the same atom names, or another prior."


def winding_order(
    topology: Topology, x: Float[Tensor, "2 bead 3"], score: Callable[[Tensor], Tensor], order: Sequence[int]
) -> list[int]:
    """Correct the order of beads for the prior by exchanging equivalent hydrogens whose labels do not suit it.

    Args:
        topology: Beads of the ends.
        x: Both ends, nm.
        score: The prior's score of configurations in its own order, 1/nm.
        order: The order that `bead_order` has found.

    Returns:
        For each of the prior's beads, the index of the bead of the ends.
    """
    best = list(order)
    strain = _strain(score, x, best)
    for i, j in _exchangeable(topology, x):
        swapped = [{i: j, j: i}.get(k, k) for k in best]
        changed = _strain(score, x, swapped)
        if changed * WINDING_GAIN < strain:
            best, strain = swapped, changed
    return best


def _strain(score: Callable[[Tensor], Tensor], x: Tensor, order: list[int]) -> float:
    return float(score(x[:, order]).square().sum())


def _exchangeable(topology: Topology, x: Tensor) -> list[tuple[int, int]]:
    """One pair of equivalent hydrogens for every stereo center that has some."""
    classes = equivalence_classes(topology)
    centers = stereo_centers(topology, x)
    pairs = []
    for around in centers.neighbors:
        hydrogens = [i for i in around if topology.atoms[i].element == "H"]
        alike = [i for i in hydrogens if sum(classes[i] == classes[k] for k in hydrogens) > 1]
        if len(alike) > 1:
            pairs.append((alike[0], alike[1]))
    return pairs
