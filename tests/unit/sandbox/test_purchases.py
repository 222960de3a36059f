"""The purchase generator: same seed same bytes, stated shares, realistic contents."""

from __future__ import annotations

import dataclasses
import io
import json
from collections import Counter
from pathlib import Path

import fastavro
import pytest

from consumer.errors import ConfigurationError
from consumer.sandbox.accumulators import DEMO_ATTRIBUTES
from consumer.sandbox.purchases import (
    EXPECTED,
    POISON,
    SCHEMA,
    Kind,
    Spec,
    generate,
    write_schema_folder,
)
from consumer.sandbox.purchases.draw import Visitors, draw
from consumer.sandbox.purchases.encode import columns, values
from consumer.sandbox.purchases.foreground import starting
from consumer.sandbox.purchases.shop import catalogue
from consumer.sandbox.recount import Record, recount

ROOT = Path(__file__).parents[3]
PARSED = fastavro.parse_schema(json.loads(SCHEMA))
ADVERSE = Spec(
    events=30_000, visitors=2_000, batch=10_000, poison=0.08, duplicates=0.05
)

Row = tuple[bytes, bytes | None, int, Kind]


def rows(spec: Spec) -> list[Row]:
    """Return the whole stream."""
    return [row for batch in generate(spec) for row in batch.rows()]


def event(value: bytes | None) -> dict[str, object]:
    """Decode one good value."""
    assert value is not None
    read = fastavro.schemaless_reader(io.BytesIO(value[5:]), PARSED, None)
    assert isinstance(read, dict)
    return read


def good(stream: list[Row]) -> list[tuple[bytes, dict[str, object], int, Kind]]:
    """Return the records that are to be folded, decoded."""
    kinds = (Kind.SALE, Kind.RETURN, Kind.VOID)
    return [(k, event(v), t, kind) for k, v, t, kind in stream if kind in kinds]


@pytest.fixture(scope="module")
def stream() -> list[Row]:
    """Return an adverse stream, made once."""
    return rows(ADVERSE)


def test_the_same_spec_gives_the_same_bytes(stream: list[Row]) -> None:
    """Two runs with one spec agree in every key, value, timestamp and kind."""
    assert rows(ADVERSE) == stream


def test_another_seed_gives_another_stream(stream: list[Row]) -> None:
    """Event ids of two seeds are disjoint."""
    other = rows(dataclasses.replace(ADVERSE, seed=2))
    mine = {e["event_id"] for _, e, _, _ in good(stream)}
    assert mine.isdisjoint({e["event_id"] for _, e, _, _ in good(other)})


def test_the_number_of_records_is_the_number_asked_for() -> None:
    """Every record counts, of whatever kind, also where the last batch is short."""
    assert len(rows(Spec(events=12_345, batch=5_000))) == 12_345
    assert rows(Spec(events=0)) == []


def test_shares_are_kept(stream: list[Row]) -> None:
    """Each kind comes as often as its share says, within sampling error."""
    seen = Counter(kind for *_, kind in stream)
    for kind, share in ADVERSE.shares().items():
        expected = share * ADVERSE.events
        assert abs(seen[kind] - expected) < 5 * expected**0.5 + 10, kind


def test_every_kind_becomes_what_is_expected_of_it(stream: list[Row]) -> None:
    """A strict reader gives each record the outcome and reason of its kind."""
    records = [Record(k, v, t, 0, n) for n, (k, v, t, _) in enumerate(stream)]
    became: list[tuple[str, str]] = []
    recount(
        records,
        DEMO_ATTRIBUTES,
        {1: SCHEMA},
        watch=lambda _, outcome, reason: became.append((outcome, reason)),
    )
    assert {kind for *_, kind in stream} == set(Kind)
    expected = [EXPECTED[kind] for *_, kind in stream]
    assert became == expected


def test_without_shares_there_are_only_sales() -> None:
    """All shares at zero give a clean stream."""
    spec = Spec(
        events=2_000,
        returns=0,
        voids=0,
        duplicates=0,
        conflicts=0,
        poison=0,
        tombstones=0,
    )
    assert {kind for *_, kind in rows(spec)} == {Kind.SALE}


def test_the_fast_encoder_writes_what_fastavro_writes() -> None:
    """Every value is byte for byte what a row-wise Avro writer makes of its columns."""
    spec = Spec(events=3_000, visitors=300)
    goods = catalogue()
    draft = draw(spec, Visitors(spec.visitors, spec.skew), goods, 0)
    table = columns(spec, goods, draft)
    for value, row in zip(values(table, 7), table.to_pylist(), strict=True):
        out = io.BytesIO(b"\0\0\0\0\x07")
        out.seek(5)
        fastavro.schemaless_writer(out, PARSED, row)
        assert value == out.getvalue()


def test_keys_are_the_visitors(stream: list[Row]) -> None:
    """A record's key is its visitor in UTF-8, a till where no visitor is known."""
    for key, seen, _, _ in good(stream):
        assert key.decode() == seen["visitor_id"]
    tills = [key for key, *_, kind in stream if kind is Kind.MISSING_VISITOR]
    assert tills
    assert all(key.startswith(b"till:S") for key in tills)


def test_missing_visitors_are_null_or_empty(stream: list[Row]) -> None:
    """Both ways to have no visitor occur."""
    missing = [event(v) for _, v, _, k in stream if k is Kind.MISSING_VISITOR]
    assert {one["visitor_id"] for one in missing} == {None, ""}


def test_some_visitors_need_percent_encoding(stream: list[Row]) -> None:
    """Ids with commas, blanks, signs and letters beyond ASCII occur."""
    unusual = [k.decode() for k, *_ in good(stream) if b"," in k]
    assert unusual
    assert all({"ö", "&", "%", "=", " ", "@"} <= set(visitor) for visitor in unusual)


def test_visitors_follow_the_zipf_law() -> None:
    """With s = 1.2 the first visitor has the first rank's share; with 0 nobody has."""
    skewed = Counter(k for k, *_ in rows(Spec(events=20_000, visitors=1_000)))
    weight = 1 / sum(rank**-1.2 for rank in range(1, 1_001))
    assert skewed.most_common(1)[0][1] / 20_000 == pytest.approx(weight, rel=0.1)
    even = Counter(k for k, *_ in rows(Spec(events=20_000, visitors=1_000, skew=0)))
    assert even.most_common(1)[0][1] < 60


def test_returns_and_voids_refer_to_an_earlier_sale(stream: list[Row]) -> None:
    """Each names a sale before it, of the same visitor, and brings its goods back."""
    sales: dict[object, dict[str, object]] = {}
    used: set[object] = set()
    partial = 0
    for _, seen, _, kind in good(stream):
        if kind is Kind.SALE:
            assert seen["refers_to"] is None
            sales[seen["event_id"]] = seen
            continue
        sale = sales[seen["refers_to"]]
        assert seen["refers_to"] not in used
        used.add(seen["refers_to"])
        assert seen["visitor_id"] == sale["visitor_id"]
        assert str(seen["occurred_at"]) >= str(sale["occurred_at"])
        bought, back = pieces(sale), pieces(seen)
        assert all(0 < -back[sku] <= bought[sku] for sku in back)
        whole = back == Counter({sku: -n for sku, n in bought.items()})
        partial += not whole
        assert whole or kind is Kind.RETURN
    assert partial > 100


def pieces(seen: dict[str, object]) -> Counter[str]:
    """Return an event's signed quantities by article."""
    found: Counter[str] = Counter()
    items = seen["items"]
    assert isinstance(items, list)
    for item in items:
        found[item["sku"]] += item["quantity"]
    return found


def test_receipts_have_one_to_twelve_items_that_add_up(
    stream: list[Row],
) -> None:
    """The total is the sum of its lines and never negative."""
    lengths = Counter[int]()
    for _, seen, _, _ in good(stream):
        items = seen["items"]
        assert isinstance(items, list)
        lengths[len(items)] += 1
        amounts = [abs(i["quantity"]) * i["unit_price_minor"] for i in items]
        assert seen["total_minor"] == sum(amounts) > 0
    assert set(lengths) == set(range(1, 13))


def test_duplicates_repeat_bytes_and_conflicts_repeat_only_the_id(
    stream: list[Row],
) -> None:
    """Both come after the event they repeat, with its key."""
    first: dict[object, tuple[bytes, bytes | None]] = {}
    for key, value, _, kind in stream:
        if kind in (Kind.SALE, Kind.RETURN, Kind.VOID):
            first[event(value)["event_id"]] = (key, value)
        elif kind is Kind.DUPLICATE:
            assert first[event(value)["event_id"]] == (key, value)
        elif kind is Kind.CONFLICT:
            earlier, contents = first[event(value)["event_id"]]
            assert earlier == key
            assert contents != value


def test_events_come_out_of_order_by_minutes_and_by_days(
    stream: list[Row],
) -> None:
    """Lateness has the stated shares; nothing occurs much after its record's time."""
    late = [t - int(e["occurred_at"].timestamp() * 1000) for _, e, t, _ in good(stream)]  # type: ignore[attr-defined]
    by_days = sum(ms > 86_400_000 for ms in late) / len(late)
    by_minutes = sum(90_000 < ms < 3_700_000 for ms in late) / len(late)
    assert by_days == pytest.approx(0.005, abs=0.003)
    assert by_minutes == pytest.approx(0.05, abs=0.01)
    assert min(late) > -3_000


def test_timestamps_advance_with_a_jitter(stream: list[Row]) -> None:
    """Record timestamps span the stated time, and are not monotone."""
    times = [t for _, _, t, _ in stream]
    assert times != sorted(times)
    assert times[0] == pytest.approx(ADVERSE.start_ms, abs=2_000)
    assert times[-1] - times[0] == pytest.approx(ADVERSE.span_ms, abs=5_000)


@pytest.mark.parametrize(
    "wrong",
    [{"visitors": 0}, {"poison": 1.5}, {"skew": -1.0}, {"returns": 0.6, "voids": 0.6}],
)
def test_an_impossible_spec_is_refused(wrong: dict[str, float]) -> None:
    """What cannot be generated is named at once."""
    with pytest.raises(ConfigurationError, match="must"):
        Spec(**wrong)  # type: ignore[arg-type]


def test_start_now_ends_now_or_keeps_pace_with_the_clock() -> None:
    """Without a rate the stream lies behind `now`, with one it begins there."""
    spec = Spec(events=1_000, span_ms=5_000)
    behind = starting(spec, "now", 100.0, 0.0)
    assert (behind.start_ms, behind.span_ms) == (95_000, 5_000)
    live = starting(spec, "now", 100.0, 50.0)
    assert (live.start_ms, live.span_ms) == (100_000, 20_000)
    assert starting(spec, "1970-01-01T00:01", 100.0, 0.0).start_ms == 60_000
    with pytest.raises(ConfigurationError, match="--start"):
        starting(spec, "yesterday", 100.0, 0.0)


def test_the_schema_for_people_is_the_schema_in_use() -> None:
    """`schemas/purchase.avsc` and the packaged copy are the same text."""
    assert (ROOT / "schemas" / "purchase.avsc").read_text(encoding="utf-8") == SCHEMA


def test_the_schema_explains_every_field() -> None:
    """Each field has a doc string, the line items' too, and readers find the names."""
    fields = json.loads(SCHEMA)["fields"]
    line_item = fields[-1]["type"]["items"]
    assert all(len(field["doc"]) > 10 for field in fields + line_item["fields"])
    assert {f["name"] for f in fields} >= {
        "event_id",
        "event_type",
        "visitor_id",
        "occurred_at",
        "items",
        "total_minor",
        "store_id",
    }
    assert {f["name"] for f in line_item["fields"]} >= {"sku", "category", "quantity"}


def test_the_schema_folder_holds_the_schema_under_its_id(tmp_path: Path) -> None:
    """The folder is what `[purchases] schemas` reads."""
    path = write_schema_folder(tmp_path / "schemas", 7)
    assert path.name == "7.avsc"
    assert path.read_text(encoding="utf-8") == SCHEMA


def test_poison_of_every_kind_occurs(stream: list[Row]) -> None:
    """The stated share is spread over all kinds of poison."""
    assert {kind for *_, kind in stream} >= set(POISON)
