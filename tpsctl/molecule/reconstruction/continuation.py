"""All-atom images that agree along a path: the side chains of each one continue those of its neighbor.

Reconstructed image by image, side chains differ between neighboring images by chance, because beads do not determine
them. Here the side chains of one image, the seed, are carried along the path in both directions: every image keeps the
backbone that the back-end gave it, takes the side chains of its minimized neighbor, which move rigidly with N, CA, C
and CB of their residues, and is minimized with its C-alpha atoms held. So a side chain turns only where the
minimization turns it.

The best seed is a compact image without faults: on the way from compact to extended, side chains have room.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tpsctl.molecule.reconstruction.all_atoms import AllAtomMolecule
from tpsctl.molecule.reconstruction.relax import BeadRestrainedMinimizer


def choose_seed(beads: Float[Tensor, "image bead 3"], faultless: Bool[Tensor, " image"]) -> int:
    """The image with the smallest radius of gyration among those without faults; among all if every image has some."""
    gyration = (beads - beads.mean(1, keepdim=True)).square().sum(-1).mean(-1).sqrt()
    allowed = faultless if bool(faultless.any()) else torch.ones_like(faultless)
    return int(gyration.masked_fill(~allowed, torch.inf).argmin())


def continue_along(
    molecule: AllAtomMolecule,
    minimizer: BeadRestrainedMinimizer,
    x: Float[Tensor, "image atom 3"],
    beads: Float[Tensor, "image bead 3"],
    seed: int,
    on_image: Callable[[], None],
) -> tuple[Float[Tensor, "image atom 3"], Float[Tensor, "image atom 3"]]:
    """Carry the side chains of the seed along the path.

    Args:
        molecule: The molecule.
        minimizer: Its minimizer.
        x: Images as the back-end reconstructed them, nm.
        beads: The beads of all images, nm.
        seed: Number of the seed.
        on_image: Called after every image.

    Returns:
        Structures before and after minimization, nm.
    """
    before, after = x.clone(), x.clone()
    after[seed] = minimizer.minimize(x[seed], beads[seed])
    on_image()
    for step, images in ((-1, range(seed - 1, -1, -1)), (1, range(seed + 1, len(beads)))):
        for k in images:
            before[k] = molecule.with_side_chains(x[k], after[k - step])
            after[k] = minimizer.minimize(before[k], beads[k])
            on_image()
    return before, after
