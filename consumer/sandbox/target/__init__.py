"""Adobe Target's profile APIs on this machine, with faults to order and a journal."""

from consumer.sandbox.target.faults import Endpoint, Fault, FaultKind
from consumer.sandbox.target.journal import Journal, UploadedRow, Violation
from consumer.sandbox.target.options import TargetOptions
from consumer.sandbox.target.server import TargetSandbox

__all__ = [
    "Endpoint",
    "Fault",
    "FaultKind",
    "Journal",
    "TargetOptions",
    "TargetSandbox",
    "UploadedRow",
    "Violation",
]
