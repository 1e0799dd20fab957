"""Train a model whose vocabulary is sharded over processes, on the bytes of this file.

Every process has the whole trunk, which turns a byte into features, and the rows of the head for
its own classes. `vocab_parallel_linear_cross_entropy` makes one loss of them, and sums the gradient
of the features over the processes, so that the trunks stay the same. The losses are those of one
process that has the whole head.

    torchrun --nproc-per-node 2 examples/vocab_parallel.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from onesum.torch import vocab_parallel_linear_cross_entropy

CLASSES, FEATURES, STEPS = 256, 32, 30


def train(group: Any = None) -> list[float]:
    """The losses of all steps, which are the same in every process of the group."""
    rank, ranks = dist.get_rank(group), dist.get_world_size(group)
    torch.manual_seed(0)
    trunk = torch.nn.Sequential(torch.nn.Embedding(CLASSES, FEATURES), torch.nn.Tanh())
    head = torch.nn.Linear(FEATURES, CLASSES)
    # This process keeps its part: with 3 of them, say, 86, 85 and 85 of the 256 classes.
    own = torch.arange(CLASSES).tensor_split(ranks)[rank]
    weight = torch.nn.Parameter(head.weight.detach()[own].clone())
    bias = torch.nn.Parameter(head.bias.detach()[own].clone())

    text = torch.tensor(list(Path(__file__).read_bytes()))
    optimizer = torch.optim.Adam([*trunk.parameters(), weight, bias], lr=0.03)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = vocab_parallel_linear_cross_entropy(
            trunk(text[:-1]), weight, text[1:], group, bias=bias, label_smoothing=0.01
        )
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def main() -> None:
    dist.init_process_group("gloo")
    losses = train()
    if dist.get_rank() == 0:
        print(f"loss {losses[0]:.3f}, after {STEPS} steps {losses[-1]:.3f}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
