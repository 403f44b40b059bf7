"""Quantities of configurations that an experiment averages, or that tell states apart; each is differentiable."""
