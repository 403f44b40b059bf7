from dataclasses import replace

import numpy as np
import pytest
import torch

from tpsctl.errors import ValidationError
from tpsctl.molecule.energy_protocol import EnergyProtocol
from tpsctl.molecule.force_field import create_system, residues
from tpsctl.molecule.geometry import superpose
from tpsctl.molecule.topology import Atom, Topology
from tpsctl.validation.energy import EnergyModel, Profile, Restraint, path_energies

FORCE_FIELD = ("amber99sbildn.xml",)


@pytest.fixture(scope="module")
def frames(alanine):
    """Forty distorted structures (frame, 22, 3), nm."""
    generator = torch.Generator().manual_seed(1)
    return alanine[1] + 0.004 * torch.randn(40, 22, 3, generator=generator, dtype=torch.float64)


@pytest.fixture(scope="module")
def model(alanine):
    return EnergyModel(alanine[0], FORCE_FIELD, alanine[1], platform="Reference", threads=1)


def fresh_context_energy(topology, frame):
    """The plainest way: a System and a Context for every single frame."""
    import openmm
    from openmm import unit

    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(create_system(topology, FORCE_FIELD), openmm.VerletIntegrator(0.001), platform)
    context.setPositions(frame.numpy())
    return context.getState(energy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)


def test_energies_equal_a_fresh_context_per_frame(alanine, frames, model):
    plain = [fresh_context_energy(alanine[0], frame) for frame in frames[:4]]
    # same double-precision code; only the order of forces in the System could differ
    np.testing.assert_allclose(model.energies(frames[:4]).numpy(), plain, rtol=1e-12, atol=1e-9)


def test_energies_do_not_depend_on_rigid_motion(frames, model):
    turned = superpose(frames, frames.roll(1, 0)) + 3.0
    torch.testing.assert_close(model.energies(turned), model.energies(frames), rtol=0, atol=1e-7)  # rounding at 3 nm


def test_forces_are_minus_the_energy_gradient(frames, model):
    x, h = frames[0], 1e-6
    shifts = h * torch.eye(66, dtype=x.dtype).reshape(66, 22, 3)
    slope = (model.energies(x + shifts) - model.energies(x - shifts)) / (2 * h)
    # central differences: h^2 * third derivative ~1e-12 * 1e8, and rounding 1e-13 * E / h ~ 1e-5
    torch.testing.assert_close(model.forces(x[None])[0].flatten(), -slope, rtol=1e-5, atol=1e-2)


def test_threads_give_the_results_of_one_thread(alanine, frames, model):
    parallel = EnergyModel(alanine[0], FORCE_FIELD, alanine[1], platform="Reference", threads=3)
    assert torch.equal(parallel.energies(frames), model.energies(frames))
    assert torch.equal(parallel.forces(frames), model.forces(frames))
    one, three = model.minimize(frames, Restraint()), parallel.minimize(frames, Restraint())
    assert torch.equal(one.energy, three.energy)
    assert torch.equal(one.x, three.x)


def test_minimization_lowers_the_energy_and_reports_the_displacement(frames, model):
    before, after = model.energies(frames), model.minimize(frames, Restraint())
    assert (after.energy < before).all()
    moved = (after.x - frames).square().sum(-1).mean(-1).sqrt()
    torch.testing.assert_close(after.displacement_nm, moved)
    assert (after.displacement_nm > 0).all()
    assert (after.displacement_nm < 0.01).all()  # strain of 0.004 nm a coordinate goes, the structure stays


def test_minimized_energy_is_without_the_restraint(frames, model):
    after = model.minimize(frames, Restraint(strength_kj_per_mol_nm2=1e5))
    torch.testing.assert_close(after.energy, model.energies(after.x), rtol=0, atol=1e-9)


def test_a_stronger_restraint_moves_less_and_keeps_more_strain(frames, model):
    weak, strong = (model.minimize(frames, Restraint(strength_kj_per_mol_nm2=k)) for k in (1e3, 1e6))
    assert (strong.displacement_nm < weak.displacement_nm).all()
    assert (strong.energy > weak.energy).all()


def test_minimization_of_a_minimum_changes_nothing(alanine, model):
    x = alanine[1][None]
    after = model.minimize(x, Restraint())
    assert after.displacement_nm.item() < 1e-5
    torch.testing.assert_close(after.energy, model.energies(x), rtol=0, atol=1e-5)


def test_energies_after_a_minimization_are_still_without_restraint(frames, model):
    before = model.energies(frames)
    model.minimize(frames[:3], Restraint())
    assert torch.equal(model.energies(frames), before)


def test_a_non_finite_frame_is_nan_and_the_others_keep_their_place(frames, model):
    x = frames[:6].clone()
    x[2, 5, 1] = torch.nan
    x[4, 0, 0] = torch.inf
    bad = torch.tensor([False, False, True, False, True, False])
    expected = model.energies(frames[:6])
    energy, relaxed = model.energies(x), model.minimize(x, Restraint())
    assert torch.equal(energy.isnan(), bad)
    assert torch.equal(energy[~bad], expected[~bad])
    assert torch.equal(relaxed.energy.isnan(), bad)
    assert torch.equal(relaxed.displacement_nm.isnan(), bad)
    assert torch.equal(model.forces(x).isnan().flatten(1).any(1), bad)


def test_coincident_atoms_give_nan_not_a_crash(frames, model):
    x = frames[:2].clone()
    x[0] = 0.0
    assert torch.equal(model.energies(x).isnan(), torch.tensor([True, False]))
    assert torch.equal(model.minimize(x, Restraint()).energy.isnan(), torch.tensor([True, False]))


def test_no_frames_give_no_energies(frames, model):
    assert model.energies(frames[:0]).shape == (0,)


def test_wrong_number_of_atoms_is_refused(frames, model):
    with pytest.raises(ValidationError, match=r"got frames of shape \(40, 21, 3\), expected \(frames, 22, 3\)"):
        model.energies(frames[:, :21])


def test_inputs_are_not_changed(frames, model):
    x = frames.clone()
    model.minimize(x, Restraint())
    assert torch.equal(x, frames)


def test_profile_gives_barriers_both_ways():
    profile = Profile(torch.tensor([[1.0, 5.0, 40.0, 7.0], [1.0, 60.0, 2.0, 7.0]]))
    assert profile.highest_image.tolist() == [2, 1]
    assert profile.barrier_forward.tolist() == [39.0, 59.0]
    assert profile.barrier_backward.tolist() == [33.0, 53.0]
    assert profile.above_start[0].tolist() == [0.0, 4.0, 39.0, 6.0]
    assert profile.above_end[0].tolist() == [-6.0, -2.0, 33.0, 0.0]


def test_barrier_of_a_path_with_an_unknown_energy_is_unknown():
    profile = Profile(torch.tensor([[1.0, torch.nan, 40.0, 7.0], [torch.nan] * 4]))
    assert profile.barrier_forward.isnan().all()
    assert profile.barrier_backward.isnan().all()
    assert profile.highest_image.tolist() == [2, 0]


def test_path_energies_keep_paths_and_images(frames, model):
    paths = frames.unflatten(0, (4, 10))
    result = path_energies(model, paths, Restraint())
    assert torch.equal(result.raw.energy, model.energies(frames).reshape(4, 10))
    assert result.minimized is not None
    assert result.minimized.energy.shape == result.displacement_nm.shape == (4, 10)
    assert result.protocol == EnergyProtocol(FORCE_FIELD, "Reference", "double")
    assert path_energies(model, paths, None).minimized is None


def test_auto_takes_reference_for_small_molecules_whatever_the_load(alanine):
    chosen = EnergyModel(alanine[0], FORCE_FIELD, alanine[1])
    assert (chosen.platform, chosen.milliseconds) == ("Reference", {})


def test_auto_takes_the_fastest_platform_and_keeps_the_timings(alanine, monkeypatch):
    monkeypatch.setattr("tpsctl.molecule.openmm_platforms.SMALL_ATOMS", 0)
    chosen = EnergyModel(alanine[0], FORCE_FIELD, alanine[1])
    assert chosen.milliseconds[chosen.platform] == min(chosen.milliseconds.values())
    assert {"Reference", "CPU"} <= set(chosen.milliseconds)


def test_platforms_agree(alanine, frames, model):
    other = EnergyModel(alanine[0], FORCE_FIELD, alanine[1], platform="CPU")
    # single precision: 1e-6 of energy terms of some hundred kJ/mol each
    torch.testing.assert_close(other.energies(frames), model.energies(frames), rtol=1e-5, atol=1e-2)


def test_implicit_solvent_lowers_the_energy_of_a_polar_molecule(alanine):
    topology, x = alanine
    vacuum = EnergyModel(topology, ("amber14-all.xml",), x, platform="Reference")
    solvent = EnergyModel(topology, ("amber14-all.xml", "implicit/gbn2.xml"), x, platform="Reference")
    assert solvent.energies(x[None]).item() < vacuum.energies(x[None]).item() - 20


def test_unknown_platform_is_refused(alanine):
    with pytest.raises(ValidationError, match='OpenMM platform: got "Cuda", expected auto or one of Reference'):
        EnergyModel(alanine[0], FORCE_FIELD, alanine[1], platform="Cuda")


class TestForceField:
    """What a user reads when force field and structure do not fit."""

    def without(self, topology, *names):
        kept = [i for i, atom in enumerate(topology.atoms) if (atom.residue_name, atom.name) not in names]
        return topology.select(kept)

    def message(self, topology, force_field=FORCE_FIELD):
        with pytest.raises(ValidationError) as caught:
            create_system(topology, force_field)
        return str(caught.value)

    def test_missing_hydrogen_is_named(self, alanine):
        assert self.message(self.without(alanine[0], ("ALA", "HB2"))) == (
            "no template found in amber99sbildn.xml for residue ALA2 of chain A: it lacks HB2. "
            "Add the hydrogens (tpsctl prepare IN OUT)."
        )

    def test_missing_heavy_atom_is_named(self, alanine):
        hydrogens = [("ALA", f"HB{k}") for k in (1, 2, 3)]
        found = self.message(self.without(alanine[0], ("ALA", "CB"), *hydrogens))
        assert "ALA2 of chain A: it lacks CB, HB1, HB2, HB3. Complete the structure" in found

    def test_unknown_residue_is_named(self, alanine):
        topology = alanine[0]
        renamed = tuple(replace(a, residue_name="LIG") if a.residue_name == "NME" else a for a in topology.atoms)
        cut = Topology((*renamed[:-1],), tuple(b for b in topology.bonds if topology.n_atoms - 1 not in b))
        found = self.message(cut)
        assert "residue LIG3 of chain A: the force field does not know this residue. Add an XML file" in found

    def test_missing_bond_is_explained(self, alanine):
        topology = alanine[0]
        cut = [b for b in topology.bonds if {topology.atoms[i].residue_name for i in b} != {"ALA", "NME"}]
        found = self.message(Topology(topology.atoms, tuple(cut)))
        assert "residue ALA2 of chain A: its atoms are right but its bonds are not. Cap or close the chain" in found

    def test_misspelt_file_gets_a_suggestion(self, alanine):
        found = self.message(alanine[0], ("amber99sbildm.xml",))
        assert 'Did you mean "amber99sbildn.xml"?' in found

    def test_no_file_is_refused(self, alanine):
        assert "expected at least one" in self.message(alanine[0], ())

    def test_solvent_without_protein_is_refused(self, alanine):
        assert "implicit/gbn2.xml" in self.message(alanine[0], ("implicit/gbn2.xml",))

    def test_coarse_grained_beads_are_recognized(self):
        chain = Topology(tuple(Atom("CA", "C", "GLY", i, "A", 12.0) for i in range(4)), ((0, 1), (1, 2), (2, 3)))
        assert "it is for all atoms, and the structure has 4 C-alpha atoms only. Reconstruct" in self.message(chain)
        beads = Topology(tuple(Atom(f"B{i}", "", "BED", i, "A", 50.0) for i in range(2)), ((0, 1),))
        assert "it is for all atoms, and the structure has 2 coarse-grained beads. Reconstruct" in self.message(beads)

    def test_residues_with_one_number_are_kept_apart(self, alanine):
        topology = alanine[0]
        twice = tuple(replace(atom, residue_id=1, residue_name="UNK") for atom in topology.atoms)
        found = list(residues(Topology((*twice[:5], *twice[:5]), ())))
        assert [len(indices) for indices in found] == [5, 5]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            ("amber14-all.xml", "amber99sbildn.xml"),
            r"more than one of these files defines the residue ALA\. Name one force field only",
        ),
        (
            ("amber14-all.xml", "implicit/gbn2.xml", "implicit/obc2.xml"),
            r"gbn2\.xml \+ obc2\.xml: each of these files adds an implicit solvent, and their energies would add up",
        ),
    ],
)
def test_force_fields_that_do_not_belong_together(alanine, files, message):
    with pytest.raises(ValidationError, match=message):
        EnergyModel(alanine[0], files, alanine[1], platform="Reference", threads=1)
