"""Run by Python with OpenPathSampling: five one-way shooting moves from an exported path of alanine dipeptide.

Usage: shoot_with_openpathsampling.py FOLDER A B C D, with load.py in the folder, and the atoms of phi; prints JSON.
"""

import json
import random
import sys

import numpy as np
import openmm
import openpathsampling as paths
from openmm import app, unit
from openpathsampling.engines import openmm as ops_openmm

folder, atoms = sys.argv[1], [int(word) for word in sys.argv[2:]]
sys.path.insert(0, folder)
from load import load_path  # noqa: E402

trajectory = load_path(0)
stored = np.load(f"{folder}/path_0000.npz")
first = trajectory[0]

pdb = app.PDBFile(f"{folder}/topology.pdb")
system = app.ForceField("amber99sbildn.xml").createSystem(pdb.topology, constraints=None)
integrator = openmm.LangevinMiddleIntegrator(300 * unit.kelvin, 10 / unit.picosecond, 1 * unit.femtosecond)
integrator.setRandomNumberSeed(1)
options = {"n_steps_per_frame": 5, "n_frames_max": 4000}
engine = ops_openmm.Engine(first.topology, system, integrator, options=options, openmm_properties={})
engine.initialize("Reference")
engine.name = "engine"


def phi(snapshot):
    x = snapshot.xyz[atoms]
    b = np.diff(x, axis=0)
    n = np.cross(b[:2], b[1:])
    return float(np.degrees(np.arctan2(np.dot(np.cross(*n), b[1]) / np.linalg.norm(b[1]), np.dot(*n))))


cv = paths.FunctionCV("phi", phi)
start = paths.CVDefinedVolume(cv, -180, -50).named("A")
end = paths.CVDefinedVolume(cv, 50, 180).named("B")
network = paths.TPSNetwork(start, end)
between = [k for k, s in enumerate(trajectory) if not (start(s) or end(s))]
inside = trajectory[between[0] - 1 : between[-1] + 2]
(ensemble,) = network.sampling_ensembles
assert ensemble(inside), "the exported path joins both states"
mover = paths.OneWayShootingMover(ensemble, paths.UniformSelector(), engine)

random.seed(1)
np.random.seed(1)  # noqa: NPY002
sample_set = paths.SampleSet([paths.Sample(replica=0, trajectory=inside, ensemble=ensemble)])
accepted, lengths = [], []
for _ in range(5):
    change = mover.move(sample_set)
    sample_set = sample_set.apply_samples(change.results)
    accepted.append(bool(change.accepted))
    lengths.append(len(sample_set[0].trajectory))
    assert ensemble(sample_set[0].trajectory), "every path of the ensemble joins both states"
print(  # noqa: T201
    json.dumps(
        {
            "frames": len(trajectory),
            "positions": float(np.abs(np.array([s.xyz for s in trajectory]) - stored["positions_nm"]).max()),
            "velocities": float(
                max(
                    np.abs(s.velocities.value_in_unit(unit.nanometer / unit.picosecond) - v).max()
                    for s, v in zip(trajectory, stored["velocities_nm_per_ps"], strict=True)
                )
            ),
            "accepted": accepted,
            "lengths": lengths,
        }
    )
)
