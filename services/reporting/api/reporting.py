"""ReportingService: dashboard, charts, reports and exports."""

from __future__ import annotations

from finops.reporting.v1 import reporting_service_pb2_grpc

from services.reporting.api.charts import ChartMethods
from services.reporting.api.dashboards import DashboardMethods
from services.reporting.api.exports import ExportMethods
from services.reporting.api.reports import ReportMethods
from services.reporting.service.charting import Charting
from services.reporting.service.dashboards import Dashboards
from services.reporting.service.exports.exporting import Exports
from services.reporting.service.reports import Reports


class ReportingServicer(
    DashboardMethods,
    ChartMethods,
    ReportMethods,
    ExportMethods,
    reporting_service_pb2_grpc.ReportingServiceServicer,
):
    """Serves ReportingService."""

    def __init__(
        self, *, dashboards: Dashboards, charting: Charting, reports: Reports, exports: Exports
    ) -> None:
        """Takes the use cases."""
        DashboardMethods.__init__(self, dashboards=dashboards)
        ChartMethods.__init__(self, charting=charting)
        ReportMethods.__init__(self, reports)
        ExportMethods.__init__(self, exports=exports)
