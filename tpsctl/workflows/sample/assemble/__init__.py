"""Makes of each section of a recipe the object that does the work; `tpsctl sample` and `tpsctl check` share this."""

from tpsctl.workflows.sample.assemble.chosen import Chosen, choose, choose_images
from tpsctl.workflows.sample.assemble.guess import make_faults, make_guess, make_repair, path_seed
from tpsctl.workflows.sample.assemble.landscapes import (
    MOST_ATOMS,
    judges_saddles,
    make_landscapes,
    prior_is_force_field,
    why_no_saddles,
)
from tpsctl.workflows.sample.assemble.method import why_no_routes, with_method
from tpsctl.workflows.sample.assemble.minimized import end_landscape, minimize_ends
from tpsctl.workflows.sample.assemble.optimization import make_action, make_dynamics, make_optimizer, make_stages
from tpsctl.workflows.sample.assemble.prior import make_prior, precision_of
from tpsctl.workflows.sample.assemble.system import System, make_system
from tpsctl.workflows.sample.assemble.validation import make_energy_model, make_gate

__all__ = [
    "MOST_ATOMS",
    "Chosen",
    "System",
    "choose",
    "choose_images",
    "end_landscape",
    "judges_saddles",
    "make_action",
    "make_dynamics",
    "make_energy_model",
    "make_faults",
    "make_gate",
    "make_guess",
    "make_landscapes",
    "make_optimizer",
    "make_prior",
    "make_repair",
    "make_stages",
    "make_system",
    "minimize_ends",
    "path_seed",
    "precision_of",
    "prior_is_force_field",
    "why_no_routes",
    "why_no_saddles",
    "with_method",
]
