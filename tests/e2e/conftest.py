"""The embedded cluster with the operator in its pod, as `make demo` leaves it; a namespace for each scenario."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.customer import Customer


@pytest.fixture(scope="session")
def kubeconfig() -> Path:
    from e2e.cluster import embedded
    from e2e.demo.install import install_operator, load_images

    embedded.up()
    load_images(["operator", "engine", "postgresql"])
    path = embedded.kubeconfig()
    install_operator(path)
    return path


@pytest.fixture
def customer(kubeconfig: Path) -> Iterator[Customer]:
    found = Customer(kubeconfig, f"e2e-{secrets.token_hex(3)}")
    found.set_up()
    yield found
    found.tear_down()
