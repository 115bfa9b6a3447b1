"""`recon.yaml`: read whole, checked whole, every mistake told with its line and what would be right."""

from sources.config.models import ReconciliationConfig, ReconConfig, SourceConfig
from sources.config.problems import InvalidConfigError, Problem
from sources.config.reading import built_in, json_schema, parse

__all__ = [
    "InvalidConfigError",
    "Problem",
    "ReconConfig",
    "ReconciliationConfig",
    "SourceConfig",
    "built_in",
    "json_schema",
    "parse",
]
