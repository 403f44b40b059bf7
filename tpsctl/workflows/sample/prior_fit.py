"""Findings of `check` on whether the prior fits the ends: by its noise, by the force field, and by its checkpoint.

A structure that is typical for a generative prior has a score well below 1 / (noise width), whereas noise has just
this. Against a force field the score is compared with force / kT. In equilibrium a coordinate's force fluctuates by

    f_th = sqrt( tr H / (3 N kT) ) ,     H the Hessian of the force field,

340 per nm for a peptide. A prior whose error at a minimum, where the force is zero, is a considerable part of this does
not know the molecule. The embedded priors have errors below 0.04 f_th; one that was trained too shortly had 0.4.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from tpsctl.checkpoints.stored_verdict import NO_VERDICT, read_verdict
from tpsctl.molecule.topology import Topology
from tpsctl.recipe.prior import CheckpointPriorSection
from tpsctl.units import thermal_energy
from tpsctl.validation.energy import EnergyModel
from tpsctl.workflows.sample.plausible import Finding

FITTING, NOISE = 0.3, 1.0
"""Score times noise width above which a structure looks strange to the prior, or no better than noise."""

GOOD_ERROR, WORST_ERROR = 0.1, 0.2
"""Errors of the score at an end, as fractions of f_th, above which a prior is doubtful, or unusable."""

_PROBES = 4
"""Random directions for the trace of H; its relative error is then a few per cent, as for a diagonal matrix it is 0."""

_STEP_NM = 1e-4

_CURES = "Check that it belongs to this molecule and force field, use another diffusion_time, or train it longer."


def noise_fit(score: Float[Tensor, "2 atom dim"], sigma_nm: float) -> Finding:
    """Judge whether the ends fit a generative prior.

    Args:
        score: Score at both ends, 1/nm.
        sigma_nm: Noise width of the diffusion time in use, nm.
    """
    a, b = (_rms(score) * sigma_nm).tolist()
    text = f"rms score x noise width ({sigma_nm:.3g} nm): {a:.2g} at A, {b:.2g} at B; below {FITTING} the ends fit"
    if max(a, b) >= NOISE:
        return Finding("prior fit", "FAIL", f"{text}. An end looks like noise to this prior. {_CURES}")
    return Finding("prior fit", "ok" if max(a, b) < FITTING else "warn", text)


def force_fit(
    model: EnergyModel, score: Float[Tensor, "2 atom 3"], ends: Float[Tensor, "2 atom 3"], temperature_k: float
) -> Finding:
    """Compare the score at both ends with the force of the force field over kT.

    Args:
        model: The force field.
        score: Score at both ends, 1/nm.
        ends: Both ends, nm.
        temperature_k: Temperature of the prior, K.
    """
    kt = thermal_energy(temperature_k)
    force, thermal = model.forces(ends) / kt, thermal_force(model, ends, kt)
    error = _rms(score - force)
    worst = float((error / thermal).max())
    a, b = (f"{e:.3g} of {f:.3g}" for e, f in zip(error.tolist(), _rms(force).tolist(), strict=True))
    text = f"rms deviation from the force field's force/kT: {a} at A, {b} at B (1/nm); {worst:.2g} of the thermal force"
    if not worst <= WORST_ERROR:
        return Finding("prior fit", "FAIL", f"{text}, expected at most {WORST_ERROR}: the prior does not fit. {_CURES}")
    if worst > GOOD_ERROR:
        return Finding("prior fit", "warn", f"{text}, good priors stay below {GOOD_ERROR}")
    return Finding("prior fit", "ok", text)


def thermal_force(model: EnergyModel, x: Float[Tensor, "batch atom 3"], kt: float) -> Float[Tensor, " batch"]:
    """f_th at configurations x (nm), 1/nm, with the trace from random directions (Hutchinson).

    Args:
        model: The force field.
        x: Configurations near minima, nm.
        kt: Thermal energy, kJ/mol.
    """
    generator = torch.Generator().manual_seed(0)
    total = x.new_zeros(len(x))
    for _ in range(_PROBES):
        sign = 2.0 * torch.randint(2, x.shape[1:], generator=generator).to(x) - 1
        change = model.forces(x - _STEP_NM * sign) - model.forces(x + _STEP_NM * sign)
        total += (change * sign).flatten(1).mean(1) / (2 * _STEP_NM)
    return (total / _PROBES / kt).clamp_min(0).sqrt()


def checkpoint_soundness(section: CheckpointPriorSection, topology: Topology | None) -> Iterator[Finding]:
    """The self-test of `tpsctl inspect`, so that a checkpoint is sound for both or for neither, and its own verdict.

    Args:
        section: The prior of the recipe.
        topology: The molecule of the ends, for the verdict of a checkpoint that serves several.
    """
    from tpsctl.workflows.checkpoints import inspect

    report = inspect(Path(section.checkpoint))
    failed = [test for test in report.get("self_test", []) if not test["passed"]]
    if report["sound"]:
        yield Finding("checkpoint", "ok", f"passes the {len(report['self_test'])} tests of `tpsctl inspect`")
    for test in failed:
        text = f"{test['check']}: got {test['value']:.3g}, expected {test['expected']} ({test['how']})"
        yield Finding("checkpoint", "FAIL", f"`tpsctl inspect` calls it unsound: {text}. Train or convert it again.")
    verdict = read_verdict(Path(section.checkpoint), topology)
    if verdict.is_fit is None:
        yield Finding("verdict", "note", NO_VERDICT)
    else:
        yield Finding("verdict", "ok" if verdict.is_fit else "warn", verdict.words)


def _rms(v: Float[Tensor, "batch atom dim"]) -> Float[Tensor, " batch"]:
    return v.flatten(1).square().mean(1).sqrt()
