"""What all tests share: one thread, so that workers do not compete, and no stray files."""

import pytest
import torch

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip GPU tests where there is no GPU."""
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="PyTorch sees no CUDA GPU")
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(skip)
