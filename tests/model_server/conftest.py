import contextlib

import pytest

from bench import Bench


@pytest.fixture(scope="session")
def bench():
    with contextlib.ExitStack() as stack:
        yield Bench(stack)
