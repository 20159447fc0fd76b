"""Measure a pipeline of a configuration on this machine, against its engine alone and at live rates.

The pipeline runs at pace max, and the engine alone before and after it; then live at 80% and 200% of its
capacity with in_flight 1 and 2. Results go to a subscriber in this process, never to the configuration's own
sinks. With --tune: which settings give the lowest age and the most frames a second.
"""

from __future__ import annotations

import argparse
import logging
import sys

from edged.errors import ExitCode

HELP = "measure a configuration on this machine, or find its best settings"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the configuration (TOML)")
    parser.add_argument("--pipeline", metavar="NAME", help="which one; needed when there are several")
    parser.add_argument("--pairs", type=_count, default=7, metavar="N", help="default: 7")
    parser.add_argument("--seconds", type=_above_0, default=3.0, metavar="S", help="of each side; default: 3")
    parser.add_argument(
        "--live-seconds", type=_above_0, default=10.0, metavar="S", help="of each live run; default: 10"
    )
    parser.add_argument("--tune", action="store_true", help="try threads, instances and spinning instead")
    parser.add_argument(
        "--rate",
        type=_above_0,
        metavar="HZ",
        help="frames a second at which --tune compares ages; default: 80%% of what the settings can do now",
    )
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")


def run(args: argparse.Namespace) -> int:
    import msgspec
    from rich.console import Console

    from edged.bench import measure, report
    from edged.bench.prepare import choose
    from edged.bench.tune import highest_fps, lowest_age, tune
    from edged.config.load import load

    logging.basicConfig(format="edged: %(message)s", level=logging.ERROR, stream=sys.stderr)
    config = load(args.file)
    subject = measure.prepare(config, choose(config, args.pipeline))
    plan = measure.Plan(args.pairs, args.seconds, args.live_seconds)
    bench, found = measure.new_bench(), measure.describe(subject)
    if args.tune:
        trials, rate = tune(subject, bench, plan, found.machine.cores, args.rate, _say)
        best, most = lowest_age(trials), highest_fps(trials)
        found = msgspec.structs.replace(
            found, trials=trials, tune_rate=rate, lowest_age=best, highest_fps=most
        )
    else:
        pairs = measure.measure_pairs(subject, bench, plan, _say)
        live = measure.measure_live(subject, bench, plan, _say)
        found = msgspec.structs.replace(
            found, pairs=pairs, ratio=measure.ratio(pairs), live=live, regions=bench.regions
        )
    if args.json:
        print(msgspec.json.encode(found).decode(), flush=True)
    else:
        report.show(found, Console(highlight=False))
    return int(ExitCode.OK)


def _say(text: str) -> None:
    """Progress, apart from what is asked for on stdout."""
    print(f"edged bench: {text}", file=sys.stderr, flush=True)


def _above_0(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value
