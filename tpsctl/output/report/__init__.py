"""The report of a finished run: one HTML file that works from a disk without a network.

`data` says what a report is made of, `frames` packs the structures of the paths, and `page`, `parts` and `intervals`
make the HTML. The page's
own style and programs lie beside them, and so does the viewer 3Dmol.js 2.5.5 with its licence.
"""

from tpsctl.output.report.data import (
    ActionCourse,
    Evidence,
    IntervalChart,
    IntervalRow,
    PathCurve,
    PlaneMap,
    RamachandranPanel,
    ReportTable,
    ReportVerdict,
    RunReport,
    Shading,
    TubeAxis,
)
from tpsctl.output.report.frames import PackedFrames, pack_frames
from tpsctl.output.report.page import report_html

__all__ = [
    "ActionCourse",
    "Evidence",
    "IntervalRow",
    "IntervalChart",
    "PackedFrames",
    "PathCurve",
    "PlaneMap",
    "RamachandranPanel",
    "ReportTable",
    "ReportVerdict",
    "RunReport",
    "Shading",
    "TubeAxis",
    "pack_frames",
    "report_html",
]
