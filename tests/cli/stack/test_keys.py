"""The stack's secrets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from cli.stack.keys import FILE, load_keys, load_or_make_keys, store_keys


def test_secrets_are_made_once_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    made = load_or_make_keys(tmp_path)

    assert load_or_make_keys(tmp_path) == load_keys(tmp_path) == made
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_a_secret_of_a_newer_release_is_added_and_the_others_stay(tmp_path: Path) -> None:
    before = load_or_make_keys(tmp_path)
    content = json.loads((tmp_path / FILE).read_text())
    del content["encryption_keys"]
    (tmp_path / FILE).write_text(json.dumps(content))

    assert load_keys(tmp_path) is None
    after = load_or_make_keys(tmp_path)

    assert after.role_secret == before.role_secret
    assert after.jwt_secret == before.jwt_secret
    assert len(after.encryption_keys) == 64
    assert load_keys(tmp_path) == after


def test_changed_secrets_are_read_back(tmp_path: Path) -> None:
    before = load_or_make_keys(tmp_path)

    store_keys(tmp_path, replace(before, encryption_keys=f"{'a' * 64},{before.encryption_keys}"))

    kept = load_or_make_keys(tmp_path)
    assert kept.encryption_keys == f"{'a' * 64},{before.encryption_keys}"
    assert kept.role_secret == before.role_secret
