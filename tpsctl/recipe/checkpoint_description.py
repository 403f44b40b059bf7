"""The small YAML file that describes a bare state dict, so that it can be used like any other checkpoint."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from tpsctl.recipe.section import Section, key


class GraphTransformerSection(Section):
    """Inputs of the nodes and pairs of a two-for-one graph transformer; its sizes follow from the tensors' shapes."""

    use_intrinsic_coords: bool = key("Pairs see x_j - x_i.")
    use_abs_coords: bool = key("Nodes see their own position.")
    use_distances: bool = key("Pairs see |x_i - x_j|^2.")


class PerceptronSection(Section):
    """A perceptron of five layers, as published for the Mueller-Brown surface."""

    names: Literal["fc{}.", "main.{}."] = key("Names of the layers: fc1 ... fc5, or main.0, main.2 ... main.8.")
    activation: Literal["gelu", "swish"] = key("Activation between them.")


class CheckpointDescription(Section):
    """Describes the network in a bare state dict."""

    weights: Path = key("torch.save file with the state dict, or with a dictionary that holds it.")
    state_dict: str | None = key("Key of the state dict in that dictionary.", default=None)
    prefix: str = key("Prefix of the names of the tensors.", default="")
    kind: Literal["diffusion", "flow_matching"] = key("How the network was trained.")
    length_angstrom: float | tuple[float, ...] = key("One network unit; a list for one per dimension.", "Angstrom")
    origin_angstrom: float | tuple[float, ...] = key("Position of the network's origin.", "Angstrom", default=0.0)
    temperature_k: float | None = key("Temperature of the training data.", "K", default=None, gt=0)
    diffusion_steps: int | None = key("Levels of the cosine schedule; diffusion only.", "1", default=None, ge=2)
    graph_transformer: GraphTransformerSection | None = Field(
        default=None, description="The network, if it is a graph transformer."
    )
    perceptron: PerceptronSection | None = Field(default=None, description="The network, if it is a perceptron.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        lengths = self.length_angstrom if isinstance(self.length_angstrom, tuple) else (self.length_angstrom,)
        if not lengths or min(lengths) <= 0:
            raise ValueError("length_angstrom: expected values > 0 (Angstrom)")
        if (self.graph_transformer is None) == (self.perceptron is None):
            raise ValueError("give exactly one of graph_transformer and perceptron")
        if (self.kind == "diffusion") != (self.diffusion_steps is not None):
            raise ValueError("diffusion_steps belongs to kind: diffusion, and only there")
        return self
