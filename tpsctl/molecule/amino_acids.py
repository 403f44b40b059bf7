"""The centers of amino acids that have one handedness in all proteins of living beings."""

from tpsctl.molecule.topology import Topology


def amino_acid_centers(topology: Topology) -> list[tuple[int, tuple[int, int, int]]]:
    """The centers of amino acids with three neighbors, whose handedness is that of N, C and CB around an L-C-alpha.

    These are CA with N, C, CB and CB with CA, CG1 (isoleucine) or OG1 (threonine), CG2: seen from the fourth neighbor,
    a hydrogen, all of them turn the same way.
    """
    found = []
    for index, atom in enumerate(topology.atoms):
        around = {topology.atoms[i].name: i for i in topology.neighbors[index]}
        wanted = {
            "CA": ("N", "C", "CB"),
            "CB": ("CA", "CG1" if atom.residue_name == "ILE" else "OG1", "CG2"),
        }.get(atom.name, ())
        if wanted and set(wanted) <= set(around):
            a, b, c = (around[name] for name in wanted)
            found.append((index, (a, b, c)))
    return found
