"""Generated passwords: made once, kept, for their owner alone."""

from __future__ import annotations

import json
import stat

from cluster.stack import passwords


def test_passwords_are_made_once_and_kept(tmp_path):
    first = passwords.ensure(tmp_path)
    assert passwords.ensure(tmp_path) == first
    assert set(first) == set(passwords.NAMES)


def test_no_two_are_alike(tmp_path):
    made = passwords.ensure(tmp_path)
    assert len(set(made.values())) == len(made)


def test_the_file_is_for_its_owner_alone(tmp_path):
    passwords.ensure(tmp_path)
    assert stat.S_IMODE((tmp_path / passwords.SECRETS_FILE).stat().st_mode) == 0o600


def test_a_new_kind_of_password_is_added_to_an_old_file(tmp_path):
    (tmp_path / passwords.SECRETS_FILE).write_text(json.dumps({"ray_token": "known"}))
    made = passwords.ensure(tmp_path)
    assert made["ray_token"] == "known"
    assert set(made) == set(passwords.NAMES)
