"""Tops of paths on landscapes whose saddles are known."""

from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tpsctl.endpoints.load import load_structure
from tpsctl.landscape.coordinates import BondedCoordinates, Cartesian
from tpsctl.landscape.equivalence import Equivalence, equivalence_of
from tpsctl.landscape.stationary import evaluate
from tpsctl.landscape.surface import ForceFieldSurface, FunctionSurface
from tpsctl.molecule.geometry import dihedral
from tpsctl.molecule.openmm_contexts import ContextPool
from tpsctl.molecule.openmm_system import as_source
from tpsctl.validation.saddle import NEAR_KJ_PER_MOL, NEAR_NM, TopJudge, peaks_of_path
from tpsctl.validation.tops import PathTops, TopVerdict

DATA = Path(__file__).parent / "data"


def judge_of(topology, ends, force_field):
    made = as_source(force_field).create(topology)
    surface = ForceFieldSurface(ContextPool(made.system, threads=1).energies_and_forces, made.masses_amu)
    return TopJudge(surface, BondedCoordinates(topology), equivalence_of(topology, ends[0]), ends)


@pytest.fixture(scope="module")
def peptide():
    """A function from the name of a peptide to its stored path and its judge."""

    def make(name):
        images = [load_structure(DATA / f"{name}_path.pdb", frame=k) for k in range(7)]
        path = torch.stack([image.x for image in images])[None]
        judge = judge_of(images[0].topology, path[0, [0, -1]], ("amber14-all.xml",))
        return SimpleNamespace(path=path, judge=judge)

    return make


def test_a_cut_corner_is_no_stationary_point_and_the_saddle_next_to_it_is_named(peptide):
    proline = peptide("ace_pro_nme")
    (found,) = proline.judge.judge(proline.path, [0])
    assert found.verdict is TopVerdict.NOT_STATIONARY
    assert found.peaks[0].energy_kj_per_mol == pytest.approx(75.2, abs=0.1)
    assert found.peaks[0].gradient_kj_per_mol_per_nm > 20
    # 69.752 is the reference above the exact minimum; the start in the file is 0.01 above it, by rounding to 1e-4 nm
    assert found.saddle.energy_kj_per_mol == pytest.approx(69.75, abs=0.03)
    assert found.saddle.gradient_kj_per_mol_per_nm <= 1e-3
    assert found.saddle.joins == ("A", "B")


def test_a_hilltop_of_index_2_is_told_from_the_saddle_beside_it(peptide):
    dipeptide = peptide("ace_ala_ala_nme")
    (found,) = dipeptide.judge.judge(dipeptide.path, [0])
    assert (found.verdict, found.words) == (TopVerdict.INDEX_2, "index 2")
    assert found.peaks[0].index == 2
    assert found.peaks[0].stationary_energy_kj_per_mol == pytest.approx(41.96, abs=0.03)  # rounding, as above
    assert sum(wavenumber < -1 for wavenumber in found.peaks[0].wavenumbers_per_cm) == 2
    assert found.saddle.energy_kj_per_mol == pytest.approx(41.814, abs=0.03)


def butane_path(root, images=11):
    """Butane from anti to gauche by turning its middle bond, and its judge."""
    folder = root / "tests" / "landscape" / "molecules"
    anti, gauche = (load_structure(folder / f"butane_{name}.pdb") for name in ("anti", "gauche"))
    topology = anti.topology
    carbons = [i for i, atom in enumerate(topology.atoms) if atom.element == "C"]
    chain = next(t for t in topology.torsions if set(t) == set(carbons))
    from tpsctl.landscape.guesses import TurningGuesses

    ends = torch.stack((anti.x, gauche.x))
    path = TurningGuesses(topology).draw(ends, images, torch.Generator().manual_seed(0), plain=True)
    return SimpleNamespace(
        path=path[None],
        judge=judge_of(topology, path[[0, -1]], (str(folder / "butane.xml"),)),
        torsion=lambda x: dihedral(x, torch.tensor([chain]))[..., 0].rad2deg(),
    )


def test_a_turned_butane_passes_a_saddle_though_its_bonds_are_strained(root):
    """Interpolation strains bonds by 1 kJ/mol; this is no reason to deny that the path passes the saddle."""
    butane = butane_path(root)
    (found,) = butane.judge.judge(butane.path, [0])
    assert found.verdict is TopVerdict.SADDLE
    assert found.peaks[0].stationary_energy_kj_per_mol == pytest.approx(13.755, abs=0.02)  # rounding of the files
    assert found.peaks[0].distance_nm <= NEAR_NM
    assert found.saddle.joins == ("A", "B")


def test_a_top_that_is_lifted_by_more_than_the_limit_is_no_saddle(root):
    """The same path, its highest image displaced along the soft torsion until it is too far in energy."""
    butane = butane_path(root, images=41)
    energy = butane.judge.energies(butane.path)[0]
    top = int(energy.argmax())
    far = butane.path[:, [0, top - 9, 40]]  # a path that skips the top: its highest image lies on the slope
    (found,) = butane.judge.judge(far, [0])
    assert energy[top] - energy[top - 9] > NEAR_KJ_PER_MOL
    assert found.verdict is TopVerdict.NOT_STATIONARY


def test_verdicts_do_not_depend_on_the_other_paths_of_a_batch(root):
    butane = butane_path(root)
    both = torch.cat((butane.path, butane.path.flip(1)))
    together = butane.judge.judge(both, [0, 1])
    (alone,) = butane.judge.judge(both[1:], [1])
    assert together[1].words == alone.words
    # Newton steps converge quadratically, so rounding of batched products leaves less than 1e-6 kJ/mol
    assert together[1].saddle.energy_kj_per_mol == pytest.approx(alone.saddle.energy_kj_per_mol, abs=1e-6)
    assert together[0].saddle.joins == together[1].saddle.joins == ("A", "B")


def test_a_path_that_only_climbs_has_no_peak_and_an_unknown_energy_is_said():
    surface = FunctionSurface(lambda x: 100 * x[:, 0, 0], masses_amu=[1.0], rigid_motions=False)
    path = torch.linspace(0, 1, 5).reshape(1, 5, 1, 1).expand(1, 5, 1, 3).clone()
    judge = TopJudge(surface, Cartesian(), Equivalence(None), path[0, [0, -1]])
    assert judge.judge(path, [0]) == [PathTops((), None)]
    path[0, 2] = torch.nan
    (found,) = judge.judge(path, [0])
    assert found.verdict is TopVerdict.UNKNOWN


def test_the_top_is_the_highest_image_between_the_ends_however_low():
    assert peaks_of_path(torch.tensor([0.0, 0.1, 0.0])) == [1]
    assert peaks_of_path(torch.tensor([0.0, 5.0, 1.0, 9.0, 0.0])) == [3, 1]
    assert peaks_of_path(torch.tensor([0.0, 1.0, 2.0])) == []


def test_verdicts_survive_json(peptide):
    import json

    proline = peptide("ace_pro_nme")
    (found,) = proline.judge.judge(proline.path, [0])
    assert PathTops.from_json(json.loads(json.dumps(asdict(found)))) == found


def test_energies_of_the_judge_are_those_of_its_surface(peptide):
    proline = peptide("ace_pro_nme")
    expected = evaluate(proline.judge.surface, proline.path[0])[0]
    torch.testing.assert_close(proline.judge.energies(proline.path)[0], expected, atol=0, rtol=0)


def test_atoms_inside_one_another_have_no_known_energy(root):
    butane = butane_path(root)
    butane.path[0, 5, 0] = butane.path[0, 5, 1]  # two carbons at one place
    (found,) = butane.judge.judge(butane.path, [0])
    assert found == PathTops((), None, TopVerdict.UNKNOWN)
