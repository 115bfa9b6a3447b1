"""Finds and reads `recon.yaml`: RECON_CONFIG, else the working folder's, else the built-in sources."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cluster.settings import read_settings
from sources.config.models import ReconciliationConfig, ReconConfig
from sources.config.problems import InvalidConfigError, Problem, closest
from sources.config.reading import built_in, parse
from sources.files.opening import STDIN

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


def why_no_pipeline(  # noqa: PLR0911 - one return a reason
    config: ReconConfig, chosen: ReconciliationConfig, *, chosen_by_name: bool = False
) -> str:
    """Why the pipeline cannot run a reconciliation of a configuration; empty when it can."""
    if len(config.reconciliations) > 1 and not chosen_by_name:
        names = ", ".join(config.reconciliations)
        return f"it has several reconciliations, and the pipeline runs one: say --reconciliation with one of {names}"
    if chosen.shape != "one_per_source":
        return f"reconciliation {chosen.name} has shape {chosen.shape}, which only recon match --config judges"
    for name, source in chosen.sources.items():
        if source.is_file and source.path == STDIN:
            return f"source {name} reads standard input, which only recon match --config does; say path: with a name"
        if source.is_canonical:
            shared = [one for one in chosen.sources.values() if one.topic == source.topic]
            if source.where or len(shared) > 1:
                return (
                    f"source {name} has canonical records and shares its topic or has where; "
                    "say its fields, and they are read by a mapping"
                )
            if chosen.key != ("txn_id",) or source.negative:
                return f"source {name} has canonical records, whose key is txn_id and whose amounts are not negative"
        if source.deletes == "retract":
            return f"source {name} has deletes: retract, which the pipeline does not know; right is deletes: ignore"
        if source.format == "protobuf" and source.schema is not None and source.message is None:
            return f"source {name} has a schema and no message: which of its messages the records are"
    return ""
