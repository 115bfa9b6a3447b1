"""Generated requests against the committed document, with a real administrator's token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from api.openapi import FILE

if TYPE_CHECKING:
    from .conftest import Ledger, Server, Tokens

pytestmark = pytest.mark.stack

EXAMPLES_MAX = 5  # per operation: thirty-seven operations make some two hundred requests


schema = schemathesis.openapi.from_path(FILE)


@pytest.fixture(scope="module", autouse=True)
def _some_rows(ledger: Ledger) -> None:
    for index in range(3):
        ledger.add(f"fuzz-{index}", breaks=["DUPLICATE"] if index else [])


@schema.parametrize()
@settings(
    max_examples=EXAMPLES_MAX,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_request_breaks_the_service_or_its_document(case: Any, rest: Server, tokens: Tokens) -> None:
    case.call_and_validate(
        base_url=rest.url,
        headers={"Authorization": f"Bearer {tokens('adam')}"},
        # Fields bound one another (an order needs a verdict, a cursor its search), which a schema cannot say.
        excluded_checks=[positive_data_acceptance],
    )
