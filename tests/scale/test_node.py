"""What a node checks before it begins; what it does then is tested on a cluster."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medprotect.confounder.card import shipped_cards
from medprotect.confounder.key import Key
from medprotect.errors import ConfigError, KeyFileError, MedprotectError, PipelineError
from medprotect.protect.tasks import Setup, Task
from medprotect.scale.node import NodeWorker, Sight, sight_of
from medprotect.scan.walk import walk

Seen = tuple[Setup, Sight]


@pytest.fixture
def seen(tmp_path: Path, export: Callable[..., Path]) -> Seen:
    """What the run tells its nodes, all of it true."""
    root = export({"a.png": b"a"})
    key, token = Key(bytes(range(32))), tmp_path / "token"
    key.save(tmp_path / "owner.key")
    token.write_text("words")
    folders = {card.name: str(card.folder) for card in shipped_cards()}
    setup = Setup(str(root), "", folders, "standard")
    return setup, sight_of(setup, token, "words", tmp_path / "owner.key", key.fingerprint, 0.0)


@pytest.mark.parametrize(
    ("fields", "kind", "words"),
    [
        ({"version": "0.0.1"}, ConfigError, "another version"),
        ({"words": "of another run"}, ConfigError, "does not see EXPORT"),
        ({"token": "/not/there"}, ConfigError, "does not see EXPORT"),
        ({"inode": 1}, ConfigError, "does not see EXPORT"),
        ({"key_file": "/not/there"}, KeyFileError, "no key"),
        ({"fingerprint": "0" * 16}, KeyFileError, "another key"),
        ({"pipelines": {}}, PipelineError, "other pipelines"),
    ],
)
def test_a_node_that_finds_something_else_says_what(
    seen: Seen, fields: dict[str, Any], kind: type[MedprotectError], words: str
) -> None:
    setup, sight = seen
    with pytest.raises(kind, match=words):
        NodeWorker()._begin(setup, replace(sight, **fields))


def test_a_share_may_have_another_number_on_each_node(seen: Seen) -> None:
    """Inode, size and time must agree; numbers of devices are each node's own."""
    setup, _ = seen
    (found,) = walk(Path(setup.export))
    worker = NodeWorker()
    worker._export = Path(setup.export)
    told = Task(replace(found, device=found.device + 1), "staged")
    assert worker._on_this_node(told) == Task(found, "staged")
    gone = Task(replace(found, path="b.png"), "staged", voxels=found)
    assert worker._on_this_node(gone) == gone


def test_what_nodes_are_told_holds_no_key(seen: Seen) -> None:
    secret = bytes(range(32)).hex()
    assert secret not in str(seen)
