import pytest

from rig import running_rig


@pytest.fixture(scope="session")
def rig():
    with running_rig() as running:
        yield running
