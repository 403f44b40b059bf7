"""What judges finished paths, from the section `validation`."""

import torch

from tpsctl.recipe.validation import ValidationSection
from tpsctl.validation.energy import EnergyModel
from tpsctl.validation.geometry import GeometryGate
from tpsctl.workflows.force_field import system_source
from tpsctl.workflows.sample.assemble.prior import gpu_number
from tpsctl.workflows.sample.assemble.system import System


def make_gate(system: System) -> GeometryGate:
    """The geometry gate of a molecule; of a model potential, finite positions and jumps only."""
    return GeometryGate(system.topology if system.is_molecule else None, system.all_ends)


def make_energy_model(
    section: ValidationSection, system: System, threads: int, device: torch.device
) -> EnergyModel | None:
    """The force field that judges the paths; None if the recipe names none, or there is no molecule.

    If the paths were computed on a GPU, it is the one that OpenMM may take, too.
    """
    if section.energy is None or not system.is_molecule:
        return None
    source = system_source(section.energy.force_field)
    platform, gpu = section.energy.platform, gpu_number(device)
    return EnergyModel(system.topology, source, system.ends[0], platform=platform, threads=threads, gpu=gpu)
