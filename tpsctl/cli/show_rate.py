"""Shows committor functional, reactive flux and rate constant: three numbers, each with its definition."""

from typing import Any

from tpsctl.console import print_table


def show(facts: dict[str, Any]) -> None:
    """Print the table of a rate."""
    uniform = facts.get("diffusion_nm2_per_ps")
    flux, constant = "sum_a D_a E|grad_a q|^2", "reactive flux / E[1 - q]"
    rows = []
    if uniform is not None:
        flux = "D E|grad q|^2"
        rows.append(["functional", "1/2 E|grad q|^2", _number(facts["functional_per_nm2"]), "1/nm^2", "-"])
    rows += [
        ["reactive flux", flux, _number(facts["flux_per_ps"]), "1/ps", _range(facts["flux_interval_per_ps"])],
        ["population that comes from A", "E[1 - q]", _number(facts["population_a"]), "1", "-"],
        [
            "rate constant A to B",
            constant,
            _number(facts["rate_per_ps"]),
            "1/ps",
            _range(facts["rate_interval_per_ps"]),
        ],
    ]
    if uniform is not None:
        rows.append(["rate constant / D", "", _number(facts["rate_per_ps"] / uniform), "1/nm^2", "-"])
    dynamics = f"D = {uniform:g} nm^2/ps" if uniform is not None else f"D = kT/(m {facts['friction_per_ps']:g}/ps)"
    notes = [
        f"states: {facts['states']}; {dynamics}; {facts['temperature_k']:g} K",
        f"samples: {facts['effective_samples']:.0f} effective, {facts['transition_samples']} with a committor of "
        "0.05 to 0.95; they took no part in the fit",
        "the flux is an upper bound: the fitted committor is not the best one",
        *(f"note: {note}" for note in facts["notes"]),
    ]
    columns = ["quantity", "definition", "value", "unit", "95 % interval"]
    print_table(f"{facts['name']}: rate from equilibrium samples", columns, rows, notes=notes)


def _number(value: float) -> str:
    return f"{value:.4g}"


def _range(limits: tuple[float, float]) -> str:
    return f"{limits[0]:.3g} to {limits[1]:.3g}"
