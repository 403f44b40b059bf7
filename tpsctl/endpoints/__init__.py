"""Structures in, two matched and superposed ends out."""

from tpsctl.endpoints.ends import Ends, align
from tpsctl.endpoints.load import load_path, load_structure
from tpsctl.endpoints.match import AtomMap, match
from tpsctl.endpoints.structure import Structure

__all__ = ["AtomMap", "Ends", "Structure", "align", "load_path", "load_structure", "match"]
