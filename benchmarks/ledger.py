"""Was every lease the best free place at its moment? The database itself keeps a log, and a checker replays it.

`install` puts triggers on the tables: whatever a committed transaction did to places, answers, images and the queue is
in `ledger`, in the order in which it was done. `check` knows nothing of the services; it reads the log alone.

What "at its moment" means. On SQLite writers come one after the other, so the moment of a claim is its place in the
log, and everything before it counts. On PostgreSQL a claim sees what was committed when its statement began (its
snapshot, which a trigger writes down), and passes over rows that another transaction has locked at that instant. So:

    A lease of place c to person p breaks the order if there was a better place b (lower rank, then slot) that was free
    for p in the claim's snapshot, and that no transaction running at the same time as the claim touched.

A transaction ran at the same time if the claim's snapshot does not show it as committed and it had begun before the
claim had chosen (both by the clock of the database server). Nothing else is excused.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

COLUMNS = "kind, row_id, image_id, person_id, state, until, since, rank, slot, round_id"
SOURCES = {
    ("place", "labeler_candidate", "INSERT OR UPDATE"): (
        "id, image_id, leased_to_id, state, leased_until, leased_at, rank, slot, round_id"
    ),
    ("answer", "labeler_annotation", "INSERT OR UPDATE"): (
        "id, image_id, annotator_id, outcome, retracted_at, NULL, NULL, NULL, NULL"
    ),
    ("image", "labeler_image", "UPDATE OF state"): "id, id, NULL, state, NULL, NULL, NULL, NULL, NULL",
    ("queue", "labeler_project", "UPDATE OF queue_round_id"): (
        "id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, queue_round_id"
    ),
}
TABLE = """CREATE TABLE ledger (id {key}, kind text, row_id bigint, image_id bigint, person_id bigint, state text,
    until {moment}, since {moment}, rank int, slot int, round_id bigint,
    xid bigint, seen text, began {moment}, wrote {moment})"""
# The snapshot of the statement itself: a STABLE function sees what its caller sees, a VOLATILE one takes a new look.
SNAPSHOT = """
ALTER TABLE labeler_candidate ADD COLUMN seen text;
CREATE FUNCTION ledger_seen() RETURNS trigger LANGUAGE plpgsql STABLE AS
    $$ BEGIN NEW.seen := pg_current_snapshot()::text; RETURN NEW; END $$;
CREATE TRIGGER ledger_seen BEFORE UPDATE ON labeler_candidate FOR EACH ROW EXECUTE FUNCTION ledger_seen();
"""


def install(connection: Any) -> None:
    is_postgresql = connection.vendor == "postgresql"
    with connection.cursor() as cursor:
        key, moment = ("bigserial PRIMARY KEY", "timestamptz") if is_postgresql else (
            "integer PRIMARY KEY AUTOINCREMENT", "text")  # fmt: skip
        cursor.execute(TABLE.format(key=key, moment=moment))
        if is_postgresql:
            cursor.execute(SNAPSHOT)
        for (kind, table, events), columns in SOURCES.items():
            values = ", ".join(column if column == "NULL" else f"NEW.{column}" for column in columns.split(", "))
            if is_postgresql:
                seen = "NEW.seen" if kind == "place" else "NULL"
                cursor.execute(
                    f"CREATE FUNCTION ledger_{kind}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                    f"INSERT INTO ledger ({COLUMNS}, xid, seen, began, wrote) VALUES ('{kind}', {values}, "
                    f"pg_current_xact_id()::text::bigint, {seen}, now(), clock_timestamp()); RETURN NULL; END $$;"
                    f"CREATE TRIGGER ledger_{kind} AFTER {events} ON {table} FOR EACH ROW "
                    f"EXECUTE FUNCTION ledger_{kind}()"
                )
                continue
            for event in events.split(" OR "):
                name = f"ledger_{kind}_{event.split()[0].lower()}"
                cursor.execute(
                    f"CREATE TRIGGER {name} AFTER {event} ON {table} BEGIN "
                    f"INSERT INTO ledger ({COLUMNS}, wrote) VALUES ('{kind}', {values}, "
                    f"strftime('%Y-%m-%d %H:%M:%f', 'now')); END"
                )


def remove(connection: Any) -> None:
    with connection.cursor() as cursor:
        for kind, _, events in SOURCES:
            if connection.vendor == "postgresql":
                cursor.execute(f"DROP FUNCTION ledger_{kind}() CASCADE")
                continue
            for event in events.split(" OR "):
                cursor.execute(f"DROP TRIGGER ledger_{kind}_{event.split()[0].lower()}")
        if connection.vendor == "postgresql":
            cursor.execute("DROP FUNCTION ledger_seen() CASCADE")
            cursor.execute("ALTER TABLE labeler_candidate DROP COLUMN seen")
        cursor.execute("DROP TABLE ledger")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """PostgreSQL's: transactions below `low` are over, from `high` on not begun, of the others `running`."""

    low: int
    high: int
    running: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        low, high, running = text.split(":")
        return cls(int(low), int(high), frozenset(int(xid) for xid in running.split(",") if xid))

    def sees(self, xid: int) -> bool:
        return xid < self.low or (xid < self.high and xid not in self.running)


@dataclass(slots=True)
class Entry:
    """What a row became."""

    id: int
    kind: str
    row: int
    image: int
    person: int | None
    state: str
    until: Any
    since: Any
    rank: int
    slot: int
    round: int | None
    xid: int | None = None
    seen: Snapshot | None = None  # of the statement
    began: Any = None  # the transaction
    wrote: Any = None  # the entry

    def sees(self, other: Entry) -> bool:
        """Whether the statement that wrote this entry could see the other."""
        if self.seen is None:
            return other.id < self.id
        assert other.xid is not None
        return (other.xid == self.xid and other.id < self.id) or self.seen.sees(other.xid)

    def is_free_at(self, moment: Any) -> bool:
        return self.state == "open" and (self.person is None or self.until is None or self.until <= moment)


@dataclass
class Findings:
    leases: int = 0
    undone: int = 0  # places that an undo gave back to its person, out of turn on purpose
    passed_over: int = 0  # better places that were being taken at that instant (PostgreSQL)
    places_compared: int = 0
    violations: list[str] = field(default_factory=list)


def read(connection: Any) -> list[Entry]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT id, {COLUMNS}, xid, seen, began, wrote FROM ledger ORDER BY id")
        rows = cursor.fetchall()
    return [Entry(*row[:-3], Snapshot.parse(row[-3]) if row[-3] else None, *row[-2:]) for row in rows]


def check(entries: Iterable[Entry], *, overlap: int) -> Findings:
    """Replay the log: the order, nobody twice, never more than `overlap` at once."""
    return _Replay(list(entries), overlap).run()


class _Replay:
    def __init__(self, entries: list[Entry], overlap: int) -> None:
        self.entries, self.overlap, self.findings = entries, overlap, Findings()
        self.rows: dict[tuple[str, int], list[Entry]] = defaultdict(list)  # how each row changed
        self.ids: dict[tuple[str, int], list[int]] = defaultdict(list)
        self.answers: dict[tuple[int, int], set[int]] = defaultdict(set)  # of a person on an image
        self.undone_in: set[tuple[int | None, int, int]] = set()  # (transaction, person, image)
        self.places_of_image: dict[int, set[int]] = defaultdict(set)
        queues: dict[int, dict[int, tuple[int, int]]] = defaultdict(dict)
        self.queue_moves: list[Entry] = []
        for entry in entries:
            self.rows[entry.kind, entry.row].append(entry)
            self.ids[entry.kind, entry.row].append(entry.id)
            if entry.kind == "answer" and entry.person is not None:
                self.answers[entry.person, entry.image].add(entry.row)
                if entry.state == "undo":
                    self.undone_in.add((entry.xid, entry.person, entry.image))
            elif entry.kind == "place" and entry.round is not None:
                self.places_of_image[entry.image].add(entry.row)
                queues[entry.round][entry.row] = (entry.rank, entry.slot)
            elif entry.kind == "queue":
                self.queue_moves.append(entry)
        self.queues = {round_: sorted(places, key=places.__getitem__) for round_, places in queues.items()}

    def run(self) -> Findings:
        for at, entry in enumerate(self.entries):
            if entry.kind != "place" or entry.state != "open" or entry.person is None:
                continue
            before = self._before(entry)
            if before is None or (before.state == "open" and before.since == entry.since):
                continue  # a renewal
            if self._is_undo(at, entry):
                self._check_count(entry, entry.wrote)  # `since` is when it was first leased
                self.findings.undone += 1
                continue
            self._check_count(entry, entry.since)
            self.findings.leases += 1
            self._check_lease(entry, before)
        return self.findings

    def _check_lease(self, claim: Entry, before: Entry) -> None:
        if not before.is_free_at(claim.since):
            self._complain(claim, f"was not free: {before}")
        if not self._is_for(claim, claim):
            self._complain(claim, "was not for this person")
        if self._has_live_answer(claim, lambda other: other.id < claim.id):
            self._complain(claim, "was answered by this person before")
        moves = [move for move in self.queue_moves if claim.sees(move)]
        if not moves or moves[-1].round != claim.round:
            self._complain(claim, "is not of the queue's round")
            return
        for row in self.queues[claim.round]:
            if row == claim.row:
                return
            self.findings.places_compared += 1
            better = self._seen_by(claim, "place", row)
            if better is None or not better.is_free_at(claim.since) or not self._is_for(claim, better):
                continue
            if self._is_touched_meanwhile(claim, row):
                self.findings.passed_over += 1
            else:
                self._complain(claim, f"is worse than rank {better.rank}, slot {better.slot}, which was free")
                return

    def _is_for(self, claim: Entry, place: Entry) -> bool:
        """As the claim's statement saw it: the image waits, and the person neither answered it nor has it elsewhere."""
        image = self._seen_by(claim, "image", place.image)
        if image is not None and image.state != "pool":
            return False
        for row in self.places_of_image[place.image]:
            other = self._seen_by(claim, "place", row) if row != place.row else None
            if other is not None and other.state == "open" and other.person == claim.person:
                return False
        return not self._has_live_answer(place, claim.sees, claim.person)

    def _has_live_answer(self, place: Entry, is_known: Any, person: int | None = None) -> bool:
        for row in self.answers.get((person or place.person or 0, place.image), ()):
            known = [entry for entry in self.rows["answer", row] if is_known(entry)]
            if known and known[-1].state != "undo" and known[-1].until is None:
                return True
        return False

    def _is_touched_meanwhile(self, claim: Entry, row: int) -> bool:
        """By a transaction that the claim does not see, and that had begun when the claim had chosen."""
        if claim.seen is None:
            return False
        entries = (entry for entry in self.rows["place", row] if entry.xid != claim.xid)
        return any(not claim.sees(entry) and entry.began < claim.wrote for entry in entries)

    def _check_count(self, lease: Entry, moment: Any) -> None:
        """No more than `overlap` people at once, over all rounds."""
        rows = (self._latest("place", row, lease.id) for row in self.places_of_image[lease.image] if row != lease.row)
        held = [row for row in rows if row and row.state == "open" and not row.is_free_at(moment)]
        if len(held) + 1 > self.overlap:
            self._complain(lease, f"makes {len(held) + 1} people on one image")

    def _is_undo(self, at: int, lease: Entry) -> bool:
        """Whether its transaction wrote an undo of this person on this image."""
        if lease.xid is not None:
            return (lease.xid, lease.person, lease.image) in self.undone_in
        for entry in reversed(self.entries[max(0, at - 6) : at]):  # a transaction's entries stand together
            if entry.kind == "place" and entry.row == lease.row:
                return False
            if entry.kind == "answer" and entry.state == "undo":
                return (entry.person, entry.image) == (lease.person, lease.image)
        return False

    def _before(self, entry: Entry) -> Entry | None:
        return self._latest(entry.kind, entry.row, entry.id)

    def _latest(self, kind: str, row: int, before: int) -> Entry | None:
        position = bisect_left(self.ids[kind, row], before)
        return self.rows[kind, row][position - 1] if position else None

    def _seen_by(self, claim: Entry, kind: str, row: int) -> Entry | None:
        """The row as the claim's statement saw it. What was written after the claim it cannot have seen."""
        entries = self.rows.get((kind, row))
        if not entries:
            return None
        for position in range(bisect_left(self.ids[kind, row], claim.id) - 1, -1, -1):
            if claim.sees(entries[position]):
                return entries[position]
        return None

    def _complain(self, claim: Entry, words: str) -> None:
        self.findings.violations.append(
            f"entry {claim.id}: round {claim.round}, rank {claim.rank}, slot {claim.slot} "
            f"leased to {claim.person}: {words}"
        )
