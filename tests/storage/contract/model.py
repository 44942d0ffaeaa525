"""What a store does, in a few dictionaries: the contract's transactions, one at a time, in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from streamsim.storage.contract.decisions import (
    Advice,
    Committed,
    IdempotencyRecord,
    Stale,
    Summary,
    ThetaAddress,
    ThetaRows,
    Transaction,
)
from streamsim.storage.contract.logs import LogRow


@dataclass
class Model:
    tenants: dict[str, str] = field(default_factory=dict)
    revisions: dict[str, int] = field(default_factory=dict)
    archived: set[str] = field(default_factory=set)
    rows: dict[ThetaAddress, tuple[bytes, int]] = field(default_factory=dict)
    touched: dict[ThetaAddress, int] = field(
        default_factory=dict
    )  # groups and sets: version of their last change
    newest: dict[str, int] = field(default_factory=dict)
    logs: list[LogRow] = field(default_factory=list)
    advices: dict[tuple[str, str], Advice] = field(default_factory=dict)
    records: dict[tuple[str, str], IdempotencyRecord] = field(default_factory=dict)

    def read(self, scope: ThetaAddress) -> ThetaRows:
        rows = {
            (row.key or "", row.value or ""): found
            for row, found in self.rows.items()
            if scope in _around(row)
        }
        if not rows:
            return ThetaRows(0, {})
        return ThetaRows(self.rows[scope][1] if scope in self.rows else self.touched[scope], rows)

    def refusal(self, transaction: Transaction) -> Stale | None:
        """What the transaction finds out of date, if anything."""
        gone = {
            id
            for id, revision in transaction.revisions.items()
            if self.tenants.get(id) != transaction.tenant
            or id in self.archived
            or self.revisions[id] != revision
        }
        theta = {
            scope: self.read(scope)
            for scope, version in transaction.reads.items()
            if scope.experiment_id not in gone and self.read(scope).version != version
        }
        advices = {}
        expected = {(one.experiment_id, one.id): one.gathered for one in transaction.redemptions}
        expected |= {(one.experiment_id, one.id): one.before for one in transaction.amendments}
        for at, gathered in expected.items():
            found = self.advices.get(at)
            other = found is None or found.redeemed_by or gathered not in (None, found.gathered)
            if at[0] not in gone and other:
                advices[at[1]] = found
        records = {}
        for record in transaction.idempotency:
            live = self.records.get((record.experiment_id, record.key))
            if record.experiment_id not in gone and live and live.expires_ms > transaction.now_ms:
                records[record.key] = live
        full = tuple(
            id
            for id, most in transaction.at_most.items()
            if id not in gone and len(self.log(id, "action")) > most
        )
        if gone or theta or advices or records or full:
            return Stale(tuple(sorted(gone)), theta, advices, records, full)
        return None

    def apply(self, transaction: Transaction, answer: Committed) -> None:
        """The effects, with the versions that a store chose; they must be new and higher."""
        deleted = [row for row in self.rows if any(scope in _around(row) for scope in transaction.deletes)]
        assert answer.versions.keys() == {row.experiment_id for row in (*deleted, *transaction.writes)}
        for experiment, version in answer.versions.items():
            assert version > self.newest.get(experiment, 0)
            self.newest[experiment] = version
        for row in deleted:
            del self.rows[row]
        for row, data in transaction.writes.items():
            self.rows[row] = (data, answer.versions[row.experiment_id])
        for row in (*deleted, *transaction.writes):
            for scope in _around(row):
                self.touched[scope] = answer.versions[row.experiment_id]
        for log in transaction.logs:
            if log.id not in {one.id for one in self.logs}:
                self.logs.append(log)
        for key in [key for key in self.advices if key[0] in transaction.drops]:
            del self.advices[key]
        for redemption in transaction.redemptions:
            at = redemption.experiment_id, redemption.id
            self.advices[at] = msgspec.structs.replace(self.advices[at], redeemed_by=redemption.by)
        for amendment in transaction.amendments:
            at = amendment.experiment_id, amendment.id
            self.advices[at] = msgspec.structs.replace(self.advices[at], gathered=amendment.gathered)
        for new in transaction.advices:
            fresh = Advice(new.experiment_id, new.id, new.expires_ms, new.context, new.action)
            self.advices.setdefault((new.experiment_id, new.id), fresh)
        for record in transaction.idempotency:
            self.records[record.experiment_id, record.key] = record

    def log(self, experiment_id: str, kind: str) -> list[LogRow]:
        return [row for row in reversed(self.logs) if (row.experiment_id, row.kind) == (experiment_id, kind)]

    def summary(self, experiment_id: str) -> Summary:
        actions, rewards = self.log(experiment_id, "action"), self.log(experiment_id, "reward")
        return Summary(
            len(actions),
            max((row.date_ms for row in actions), default=None),
            len(rewards),
            max((row.date_ms for row in rewards), default=None),
        )


def _around(row: ThetaAddress) -> Iterator[ThetaAddress]:
    yield row
    yield row._replace(value=None)
    yield row._replace(key=None, value=None)
