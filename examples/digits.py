"""Train a small network that ends in the softmax layer, on handwritten digits.

Linear 64-32, ReLU, Linear 32-10, softmax: every layer is a few lines of NumPy with a forward call
and a `backward`, and `onesum.Softmax` is one of them. The loss hands dL/dp to its `backward`.
At the end the layer's gradient is checked against its dense Jacobian and against central
differences, and a picture is written.

    python examples/digits.py --output build/digits.png
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from sklearn.datasets import load_digits

import onesum

Floats = NDArray[np.float64]
Labels = NDArray[np.intp]

REQUIRED_ACCURACY = 0.96
MOMENTUM = 0.9

# What rounding allows the gradient check in float64, for cotangents of size one and ten classes.
# The dense product rounds about ten terms. Central differences with step h = eps^(1/3) err by
# h^2 (the series is cut) and by eps / h (the difference is rounded): both near 1e-10.
LIMITS = {"dense Jacobian": 1e-14, "central differences": 1e-9}


class Linear:
    """y = x W + b."""

    def __init__(self, inputs: int, outputs: int, rng: np.random.Generator) -> None:
        self.weight = rng.normal(scale=np.sqrt(2 / inputs), size=(inputs, outputs))
        self.bias = np.zeros(outputs)
        self.speed = [np.zeros_like(self.weight), np.zeros_like(self.bias)]

    def __call__(self, x: Floats) -> Floats:
        self.x = x
        return x @ self.weight + self.bias

    def backward(self, dy: Floats) -> Floats:
        self.gradients = [self.x.T @ dy, dy.sum(axis=0)]
        return dy @ self.weight.T

    def step(self, learning_rate: float) -> None:
        """Move along the gradient, with momentum."""
        for value, speed, gradient in zip(
            (self.weight, self.bias), self.speed, self.gradients, strict=True
        ):
            speed *= MOMENTUM
            speed -= learning_rate * gradient
            value += speed


class ReLU:
    def __call__(self, x: Floats) -> Floats:
        self.positive = x > 0
        return np.maximum(x, 0)

    def backward(self, dy: Floats) -> Floats:
        return dy * self.positive


class Network:
    """Layers called one after the other, and backward in reverse."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.layers: list[Any] = [Linear(64, 32, rng), ReLU(), Linear(32, 10, rng)]
        self.softmax = onesum.Softmax()

    def logits(self, x: Floats) -> Floats:
        for layer in self.layers:
            x = layer(x)
        return x

    def __call__(self, x: Floats) -> Floats:
        return self.softmax(self.logits(x))

    def backward(self, dp: Floats) -> None:
        gradient = self.softmax.backward(dp)
        for layer in reversed(self.layers):
            gradient = layer.backward(gradient)

    def step(self, learning_rate: float) -> None:
        for layer in self.layers:
            if isinstance(layer, Linear):
                layer.step(learning_rate)


def loss_and_gradient(p: Floats, labels: Labels) -> tuple[float, Floats]:
    """The loss L = -mean log p[label], and dL/dp.

    Only the label's probability enters, so dL/dp is zero elsewhere. Were it ever to underflow, its
    logarithm and its reciprocal would be infinite; in float64 that takes a logit 700 below the
    largest. The floor is the smallest normal number: it changes nothing above it and keeps both
    finite. The layer's backward multiplies 1/p by p again, so dL/dx stays of size one however
    small p is.
    """
    rows = np.arange(len(p))
    of_label = np.maximum(p[rows, labels], np.finfo(p.dtype).tiny)
    dp = np.zeros_like(p)
    dp[rows, labels] = -1 / (len(p) * of_label)
    return float(-np.log(of_label).mean()), dp


def load(rng: np.random.Generator) -> tuple[Floats, Labels, Floats, Labels]:
    """The 1797 digits in random order, pixels in [0, 1]; every fifth is held out."""
    digits = load_digits()
    order = rng.permutation(len(digits.target))
    x, labels = digits.data[order] / 16, digits.target[order]
    held_out = np.arange(len(labels)) % 5 == 0
    return x[~held_out], labels[~held_out], x[held_out], labels[held_out]


def accuracy(p: Floats, labels: Labels) -> float:
    return float(np.mean(p.argmax(axis=1) == labels))


def train(
    network: Network,
    data: tuple[Floats, Labels, Floats, Labels],
    arguments: argparse.Namespace,
    rng: np.random.Generator,
    console: Console,
) -> dict[str, list[float]]:
    """Mini-batch gradient descent; the curves, one point per epoch."""
    x, labels, held_out_x, held_out_labels = data
    curves: dict[str, list[float]] = {name: [] for name in ("train", "held out", "accuracy")}
    progress = Progress(
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}  held-out accuracy {task.fields[accuracy]:.4f}"),
        TimeElapsedColumn(),
        console=console,
    )
    with progress:
        task = progress.add_task("epochs", total=arguments.epochs, loss=np.nan, accuracy=np.nan)
        for _ in range(arguments.epochs):
            order = rng.permutation(len(labels))
            total = 0.0
            for start in range(0, len(order), arguments.batch):
                batch = order[start : start + arguments.batch]
                loss, dp = loss_and_gradient(network(x[batch]), labels[batch])
                network.backward(dp)
                network.step(arguments.learning_rate)
                total += loss * len(batch)
            p = network(held_out_x)
            curves["train"].append(total / len(order))
            curves["held out"].append(loss_and_gradient(p, held_out_labels)[0])
            curves["accuracy"].append(accuracy(p, held_out_labels))
            progress.update(
                task, advance=1, loss=curves["train"][-1], accuracy=curves["accuracy"][-1]
            )
    return curves


def gradient_check(logits: Floats, rng: np.random.Generator) -> dict[str, float]:
    """The largest error of the layer's backward against two slower ways to the same gradient."""
    layer = onesum.Softmax()
    dp = rng.uniform(-1, 1, logits.shape)
    p = layer(logits)
    dx = layer.backward(dp)

    dense = layer.jacobian().to_dense()  # (k, n, n), here 10 by 10 for every row
    by_matrix = np.einsum("kj,kji->ki", dp, dense)

    step = np.cbrt(np.finfo(np.float64).eps)
    by_differences = np.empty_like(p)
    for i in range(logits.shape[1]):
        shift = np.zeros(logits.shape[1])
        shift[i] = step
        slope = (layer(logits + shift) - layer(logits - shift)) / (2 * step)
        by_differences[:, i] = (dp * slope).sum(axis=1)
    return {
        "dense Jacobian": float(np.abs(dx - by_matrix).max()),
        "central differences": float(np.abs(dx - by_differences).max()),
    }


def print_check(errors: dict[str, float], console: Console) -> bool:
    """The errors as a table; whether all are within their limits."""
    table = Table(title="Backward in O(n) against", title_justify="left")
    for heading in ("", "largest error", "limit", ""):
        table.add_column(heading)
    for name, error in errors.items():
        verdict = "ok" if error <= LIMITS[name] else "too large"
        table.add_row(name, f"{error:.1e}", f"{LIMITS[name]:.0e}", verdict)
    console.print(table)
    return all(error <= LIMITS[name] for name, error in errors.items())


def draw(
    curves: dict[str, list[float]], pixels: Floats, label: int, logits: Floats, output: Path
) -> None:
    """Write the picture: the training above, one digit on its way through the layer below."""
    matplotlib.use("Agg")  # a picture on disk needs no screen
    import matplotlib.pyplot as plt

    layer = onesum.Softmax()
    p = layer(logits)
    jacobian = layer.jacobian().to_dense()
    classes = np.arange(10)
    colors = ["tab:orange" if c == label else "tab:blue" for c in classes]

    figure = plt.figure(figsize=(12, 7), layout="constrained")
    above, below = figure.subfigures(2, 1)

    left, right = above.subplots(1, 2)
    epochs = np.arange(1, len(curves["train"]) + 1)
    left.semilogy(epochs, curves["train"], label="training")
    left.semilogy(epochs, curves["held out"], label="held out")
    left.set(title="Loss", xlabel="epoch")
    left.legend(frameon=False)
    right.plot(epochs, curves["accuracy"], color="tab:orange")
    right.axhline(REQUIRED_ACCURACY, color="grey", linestyle=":")
    right.set(title=f"Held-out accuracy: {curves['accuracy'][-1]:.4f}", xlabel="epoch")

    image, bars, shares, heat = below.subplots(1, 4)
    below.suptitle("The held-out digit that the network is least sure about")
    image.imshow(pixels.reshape(8, 8), cmap="gray_r")
    image.set(title=f"a {label}", xticks=[], yticks=[])
    bars.bar(classes, logits, color=colors)
    bars.axhline(0, color="black", linewidth=0.8)
    bars.set(title="logits x", xticks=classes)
    shares.bar(classes, p, color=colors)
    shares.set(title="probabilities p", xticks=classes, ylim=(0, 1))
    limit = np.abs(jacobian).max()
    shown = heat.imshow(jacobian, cmap="RdBu", vmin=-limit, vmax=limit)
    heat.set(title="Jacobian diag(p) - p pᵀ", xticks=classes, yticks=classes)
    below.colorbar(shown, ax=heat, shrink=0.8)

    figure.savefig(output, dpi=100)
    plt.close(figure)


def positive_integer(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a positive integer, got {text}")
    return value


def positive_number(text: str) -> float:
    value = float(text)
    if not 0 < value < np.inf:
        raise argparse.ArgumentTypeError(f"expected a positive number, got {text}")
    return value


def picture_path(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise argparse.ArgumentTypeError(
            f"expected a name ending in .png, .pdf or .svg, got {text}"
        )
    return path


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Train a network ending in onesum.Softmax on handwritten digits.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--epochs", type=positive_integer, default=60)
    parser.add_argument("--batch", type=positive_integer, default=32, help="rows per step")
    parser.add_argument("--learning-rate", type=positive_number, default=0.05)
    parser.add_argument("--seed", type=int, default=0, help="for split, start and order")
    parser.add_argument("--output", type=picture_path, default=Path("build/digits.png"))
    arguments = parser.parse_args(argv)
    if arguments.seed < 0:
        parser.error(f"argument --seed: expected a non-negative integer, got {arguments.seed}")
    try:  # before the training, not after it
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"argument --output: {error}")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(argv)
    console = Console()
    rng = np.random.default_rng(arguments.seed)
    data = load(rng)
    network = Network(rng)
    curves = train(network, data, arguments, rng, console)
    reached = curves["accuracy"][-1]
    console.print(f"Held-out accuracy: {reached:.4f} ({len(data[3])} digits)")

    logits = network.logits(data[2])
    p = onesum.softmax(logits)
    within_limits = print_check(gradient_check(logits, rng), console)

    least_sure = int(p.max(axis=1).argmin())
    draw(
        curves, data[2][least_sure], int(data[3][least_sure]), logits[least_sure], arguments.output
    )
    console.print(f"Picture: {arguments.output}")

    if not within_limits:
        print("error: the layer's gradient is off, see the table", file=sys.stderr)
        return 1
    if reached < REQUIRED_ACCURACY:
        print(
            f"error: held-out accuracy {reached:.4f} is below {REQUIRED_ACCURACY}", file=sys.stderr
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
