"""Which of the molecules of a checkpoint the user's molecule is.

A molecule that the checkpoint was not trained on is refused, even where the types of all its beads are known: what is
fitted in closed form is missing for it, and no verdict says whether the model is fit for it.
"""

from collections import Counter
from collections.abc import Sequence

from tpsctl.errors import PriorError
from tpsctl.molecule.topology import Topology
from tpsctl.networks.graph_transformer.bead_table import BeadTable, bead_type


def find_molecule(molecules: Sequence[Topology], topology: Topology) -> int | None:
    """The number of the molecule with the same types of beads, in this order or else in any; None if there is none."""
    wanted = _types(topology)
    known = [_types(molecule) for molecule in molecules]
    if wanted in known:
        return known.index(wanted)
    same = [number for number, types in enumerate(known) if Counter(types) == Counter(wanted)]
    return same[0] if same else None


def chosen_molecule(names: Sequence[str], molecules: Sequence[Topology], topology: Topology) -> int:
    """The number of the user's molecule.

    Args:
        names: Names of the molecules of the checkpoint.
        molecules: These molecules.
        topology: The user's molecule.

    Raises:
        PriorError: The checkpoint has a bead of it with an unknown type, or was not trained on it.
    """
    number = find_molecule(molecules, topology)
    if number is not None:
        return number
    unknown = BeadTable.of(molecules).unknown(topology)
    pairs = zip(names, molecules, strict=True)
    trained = "; ".join(f"{name} ({molecule.n_atoms} beads)" for name, molecule in pairs)
    if unknown:
        raise PriorError(
            f"the ends have beads of types that this checkpoint does not know: {', '.join(unknown[:5])}"
            f"{' and more' if len(unknown) > 5 else ''}. It was trained on {trained}. Select its beads with "
            "endpoints.select, name the atoms as in its data, or train a model with this molecule."
        )
    raise PriorError(
        f"the ends have {topology.n_atoms} beads of known types, but they are no molecule that this checkpoint was "
        f"trained on: {trained}. No verdict says whether it is fit for another one. Add the molecule's data to the "
        "training."
    )


def _types(topology: Topology) -> list[str]:
    return [bead_type(atom) for atom in topology.atoms]
