"""Which switch of the bundled node each socket case has to notice: the table `killed_by.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import resources

TABLE = "killed_by.toml"


def read_table() -> Mapping[str, str]:
    """The switch that each case must notice, by case id."""
    text = (resources.files(__name__) / TABLE).read_text("utf-8")
    table: dict[str, str] = tomllib.loads(text)["killed_by"]
    return table
