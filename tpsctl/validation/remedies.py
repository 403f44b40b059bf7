"""What to do about each fault of a path, in words."""

from collections.abc import Mapping

from tpsctl.validation.tops import PathTops, TopVerdict

GATE = {
    "finite": "Use smaller steps (learning rate, action.dt_ps) or another guess.",
    "bonds": "Use path.guess.kind: torsion, which keeps bonds, and a smaller action.dt_ps; or a prior that is trained "
    "for this molecule.",
    "clashes": "Use other guesses (path.guess.kind: torsion with more path.screen.max_draws, or waypoints), or a "
    "smaller action.dt_ps.",
    "chirality": "Use path.guess.kind: torsion, which keeps handedness; a prior may prefer mirror images at a large "
    "diffusion time, so lower it.",
    "winding": "Use path.guess.kind: torsion, which keeps the order of equivalent atoms, or a smaller diffusion time.",
    "omega": "Use path.guess.kind: torsion with the peptide bonds as in the ends, or waypoints; a smaller diffusion "
    "time also keeps them.",
    "jump": "Images jump over what they do not resolve: raise path.images, or lower action.dt_ps (of the last stage), "
    "or use optimize.method: route.",
}
"""Remedies by check of the geometry gate."""

LANDSCAPES = {"prior": "the prior's energy", "force_field": "the force field"}
"""What landscapes are called in messages."""


def gate_remedy(verdict: str) -> str:
    """What to do about a verdict of the gate, e.g. "jump at image 4: ..."; "" if it is valid."""
    if verdict == "valid":
        return ""
    names = dict.fromkeys(fault.split(maxsplit=1)[0].rstrip(":") for fault in verdict.split("; "))
    return " ".join(f"{name}: {GATE[name]}" for name in names if name in GATE)


def saddle_remedy(tops: Mapping[str, PathTops]) -> str:
    """What to do about tops that are no saddles, by landscape; "" if all of them are.

    What is wrong on the prior's energy is mended by other settings. If only the force field says so, the prior is to
    blame.
    """
    fine = (TopVerdict.SADDLE, TopVerdict.NOT_JUDGED)
    wrong = {name: top for name, top in tops.items() if top.verdict not in fine}
    if not wrong:
        return ""
    name, top = next(iter(wrong.items()))
    text = f"the top is no saddle of {LANDSCAPES[name]}: {_found(top)}."
    if "prior" in tops and "prior" not in wrong:
        return (
            f"{text} It is one of the prior's energy, so the prior differs from the force field here: lower the "
            f"diffusion time, or train it with forces.{_next(top)}"
        )
    return f"{text} {_CURES[top.verdict]}{_next(top)}"


def _found(tops: PathTops) -> str:
    if not tops.peaks:
        return str(tops.verdict)
    peak = tops.peaks[0]
    there = f"at {peak.energy_kj_per_mol:.2f} kJ/mol, |grad U| {peak.gradient_kj_per_mol_per_nm:.3g} kJ/mol/nm"
    return f"{peak.words} ({there})"


def _next(tops: PathTops) -> str:
    if tops.saddle is None:
        return ""
    first, second = tops.saddle.joins
    return f" The saddle found from there: {tops.saddle.energy_kj_per_mol:.2f} kJ/mol, between {first} and {second}."


_OTHER = "use optimize.method: route, or other guesses (path.guess: more paths, long_way, waypoints)."
_CURES = {
    TopVerdict.NOT_STATIONARY: "The path cuts a corner, or its images jump: use optimize.method: route, or more "
    "path.images with a larger action.dt_ps.",
    TopVerdict.INDEX_2: f"Lower passes lie beside this hilltop, and waiting on it costs no action: {_OTHER}",
    TopVerdict.HILLTOP: f"Lower passes lie beside this hilltop, and waiting on it costs no action: {_OTHER}",
    TopVerdict.MINIMUM: f"Images are too few to resolve the barrier: raise path.images, or {_OTHER}",
    TopVerdict.NO_PEAK: "No image is higher than both ends: raise path.images, or minimize the ends "
    "(endpoints.minimize: true).",
    TopVerdict.UNKNOWN: "Energies are unknown or absurdly high: look for clashes, and use a smaller action.dt_ps.",
}
