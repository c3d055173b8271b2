"""A data folder goes with the installation that it is a host of, and with no other."""

from pathlib import Path

import psycopg
import pytest

from headrace.compose.moving import check_moved
from headrace.core.errors import SetupError
from headrace.storage import SharedState, make_folder
from tests.postgres import postgres


def test_a_folder_is_not_led_to_another_installation(tmp_path: Path) -> None:
    layout = make_folder(tmp_path / "data")
    with postgres() as cluster:
        with psycopg.connect(cluster.url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE other")
        ours = SharedState(layout, cluster.url, lambda: 0)
        other = SharedState(layout, cluster.url.replace("/postgres?", "/other?"), lambda: 0)
        check_moved(ours)
        check_moved(ours)
        with pytest.raises(SetupError, match="is of another installation"):
            check_moved(other)
        with pytest.raises(SetupError, match="set \\[storage\\] url again"):
            check_moved(SharedState(layout, None, lambda: 0))
        layout.moved.unlink()
        check_moved(other)
