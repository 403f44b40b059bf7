"""Makes of each section of a recipe the object that does the work; `tpsctl sample` and `tpsctl check` share this."""

from tpsctl.workflows.sample.assemble.chosen import Chosen, choose, choose_images
from tpsctl.workflows.sample.assemble.guess import make_faults, make_guess, make_repair, path_seed
from tpsctl.workflows.sample.assemble.method import why_no_routes, with_method
from tpsctl.workflows.sample.assemble.optimization import make_action, make_dynamics, make_optimizer, make_stages
from tpsctl.workflows.sample.assemble.prior import make_prior, precision_of
from tpsctl.workflows.sample.assemble.system import System, make_system
from tpsctl.workflows.sample.assemble.validation import make_energy_model, make_gate

__all__ = [
    "Chosen",
    "System",
    "choose",
    "choose_images",
    "make_action",
    "make_dynamics",
    "make_energy_model",
    "make_faults",
    "make_gate",
    "make_guess",
    "make_optimizer",
    "make_prior",
    "make_repair",
    "make_stages",
    "make_system",
    "path_seed",
    "precision_of",
    "why_no_routes",
    "with_method",
]
