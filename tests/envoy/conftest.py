import os
import sys
from pathlib import Path

import pytest

# The scripted model server and what starts programs.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "clients"))

from gateway import Gateway, running_gateway  # noqa: E402
from recordings import Recorded, serving  # noqa: E402


@pytest.fixture(scope="session")
def recorded() -> Recorded:
    with serving(Recorded()) as server:
        yield server


@pytest.fixture(scope="session")
def shadow(tmp_path_factory, recorded) -> Gateway:
    with running_gateway(tmp_path_factory.mktemp("shadow"), upstream=recorded.address) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def enforcing(tmp_path_factory, recorded) -> Gateway:
    with running_gateway(tmp_path_factory.mktemp("enforcing"), upstream=recorded.address, mode="enforce") as gateway:
        yield gateway


@pytest.fixture(scope="session")
def stories(tmp_path_factory) -> Gateway:
    """Before the model server that plays the clients' scenarios."""
    with running_gateway(tmp_path_factory.mktemp("stories"), mode="enforce") as gateway:
        yield gateway
