"""Every metric of the catalogue is set by something; an alert on one that is not would never ring."""

from __future__ import annotations

import re
from pathlib import Path

from schemas import metrics

ROOT = Path(__file__).resolve().parents[2]


def test_every_catalogued_metric_is_set_somewhere() -> None:
    names = {name for name, value in vars(metrics).items() if isinstance(value, metrics.Metric)}
    assert len(names) == len(metrics.CATALOGUE)
    code = "\n".join(path.read_text() for path in (ROOT / "api").rglob("*.py"))
    used = re.sub(r"from schemas\.metrics import \([^)]*\)|from schemas\.metrics import .*", "", code)
    assert {name for name in names if not re.search(rf"\b{name}\b", used)} == set()
