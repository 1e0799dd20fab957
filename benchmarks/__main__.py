"""The command line. It imports nothing that computes before the threads are limited."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from . import RESULTS, TRIALS, host
from . import __doc__ as description

COMMANDS = {
    "speed": "time every operation beside every installed library",
    "accuracy": "largest errors of the same libraries, in ulps",
    "import": "what importing onesum costs, and how large its wheel is",
    "report": "write the tables of the documents from the results",
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=description)
    commands = parser.add_subparsers(dest="command", title="commands; all four if none is given")
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--quick", action="store_true", help="one tiny case, for a trial")
        command.add_argument("--results", type=Path, help="directory of the JSON files")
        if name == "speed":
            command.add_argument("--threads", type=int, default=1, help="for every library")
            command.add_argument("--isa", help="instruction set of onesum, as in v3")
        if name == "report":
            command.add_argument("--check", action="store_true", help="only compare; 1 if old")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    if args.command is None:
        for command in COMMANDS:
            subprocess.run([sys.executable, "-m", __package__, command], check=True)
        return 0
    results = args.results or (TRIALS if args.quick else RESULTS)
    results.mkdir(parents=True, exist_ok=True)
    if args.command == "speed":
        host.limit_threads(args.threads)
        if args.isa:
            os.environ["ONESUM_ISA"] = f"x86-64-{args.isa}" if args.isa[0] == "v" else args.isa
        from . import speed

        speed.run(results, args.quick, args.isa)
    elif args.command == "accuracy":
        from . import accuracy

        accuracy.run(results, args.quick)
    elif args.command == "import":
        from . import importing

        importing.run(results, args.quick)
    else:
        from . import report

        return report.run(results, show=args.quick, check=args.check)
    return 0


if __name__ == "__main__":
    sys.exit(main())
