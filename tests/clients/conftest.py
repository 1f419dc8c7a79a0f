import pytest

from rig import running_rig


@pytest.fixture(scope="session")
def rig():
    with running_rig() as running:
        yield running


def pytest_generate_tests(metafunc):
    """A contract's tests run with every style of the class that they are inherited by."""
    styles = getattr(metafunc.cls, "styles", None)
    marked = any(mark.args[0] == "style" for mark in metafunc.definition.iter_markers("parametrize"))
    if styles and not marked and "style" in metafunc.fixturenames:
        metafunc.parametrize("style", styles)
