"""A path on the Müller–Brown surface from Python, without a recipe; shown in the documentation (docs/api/index.md)."""

# --8<-- [start:code]
import torch

from tpsctl.action import Dynamics, TruncatedAction
from tpsctl.guess import LinearGuess
from tpsctl.optimize import Convergence, LevenbergMarquardt, Stage, run_stages
from tpsctl.prior.mueller_brown import MuellerBrownPrior

prior = MuellerBrownPrior(temperature_k=120.27)  # kT = 1 kJ/mol
dynamics = Dynamics.uniform(dt_ps=0.1, diffusion_nm2_per_ps=10.0, n_beads=1)
action = TruncatedAction(prior.at(0.0), dynamics)

ends = torch.tensor([[[23.073, 31.072]], [[41.897, 8.463]]], dtype=torch.float64)  # the two deep minima, nm
guess = LinearGuess().draw(ends, 100, [torch.Generator()])  # (path, image, bead, dimension)

enough = Convergence(action_tolerance=1e-6, gradient_tolerance_per_nm=0.01)
stage = Stage("minimize", LevenbergMarquardt(max_steps=200, convergence=enough), action)
paths, (outcome,) = run_stages([stage], guess)

print(f"{outcome.status[0]}: highest energy {prior.energy(paths[0]).max():.2f} kJ/mol")
# --8<-- [end:code]
