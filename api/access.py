"""Who may call what: the one table of operations and roles, and whether a call leaves an audit entry."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class Role(enum.IntEnum):
    """Each role may do all that the ones below it may."""

    VIEWER = 1
    ANALYST = 2
    ADMIN = 3

    @property
    def label(self) -> str:
        """The name of the realm role in Keycloak."""
        return self.name.lower()


def highest_role(names: Iterable[str]) -> Role | None:
    """The highest of our roles among the names in a token; None when there is none."""
    known = {role.label: role for role in Role}
    return max((known[name] for name in names if name in known), default=None)


@dataclass(frozen=True, slots=True)
class Access:
    """What an operation asks of its caller.

    `reads` names the kind of object whose data the answer shows: the answer is given only once its audit entry is
    stored. Operations that change something write their entry in the transaction of the change, so they leave it empty.
    """

    role: Role
    reads: str = ""


_V, _A, _X = Role.VIEWER, Role.ANALYST, Role.ADMIN

ACCESS: dict[str, Access] = {
    # operation id                   lowest role, audited read of
    "getMe": Access(_V),
    "getSummary": Access(_V),
    "getSeries": Access(_V),
    "listSources": Access(_V),
    "getPipeline": Access(_V),
    "listIncidents": Access(_V),
    "listTransactions": Access(_V, reads="transactions"),
    "countTransactions": Access(_V),
    "exportTransactions": Access(_A, reads="transactions"),
    "getTransaction": Access(_V, reads="transaction"),
    "getTransactionAudit": Access(_A, reads="audit"),
    "listExceptions": Access(_V, reads="exceptions"),
    "getExceptionBuckets": Access(_V),
    "getException": Access(_V, reads="exception"),
    "actOnException": Access(_A),
    "addExceptionComment": Access(_A),
    "previewBulkAction": Access(_A, reads="exceptions"),
    "applyBulkAction": Access(_A),
    "listPeople": Access(_A),
    "listRuleSets": Access(_X, reads="rules"),
    "getRuleSet": Access(_X, reads="rules"),
    "draftRuleSet": Access(_X),
    "backtestRuleSet": Access(_X, reads="rules"),
    "activateRuleSet": Access(_X),
    "discardRuleSet": Access(_X),
    "listDeadLetters": Access(_X, reads="dead_letters"),
    "getDeadLetter": Access(_X, reads="dead_letter"),
    "replayDeadLetter": Access(_X),
    "dismissDeadLetter": Access(_X),
    "searchAudit": Access(_X, reads="audit"),
    "exportAudit": Access(_X, reads="audit"),
    "listAuditChains": Access(_X),
    "verifyAudit": Access(_X),
    "getMetrics": Access(_V),
}

# Open to all: they tell whether the service is up and where to sign in, and nothing about transactions.
PUBLIC = frozenset({"getHealth", "getReadiness", "getConfig"})


def allowed_operations(role: Role) -> list[str]:
    """Operation ids that a role may call, in the order of the table."""
    return [operation for operation, access in ACCESS.items() if role >= access.role]


def unmasked(role: Role) -> bool:
    """Whether account ids are shown whole."""
    return role >= Role.ANALYST


def matrix() -> str:
    """The table as text, for people: one line per operation, a dot where a role may not."""
    width = max(map(len, ACCESS))
    lines = [f"{'operation':<{width}}  none  viewer  analyst  admin  audited read of"]
    lines += [f"{operation:<{width}}  yes   yes     yes      yes" for operation in sorted(PUBLIC)]
    for operation, access in ACCESS.items():
        may = ["yes" if role >= access.role else "." for role in Role]
        lines.append(f"{operation:<{width}}  .     {may[0]:<6}  {may[1]:<7}  {may[2]:<5}  {access.reads}".rstrip())
    return "\n".join(lines)
