"""Protobuf schemas given as text: compiled by protoc, as a registry or a `.proto` file has them."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Final

from wire.protobuf_values import BadProtobufError

COMPILE_TIMEOUT_S: Final = 30.0
MAIN: Final = "recon_main.proto"
_DETAIL_CHARACTERS_MAX: Final = 500


def compiled(text: str, imports: Mapping[str, str] | None = None, folder: Path | None = None) -> bytes:
    """A serialised `FileDescriptorSet` of one `.proto` text with all that it imports; the text's own file is the last.

    Args:
        text: the schema.
        imports: texts by the path under which they are imported.
        folder: where further imports are looked for.

    Raises BadProtobufError with protoc's words.
    """
    with tempfile.TemporaryDirectory(prefix="recon-proto-") as made:
        root = Path(made)
        for name, content in {**(imports or {}), MAIN: text}.items():
            relative = PurePosixPath(name)
            if relative.is_absolute() or ".." in relative.parts:
                raise BadProtobufError(f"import {name[:80]!r} leads out of its folder")
            path = root / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        ours = str(resources.files("grpc_tools").joinpath("_proto"))
        folders = [made, *([str(folder.resolve())] if folder is not None else []), ours]
        output = root / "recon.descriptors"
        command = [sys.executable, "-m", "grpc_tools.protoc", *(f"-I{one}" for one in folders)]
        command += ["--include_imports", f"--descriptor_set_out={output}", MAIN]
        try:
            result = subprocess.run(  # noqa: S603 - our own interpreter, and names that were checked
                command, check=False, capture_output=True, text=True, cwd=made, timeout=COMPILE_TIMEOUT_S
            )
        except subprocess.TimeoutExpired as error:
            raise BadProtobufError(f"protoc took more than {COMPILE_TIMEOUT_S:.0f} s") from error
        if result.returncode != 0 or not output.exists():
            said = (result.stderr or result.stdout).replace(made, "").strip()
            raise BadProtobufError(f"protoc refuses it: {said[:_DETAIL_CHARACTERS_MAX]}")
        return output.read_bytes()
