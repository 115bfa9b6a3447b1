"""Finds and reads `recon.yaml`: RECON_CONFIG, else the working folder's, else the built-in sources."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cluster.settings import read_settings
from schemas.events import DEFAULT_SOURCES
from sources.config.models import ReconciliationConfig, ReconConfig
from sources.config.problems import InvalidConfigError, Problem, closest
from sources.config.reading import built_in, parse

DEFAULT_FILE: Final = "recon.yaml"


def config_path(given: Path | None = None) -> Path | None:
    """The configuration's file: the given one, RECON_CONFIG, or recon.yaml in the working folder; None: built in."""
    if given is not None:
        return given
    configured = read_settings().config
    if configured is not None and configured != Path():
        return configured
    return Path(DEFAULT_FILE) if Path(DEFAULT_FILE).is_file() else None


def read_config(path: Path | None) -> ReconConfig:
    """A configuration, None: the built-in one. Raises InvalidConfigError with all that is wrong."""
    if path is None:
        return built_in()
    try:
        text = path.read_bytes()
    except OSError as error:
        raise InvalidConfigError(str(path), [Problem(0, 0, "", f"cannot be read: {error.strerror}")]) from error
    return parse(text, str(path))


def chosen_reconciliation(config: ReconConfig, name: str | None) -> ReconciliationConfig:
    """A reconciliation by name, None: the default one. Raises InvalidConfigError for an unknown name."""
    if name is None:
        return config.default
    if name not in config.reconciliations:
        right = closest(name, config.reconciliations)
        raise InvalidConfigError(config.file or "built-in", [Problem(0, 0, "", f"no reconciliation {name!r}", right)])
    return config.reconciliations[name]


def why_no_pipeline(config: ReconConfig) -> str:
    """Why the pipeline cannot run a configuration; empty when it can.

    The pipeline reads the three built-in sources. A configuration of anything else would be ignored in silence.
    """
    if len(config.reconciliations) > 1:
        return f"it has {len(config.reconciliations)} reconciliations, and the pipeline runs one"
    only = config.default
    if only.shape != "one_per_source" or only.compared_attributes or only.key != ("txn_id",):
        return f"reconciliation {only.name} has a shape, a key or compared attributes that the pipeline does not know"
    built = {source.name: source.topic for source in DEFAULT_SOURCES}
    for name, source in only.sources.items():
        if source.fields is not None:
            return f"source {name} has a mapping, which only recon match --config reads"
        if built.get(name) != source.topic:
            return f"source {name} reads topic {source.topic}; built in are {built}"
    return "" if set(only.sources) == set(built) else f"it has sources {', '.join(only.sources)}; built in are {built}"
