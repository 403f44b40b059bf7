"""Whether two states leave a top between them: else every shot has arrived before it starts, and p_B says nothing.

A state is a basin from which thermal motion does not escape at once. Neighborhoods of the ends are none where the path
climbs hardly higher than an end: they contain the top, or the molecule leaves them within a vibration.
"""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from tpsctl.errors import RecipeError
from tpsctl.simulation.shooting.states import IN_A, IN_B, TwoStates
from tpsctl.units import thermal_energy

LEAST_DEPTH_KT = 2.0
"""An end that lies less below the top of its path, in units of kT, is no state by itself."""

_REMEDY = (
    "Give states that leave the top between them (--set 'validation.states={A: [...], B: [...]}'), or make a run whose "
    "ends are deeper minima; the minima that a search found are in its minima.csv."
)


def require_separated(
    states: TwoStates,
    path: Float[Tensor, "image bead dim"],
    image: int | None,
    energies_of: Callable[[Tensor], Float[Tensor, " frame"] | None],
    *,
    temperature_k: float,
    chosen: bool,
) -> None:
    """Refuse states that overlap, contain the image that is asked about, or are no basins.

    Args:
        states: Both states.
        path: The path, nm.
        image: The image whose committor is asked for, usually the highest; None for none in particular.
        energies_of: Energies of configurations, kJ/mol; or None if they are unknown.
        temperature_k: Temperature of the shots, K.
        chosen: Whether the user chose the states; the depth of others than neighborhoods of the ends is unknown.

    Raises:
        RecipeError: The states do not tell A from B; the message says which, how deep it is, and what to do.
    """
    both = states.overlap(path).nonzero().flatten().tolist()
    if both:
        raise RecipeError(f"validation.states: A and B overlap: image {both[0]} of the path is in both. {_REMEDY}")
    if image is None:
        return
    where, energies = states.where(path), energies_of(path)
    for name, state, end in (("A", IN_A, 0), ("B", IN_B, -1)):
        depth = None if energies is None else float(energies[image] - energies[end])
        deep = "" if depth is None else _words(name, depth, temperature_k)
        if int(where[image]) == state:
            raise RecipeError(
                f"validation.states.{name}: state {name} contains image {image}, whose committor is asked for{deep}. "
                f"Every shot from there would count as arrived before it starts. {_REMEDY}"
            )
        if depth is not None and not chosen and depth < LEAST_DEPTH_KT * thermal_energy(temperature_k):
            raise RecipeError(
                f"validation.states.{name}: the neighborhood of end {name} is hardly a state{deep}, expected at least "
                f"{LEAST_DEPTH_KT:g} kT. A shot that arrives there leaves it at once, so p_B would say nothing. "
                f"{_REMEDY}"
            )


def _words(name: str, depth: float, temperature_k: float) -> str:
    in_kt = depth / thermal_energy(temperature_k)
    return f": end {name} is {depth:.1f} kJ/mol ({in_kt:.1f} kT at {temperature_k:g} K) below it"
