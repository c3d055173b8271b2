"""The console's plans and simulations: what `headrace plan` and `headrace simulate` have kept, for who administers."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headrace.storage import Reports
from headrace.workspace.bodies import as_json
from headrace.workspace.console import administrator
from headrace.workspace.visitors import Visitors


class ConsoleReports:
    """The handlers."""

    def __init__(self, visitors: Visitors, reports: Reports) -> None:
        self._visitors, self._reports = visitors, reports

    def routes(self) -> list[Route]:
        at = "/workspace/api/console/reports"
        return [Route(at, self.reports), Route(f"{at}/{{report}}", self.report, methods=["GET", "DELETE"])]

    async def reports(self, request: Request) -> Response:
        """GET what is kept, the latest first."""
        await administrator(self._visitors, request)
        return as_json({"reports": await asyncio.to_thread(self._reports.heads)})

    async def report(self, request: Request) -> Response:
        """GET one, whole. DELETE it."""
        await administrator(self._visitors, request)
        id = request.path_params["report"]
        if request.method == "DELETE":
            await asyncio.to_thread(self._reports.drop, id)
            return Response(status_code=204)
        return as_json(await asyncio.to_thread(self._reports.get, id))
