"""What the exit code of a `recon` command means."""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """Exit codes, the same for every command."""

    OK = 0
    FINDING = 1  # the command did its work and found differences, or something planted was not found
    USAGE = 2  # wrong arguments
    NOT_READY = 3  # the environment is not: no stack, a service that does not answer, something not installed
    NOBODY_READS = 141  # what it printed to was closed, as by `| head`: 128 and SIGPIPE, as shells have it
    BUG = 70  # recon itself failed (EX_SOFTWARE of sysexits.h); never to be taken for a finding
