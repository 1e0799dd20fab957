"""The command line."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import onesum
from onesum.bench import __main__ as bench

from . import RESULTS, TRIALS
from . import __doc__ as description

COMMANDS = {
    "speed": "time every operation beside every installed library",
    "growth": "the same, as rows grow longer and as there are more of them",
    "losses": "time cross entropy and its gradient beside the same libraries",
    "memory": "what a call takes beyond its operands and its result",
    "accuracy": "largest errors of the same libraries, in ulps",
    "boosting": "what an objective costs LightGBM and XGBoost, alone and in whole rounds",
    "calibration": "the temperature of a classifier's logits, beside scikit-learn's",
    "linear": "the cross entropy of a linear layer, in time and memory, beside PyTorch",
    "arrays": "gradients of PyTorch's and JAX's arrays, beside those libraries' own functions",
    "vocab_parallel": "the loss of a vocabulary sharded over two processes, beside PyTorch's",
    "dask": "softmax of Dask arrays larger than memory, beside its natural expression",
    "files": "the command on files larger than a cache: softmax beside cp, and comparing",
    "cuda": "PyTorch's, JAX's and CuPy's arrays on a CUDA device: errors, times and memory",
    "import": "what importing onesum costs, and how large its wheel is",
    "report": "write the tables and pictures of the documents from the results",
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=description)
    commands = parser.add_subparsers(dest="command", title="commands; all of them if none is given")
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--results", type=Path, help="directory of the JSON files")
        if name in ("speed", "losses"):
            bench.add_options(command)
            command.set_defaults(losses=name == "losses")
            if name == "losses":
                command.set_defaults(threads=min(2, processors()))
            continue
        command.add_argument("--quick", action="store_true", help="one tiny case, for a trial")
        if name in ("growth", "memory", "boosting", "calibration", "linear", "arrays"):
            command.add_argument("--threads", type=int, default=min(2, processors()))
        if name == "growth":
            command.add_argument("--largest", type=int, metavar="N", help="elements of an array")
        if name == "dask":
            command.add_argument("--gigabytes", type=float, nargs="+", help="sizes of the logits")
        if name == "cuda":
            command.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
        if name == "report":
            command.add_argument("--check", action="store_true", help="only compare; 1 if old")
    return parser.parse_args()


def processors() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def everything() -> list[list[str]]:
    """All commands but that for a GPU: one thread, two, and two with the instruction set that most
    processors have.
    """
    speeds = [["speed"]]
    if processors() > 1:
        speeds.append(["speed", "--threads", "2"])
        if "x86-64-v3" in onesum.show_config(mode="dicts")["isas"]:
            speeds.append(["speed", "--threads", "2", "--isa", "v3"])
    return [*speeds, *([name] for name in COMMANDS if name not in ("speed", "cuda"))]


def main() -> int:
    args = arguments()
    if args.command is None:
        for command in everything():
            subprocess.run([sys.executable, "-m", __package__, *command], check=True)
        return 0
    results = args.results or (TRIALS if args.quick else RESULTS)
    results.mkdir(parents=True, exist_ok=True)
    if args.command in ("speed", "losses"):
        name = args.command + (f"-{args.isa}" if args.isa else "")
        name += f"-{args.threads}-threads" if args.threads > 1 else ""
        bench.run(args, results / f"{name}.json")
    elif args.command == "growth":
        from . import growth

        growth.run(results, args.quick, args.threads, args.largest)
    elif args.command == "memory":
        from . import memory

        memory.run(results, args.quick, args.threads)
    elif args.command == "accuracy":
        from . import accuracy

        accuracy.run(results, args.quick)
    elif args.command == "boosting":
        from . import boosting

        boosting.run(results, args.quick, args.threads)
    elif args.command == "calibration":
        from . import calibration

        calibration.run(results, args.quick, args.threads)
    elif args.command == "linear":
        from . import linear

        linear.run(results, args.quick, args.threads)
    elif args.command == "arrays":
        from . import arrays

        arrays.run(results, args.quick, args.threads)
    elif args.command == "vocab_parallel":
        from . import vocab_parallel

        vocab_parallel.run(results, args.quick)
    elif args.command == "dask":
        from . import dask

        dask.run(results, args.quick, args.gigabytes)
    elif args.command == "files":
        from . import files

        files.run(results, args.quick)
    elif args.command == "cuda":
        from . import cuda

        return min(cuda.run(results, args.quick, args.device), 1)
    elif args.command == "import":
        from . import importing

        importing.run(results, args.quick)
    else:
        from . import report

        return report.run(results, show=args.quick, check=args.check)
    return 0


if __name__ == "__main__":
    sys.exit(main())
