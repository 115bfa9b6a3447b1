"""Folders that nobody else may have made, or may enter."""

from __future__ import annotations

import os
import stat

import pytest

from cluster.stack.context import ForeignFolderError, own_folder


def test_a_folder_of_ours_is_closed_to_others(tmp_path):
    folder = tmp_path / "ray"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    assert stat.S_IMODE(own_folder(folder).stat().st_mode) == 0o700


def test_a_link_to_another_folder_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "ray").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ForeignFolderError):
        own_folder(tmp_path / "ray")


def test_a_file_in_its_place_is_refused(tmp_path):
    (tmp_path / "ray").touch()
    with pytest.raises(ForeignFolderError):
        own_folder(tmp_path / "ray")


def test_a_folder_of_somebody_else_is_refused(tmp_path, monkeypatch):
    (tmp_path / "ray").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: (tmp_path / "ray").stat().st_uid + 1)
    with pytest.raises(ForeignFolderError):
        own_folder(tmp_path / "ray")
