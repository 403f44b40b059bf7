"""The surfaces on which saddles are searched and tops are judged."""

import torch

from tpsctl.landscape.surface import Surface
from tpsctl.molecule.openmm_contexts import ContextPool
from tpsctl.molecule.openmm_system import as_source
from tpsctl.workflows.sample.assemble.landscapes import force_field_surface


def test_hessians_in_a_generalized_born_solvent_take_no_forces(alanine, monkeypatch):
    topology, x = alanine
    surface = force_field_surface(as_source(("amber14-all.xml", "implicit/gbn2.xml")).create(topology), threads=1)
    differences = Surface.hessian(surface, x[None])
    monkeypatch.delattr(ContextPool, "map")  # what every force and energy goes through
    # A bond's fourth derivative of some 1e8 kJ/mol/nm^4 times 1e-10 nm^2, and forces of 1e3 rounded to 1e-12 over 1e-5.
    size = float(differences.abs().max())
    torch.testing.assert_close(surface.hessian(x[None]), differences, rtol=0, atol=1e-6 * size)
