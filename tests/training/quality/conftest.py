"""Thermal frames of the molecule of four atoms."""

import pytest
import torch


@pytest.fixture
def thermal(peroxide):
    """`thermal(count)` gives frames, nm, of the peroxide energy in kT, by Metropolis from frames near it."""

    def frames(count):
        x, _ = peroxide.frames(count)
        g = torch.Generator().manual_seed(5)
        energy = peroxide.energy(x)
        for n in range(600):
            trial = x + (1e-3, 3e-3)[n % 2] * torch.randn(x.shape, generator=g)
            after = peroxide.energy(trial)
            accept = torch.rand(len(x), generator=g) < (energy - after).exp()
            x, energy = torch.where(accept[:, None, None], trial, x), torch.where(accept, after, energy)
        return x

    return frames
