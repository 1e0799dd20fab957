"""Round the weights of the digits network, and see with `onesum compare` what that costs.

The network of digits.py is trained once. Copies of it have their weights rounded to 8, 4 and 3
bits, a scale for every output, as language models are quantised. The logits of all held-out digits
go into files, and the command compares each copy's with the network's own.

    python examples/quantize.py --files build/quantize --output build/quantize.png

Afterwards the command can be tried on the files:

    cd build/quantize
    onesum compare full.npy 3-bit.npy --labels labels.npy --figure 3-bit.png
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from digits import Linear, Network, accuracy, load, picture_path, train
from rich.console import Console
from rich.table import Table

BITS = (8, 4, 3)


def quantized(network: Network, bits: int) -> Network:
    """A copy whose weights are one of 2^bits - 1 multiples of a scale, one for each output."""
    copy = deepcopy(network)
    most = 2 ** (bits - 1) - 1
    for layer in copy.layers:
        if isinstance(layer, Linear):
            scale = np.abs(layer.weight).max(axis=0) / most
            layer.weight = np.round(layer.weight / scale) * scale
    return copy


def compared(base: Path, other: Path, labels: Path) -> dict[str, Any]:
    """What the command says of two files."""
    command = [sys.executable, "-m", "onesum", "compare", base, other, "--labels", labels, "--json"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        sys.exit(run.stderr.strip())
    result: dict[str, Any] = json.loads(run.stdout)
    return result


def show(results: dict[int, dict[str, Any]], reached: dict[int, float], console: Console) -> None:
    table = Table(title="Rounded weights against the network's own", title_justify="left")
    table.add_column("bits", justify="right")
    for heading in ("mean KL", "99 % KL", "same top", "perplexity ratio", "accuracy"):
        table.add_column(heading, justify="right", no_wrap=True)
    for bits, result in results.items():
        kl = result["kl"]
        table.add_row(
            str(bits),
            f"{kl['mean']:.2g} ± {kl['stderr']:.1g}",
            f"{kl['percentiles']['99']:.2g}",
            f"{result['same_top']:.1%}",
            f"{result['perplexity_ratio']:.4f} ± {result['perplexity_ratio_stderr']:.4f}",
            f"{reached[bits]:.4f}",
        )
    console.print(table)


def draw(results: dict[int, dict[str, Any]], output: Path) -> None:
    """How KL and the change of the label's probability are spread over the digits."""
    matplotlib.use("Agg")  # a picture on disk needs no screen
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for bits, result in results.items():
        for axes, name in ((left, "kl"), (right, "delta_p")):
            points = {float(q): v for q, v in result[name]["percentiles"].items()}
            points |= {0.0: result[name]["min"], 100.0: result[name]["max"]}
            axes.plot(
                sorted(points), [points[q] for q in sorted(points)], "o-", label=f"{bits} bits"
            )
    left.set(title="KL(network || rounded), nats", yscale="log")
    right.set(title="change of the digit's probability")
    right.axhline(0.0, color="black", linewidth=0.8)
    for axes in (left, right):
        axes.set(xlabel="percent of the held-out digits that are not above")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    figure.savefig(output, dpi=100)
    plt.close(figure)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Compare the digits network with its quantised copies by `onesum compare`.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--files", type=Path, default=Path("build/quantize"), help="the logits")
    parser.add_argument("--output", type=picture_path, default=Path("build/quantize.png"))
    arguments = parser.parse_args(argv)
    for name, directory in (("files", arguments.files), ("output", arguments.output.parent)):
        try:  # before the training, not after it
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            parser.error(f"argument --{name}: {error}")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(argv)
    console = Console()
    rng = np.random.default_rng(0)
    data = load(rng)
    network = Network(rng)
    train(network, data, argparse.Namespace(epochs=60, batch=32, learning_rate=0.05), rng, console)

    digits, labels = data[2:]
    paths = {name: arguments.files / f"{name}.npy" for name in ("full", "labels")}
    np.save(paths["full"], network.logits(digits))
    np.save(paths["labels"], labels)
    results, reached = {}, {}
    for bits in BITS:
        logits = quantized(network, bits).logits(digits)
        path = arguments.files / f"{bits}-bit.npy"
        np.save(path, logits)
        results[bits] = compared(paths["full"], path, paths["labels"])
        reached[bits] = accuracy(logits, labels)
    show(results, reached, console)
    draw(results, arguments.output)
    console.print(f"Logits: {arguments.files}    picture: {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
