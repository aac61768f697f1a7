"""Record how a recurring operation ended: as its last result, and in the audit, from where webhooks are sent."""

from __future__ import annotations

from ppmctl.access import audit_log
from ppmctl.access.account import Actor
from ppmctl.index import operation_result
from ppmctl.index.layout import Volume
from ppmctl.index.operation_result import OperationResult


def record(volume: Volume, actor: Actor, result: OperationResult) -> OperationResult:
    """Store `result`, write its audit line (its name is the action), and return it with its times. Raise OSError."""
    result = operation_result.write(volume, result)
    outcome = audit_log.done([result.detail] if result.detail else []) if result.succeeded else result.detail
    audit_log.write(
        volume, action=result.name, by=actor.name, origin=actor.origin, what="index", result=outcome or "failed"
    )
    return result
