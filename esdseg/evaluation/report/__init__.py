"""``report.html``: the results of one evaluation on one self-contained page."""

from esdseg.evaluation.report.page import REPORT_NAME, write_report

__all__ = ["REPORT_NAME", "write_report"]
