"""A folder with a small model, and a file of texts."""

from pathlib import Path

import hub_repos
import pytest
import torch

from saebench.hub.texts import FileSource

torch.set_num_threads(1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in hub_repos.gpt2_model(16, 2, heads=2).items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.fixture
def source(tmp_path: Path) -> FileSource:
    path = tmp_path / "texts.txt"
    path.write_text("snake cat dog bird\n\nfox newt owl goat hare")
    return FileSource(path)
