"""Names of the files through which a stack tells its clients where it is."""

from __future__ import annotations

from typing import Final

STATE_DIR_DEFAULT: Final = ".recon"  # in the working directory; RECON_STATE_DIR names another
ENDPOINTS_FILE: Final = "endpoints.json"  # in the state folder
