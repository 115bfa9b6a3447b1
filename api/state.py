"""What a handler asks for: the caller, and the parts of the service behind the app."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from api.caller import Caller
from api.services import Services


async def services_of(request: Request) -> Services:
    """The parts of the service. A coroutine, because FastAPI would run a plain function in a thread."""
    services: Services = request.app.state.services
    return services


async def caller_of(request: Request) -> Caller:
    """The caller that the guarded route has verified before the handler runs."""
    caller: Caller = request.state.caller
    return caller


ServicesDep = Annotated[Services, Depends(services_of)]
CallerDep = Annotated[Caller, Depends(caller_of)]
