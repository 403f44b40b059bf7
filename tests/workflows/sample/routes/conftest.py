"""Butane for the tests of routes."""

from tests.landscape.conftest import butane  # noqa: F401
