"""What it costs that each trade counts once: of four ways beside none, the speed, the memory and the state.

none      nothing is done: copies count
within    Spark's `dropDuplicatesWithinWatermark`, then the bars
dropped   Spark's `dropDuplicates` on identity and second, then the bars: what BAR_FORMAT=parquet does
gathered  the trades of a second are gathered, and looked through when it closes: what BAR_FORMAT=delta does
masked    ids are counted, and marked in masks of 64 bits: a second without copies is a bar at once. One with copies
          would be read from the topic again; that is not made, so this way is left out where copies come

Files of Kafka records, one for each second of event time, are the batches of a query into a Delta table; none of the
trades comes again, or one in a thousand, in its second or the next: then hardly a second is without a copy. Ways, rates
and shares of copies take turns in random order, each in a JVM of its own.
After each run the table has to be what plain Python makes of the trades: a fast wrong result ends the measurement.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from bars import aggregate, sink
from bars.append import append
from bars.parse import parse, valid
from bars.recovery.checkpoint import query_id
from bars.tables import BARS, REJECTED, create
from bars.unique import IDENTITY
from bench import meters, result
from market.bar import Bar, bars_of
from market.settings import ROOT
from market.trade import Trade, batch_record_of, record_of

DELAY_MS = 2_000
WARM_UP = 10
"""Batches that are not counted: what they need is still being compiled."""
SYMBOLS = [f"S{number:02}USDT" for number in range(20)]
START_MS = 1_700_000_000_000
RECORD = "topic string, partition int, offset bigint, timestamp timestamp, value binary"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.dedupe", description=__doc__.split("\n\n")[0])
    parser.add_argument("--rates", default="10000,100000", help="trades per second and batch; default 10000,100000")
    parser.add_argument("--ways", default=",".join(WAYS), help=f"default {','.join(WAYS)}")
    parser.add_argument("--seconds", type=int, default=30, help=f"batches of a run, {WARM_UP} uncounted; default 30")
    parser.add_argument("--rounds", type=int, default=2, help="how often each is measured; default 2")
    parser.add_argument("--copies", default="0,0.001", help="shares of trades that come again; default 0,0.001")
    parser.add_argument("--record", type=int, default=1, help="trades in a record, at most; default 1")
    parser.add_argument("--memory", default="1g", help="heap of the JVM; default 1g")
    parser.add_argument("--conf", action="append", default=[], metavar="NAME=VALUE", help="a setting of Spark's")
    arguments = parser.parse_args()
    rates, ways = [int(rate) for rate in arguments.rates.split(",")], arguments.ways.split(",")
    shares = [float(share) for share in arguments.copies.split(",")]
    runs: dict[tuple[int, float, str], list[Run]] = {
        (rate, share, way): []
        for rate, share, way in itertools.product(rates, shares, ways)
        if way != "masked" or not share
    }
    with tempfile.TemporaryDirectory(prefix="bench-dedupe-") as name:
        feeds = {(rate, share): Path(name) / f"{rate}-{share}" for rate in rates for share in shares}
        expected = {
            (rate, share): _feed(folder, rate, arguments.seconds, share, arguments.record)
            for (rate, share), folder in feeds.items()
        }
        for number in range(arguments.rounds):
            order = list(runs)
            random.Random(number).shuffle(order)
            for rate, share, way in order:
                said = f"{way}, {rate} trades/s, {share:g} copies"
                # A name without a dot: what else belongs to a run has the same name with a suffix.
                table = Path(name) / f"{number}-{rate}-{share}-{way}" / "bars"
                runs[rate, share, way].append(_apart(_run, way, feeds[rate, share], table, arguments))
                _check(table, expected[rate, share]["none" if way == "none" else "once"], said)
                print(f"round {number}, {said}: {runs[rate, share, way][-1]}, bars as they should be", flush=True)
    figures = {
        f"{rate}": {
            f"{share:g}": {way: _figures(runs[rate, share, way]) for way in ways if (rate, share, way) in runs}
            for share in shares
        }
        for rate in rates
    }
    settings = vars(arguments) | {
        "symbols": len(SYMBOLS),
        "delay_ms": DELAY_MS,
        "warm_up_batches": WARM_UP,
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }
    print(result.write("dedupe", figures, settings=settings))
    for rate, share, way in runs:
        figure = figures[f"{rate}"][f"{share:g}"][way]
        medians = (f"{name} {values['median']:g}" for name, values in figure.items())
        print(f"{rate:>7} {share:5g} {way:9}", *medians, sep="  ")


@dataclass
class Run:
    """What one run took, after the batches that warm up."""

    trades_per_s: float
    batch_ms: float
    """The median of Spark's batch durations."""
    batch_p95_ms: float
    cpu_s_per_million: float
    """Of the JVM and of the driver, which commits."""
    state_rows: int
    state_mib: float
    """As Spark estimates them, at their most; two versions of the state."""
    resident_mib: float
    """Of the JVM, at its most; so is the next."""
    old_gen_mib: float


def _plain(elements: DataFrame) -> DataFrame:
    return _bars(aggregate._windowed(elements, DELAY_MS))


def _within(elements: DataFrame) -> DataFrame:
    marked = elements.withWatermark("event_time", f"{DELAY_MS} milliseconds")
    once = marked.dropDuplicatesWithinWatermark(list(IDENTITY))
    return _bars(once.withColumn("window", F.window("event_time", "1000 milliseconds")).drop("event_time"))


def _dropped(elements: DataFrame) -> DataFrame:
    return aggregate.streamed_bars(elements, watermark_delay_ms=DELAY_MS)


def _gathered(elements: DataFrame) -> DataFrame:
    return aggregate.gathered(elements, watermark_delay_ms=DELAY_MS)


def _masked(elements: DataFrame) -> DataFrame:
    """Measures of the trades of each second, apart for each 64 ids, and which of these there are."""
    mask = F.bit_or(F.expr("shiftleft(1L, CAST(trade_id & 63 AS INT))")).alias("mask")
    order = aggregate._order()
    ends = F.min(order).alias("first"), F.max(order).alias("last")
    blocks = aggregate._windowed(elements, DELAY_MS).withColumn("block", F.shiftright("trade_id", 6))
    measured = blocks.groupBy("exchange", "symbol", "window", "block").agg(*aggregate._measures(), *ends, mask)
    return measured.filter("trade_count > 0")


def _of_masked(blocks: DataFrame) -> DataFrame:
    """The bars of `_masked`, where no trade came twice."""
    lowest, highest = F.min_by("open", "first").alias("open"), F.max_by("close", "last").alias("close")
    least = [F.min(name).alias(name) for name in ("low", "first_trade_id")]
    most = [F.max(name).alias(name) for name in ("high", "last_trade_id")]
    names = ("volume", "quote_volume", "trade_count", "taker_buy_volume", "taker_buy_quote_volume")
    sums = [F.sum(name).alias(name) for name in names]
    copies = F.sum(F.col("trade_count") - F.bit_count("mask")).alias("copies")
    merged = blocks.groupBy("exchange", "symbol", "window").agg(lowest, highest, *least, *most, *sums, copies)
    return aggregate._finished(merged.filter("copies = 0").withColumn("timestamp", F.col("window.start")))


def _bars(windowed: DataFrame) -> DataFrame:
    measured = windowed.groupBy("exchange", "symbol", "window").agg(*aggregate._measures())
    finished = measured.filter("trade_count > 0").withColumn("timestamp", F.col("window.start"))
    return aggregate._finished(finished)


WAYS: Mapping[str, Callable[[DataFrame], DataFrame]] = {
    "none": _plain,
    "within": _within,
    "dropped": _dropped,
    "gathered": _gathered,
    "masked": _masked,
}


def _run(way: str, records: Path, table: Path, arguments: argparse.Namespace) -> Run:
    """Runs a way over the files, in this process and a JVM of its own."""
    create(BARS, table)
    create(REJECTED, table.with_suffix(".rejected"))
    spark = _session(table.with_suffix(".local"), arguments.memory, arguments.conf)
    checkpoint, pid = table.with_suffix(".checkpoint"), spark.sparkContext._gateway.proc.pid  # type: ignore[union-attr]
    stream = spark.readStream.schema(RECORD).option("maxFilesPerTrigger", 1).parquet(str(records))
    frame = WAYS[way](stream.transform(parse, future_tolerance_ms=0).transform(valid))
    product = sink.bars_writer(table, table.with_suffix(".rejected"), checkpoint, topic="bench")
    write = product if way == "gathered" else _bars_writer(table, checkpoint, _of_masked if way == "masked" else _as_is)
    spent: dict[int, float] = {}

    def measured(batch: DataFrame, batch_id: int) -> None:
        spent[batch_id] = meters.cpu_s(pid) + time.process_time()
        write(batch, batch_id)

    writer = frame.writeStream.outputMode("append").option("checkpointLocation", str(checkpoint))
    query = writer.trigger(availableNow=True).foreachBatch(measured).start()
    query.awaitTermination()
    batches = [progress for progress in query.recentProgress if progress["numInputRows"]][WARM_UP:-1]
    cpu_s = spent[batches[-1]["batchId"] + 1] - spent[batches[0]["batchId"]]
    pools = spark._jvm.java.lang.management.ManagementFactory.getMemoryPoolMXBeans()  # type: ignore[union-attr]
    old_gen = max(pool.getPeakUsage().getUsed() for pool in pools if "Old Gen" in pool.getName())
    resident = _resident_mib(pid)
    spark.stop()
    times = [progress["durationMs"]["triggerExecution"] for progress in batches]
    trades = sum(progress["numInputRows"] for progress in batches) * arguments.record
    states = [progress["stateOperators"] for progress in batches]
    return Run(
        trades_per_s=trades / sum(times) * 1000,
        batch_ms=statistics.median(times),
        batch_p95_ms=statistics.quantiles(times, n=20, method="inclusive")[-1],
        cpu_s_per_million=cpu_s / trades * 1e6,
        state_rows=max(sum(operator["numRowsTotal"] for operator in state) for state in states),
        state_mib=max(sum(operator["memoryUsedBytes"] for operator in state) for state in states) / 2**20,
        resident_mib=resident,
        old_gen_mib=old_gen / 2**20,
    )


def _as_is(bars: DataFrame) -> DataFrame:
    return bars


def _bars_writer(table: Path, checkpoint: Path, finish: Callable[[DataFrame], DataFrame]) -> sink.BatchWriter:
    """As `sink.bars_writer` writes, for batches that hold no copies."""

    def write(batch: DataFrame, batch_id: int) -> None:
        rows = batch.transform(finish).toArrow()
        if rows.num_rows:
            append(rows, table, app_id=query_id(checkpoint), version=batch_id)

    return write


def _session(folder: Path, memory: str, conf: Sequence[str]) -> SparkSession:
    """A session with the engine settings and the jars of the product."""
    os.environ |= {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_CONF_DIR": str(ROOT / "conf"), "SPARK_LOCAL_DIRS": str(folder)}
    builder = SparkSession.builder.appName("bench").config("spark.ui.enabled", "false")
    builder = builder.config("spark.jars", ",".join(map(str, sorted((ROOT / "jars/spark").glob("*.jar")))))
    builder = builder.config("spark.driver.memory", memory)
    for setting in ("spark.sql.streaming.numRecentProgressUpdates=10000", *conf):
        builder = builder.config(*setting.split("=", 1))
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session


def _feed(folder: Path, rate: int, seconds: int, share: float, size: int) -> dict[str, list[Bar]]:
    """Writes a file of records for each second, and returns the bars they make: of all of them, and `once`."""
    chance, bars = random.Random(rate), dict[str, list[Bar]](none=[], once=[])
    folder.mkdir()
    offset, ids, before, copies = 0, dict.fromkeys(SYMBOLS, 0), list[Trade](), list[Trade]()
    for second in range(seconds + 1):
        trades = list(_trades(chance, rate, START_MS + second * 1000, ids)) if second < seconds else []
        repeated = int(rate * share) if trades else 0
        again = [chance.choice((trades, before or trades)[chance.random() < 0.5]) for _ in range(repeated)]
        inside = [trade for trade in again if trade.timestamp // 1000 == START_MS // 1000 + second]
        # All trades of the second before are there now.
        bars["once"] += bars_of(before)
        bars["none"] += bars_of([*before, *copies, *(trade for trade in again if trade not in inside)])
        before, copies = trades, inside
        values = _records([*trades, *again], size)
        clock = START_MS + (second * 1000 + 999 if trades else second * 1000 + 60_000)
        values.append(b'{"exchange":"binance","heartbeat":%d}' % clock)
        _write(folder / f"{second:05}.parquet", values, offset, kafka_ms=clock)
        offset += len(values)
    return {name: sorted(all_, key=_key) for name, all_ in bars.items()}


def _trades(chance: random.Random, rate: int, start_ms: int, ids: dict[str, int]) -> Iterator[Trade]:
    for number in range(rate):
        symbol = chance.choice(SYMBOLS)
        ids[symbol] += 1
        price, quantity = f"{chance.randrange(1, 10**7) / 100:.2f}", f"{chance.randrange(1, 10**9) / 10**8:.8f}"
        time_ms = start_ms + number * 1000 // rate
        yield Trade("binance", symbol, price, quantity, time_ms, ids[symbol], chance.random() < 0.5)


def _records(trades: list[Trade], size: int) -> list[bytes]:
    if size == 1:
        return [record_of(trade) for trade in trades]
    of_symbol = ([trade for trade in trades if trade.symbol == symbol] for symbol in SYMBOLS)
    return [batch_record_of(some[start : start + size]) for some in of_symbol for start in range(0, len(some), size)]


def _write(file: Path, values: Sequence[bytes], offset: int, *, kafka_ms: int) -> None:
    count = len(values)
    columns = {
        "topic": pa.array(["bench"] * count),
        "partition": pa.array([0] * count, pa.int32()),
        "offset": pa.array(range(offset, offset + count), pa.int64()),
        "timestamp": pa.array([kafka_ms * 1000] * count, pa.timestamp("us", "UTC")),
        "value": pa.array(values, pa.binary()),
    }
    # Two groups of rows, so that two tasks read a file.
    pyarrow.parquet.write_table(pa.table(columns), file, row_group_size=(count + 1) // 2, compression="none")
    os.utime(file, (kafka_ms / 1000, kafka_ms / 1000))  # Spark takes the oldest first


def _check(table: Path, expected: list[Bar], name: str) -> None:
    rows = DeltaTable(table).to_pyarrow_table().drop_columns("date").to_pylist()
    found = [Bar(**row | {"timestamp": round(row["timestamp"].timestamp() * 1000)}) for row in rows]
    if sorted(found, key=_key) != expected:
        raise SystemExit(f"{name}: the table is not what plain Python makes of the trades")


def _key(bar: Bar) -> tuple[str, int]:
    return bar.symbol, bar.timestamp


def _figures(runs: Sequence[Run]) -> dict[str, dict[str, float]]:
    figures = {}
    for name in asdict(runs[0]):
        values = [getattr(run, name) for run in runs]
        figures[name] = {
            "median": round(statistics.median(values), 2),
            "min": round(min(values), 2),
            "max": round(max(values), 2),
        }
    return figures


def _apart(work: Callable[..., Run], *arguments: Any) -> Run:
    """What `work` returns in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def _resident_mib(pid: int) -> float:
    """The most resident memory of a process so far; not a number where the system does not tell."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return float("nan")
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1024


if __name__ == "__main__":
    main()
