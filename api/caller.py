"""Who is calling."""

from __future__ import annotations

from dataclasses import dataclass

from api.access import Role, unmasked


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling, by a verified token."""

    subject: str
    username: str
    name: str
    role: Role
    expires_s: int
    client: str
    request_id: str = ""
    source_ip: str = ""

    @property
    def sees_accounts(self) -> bool:
        """Whether account ids are shown whole."""
        return unmasked(self.role)
