"""Tables of the documents, made from the results: nobody edits what lies between the markers.

A file for each subject, as the results have one; what stands on which page is said here alone.
"""

from pathlib import Path

from onesum.bench import host

from .. import IMAGES, ROOT
from ..cuda.tables import on_a_gpu
from ..markdown import filled
from . import accuracy, arrays, boosting, calibration, linear, losses, memory, scale, speed

DOCS = ROOT / "docs"


def run(results: Path, show: bool, check: bool) -> int:
    """Fill the blocks of the pages; or only show them; or only say whether they are up to date."""
    stale = 0
    for page, blocks in pages(results).items():
        if show:
            print("\n\n".join(blocks.values()))
            continue
        before = page.read_text()
        after = filled(before, blocks, page.name)
        if after == before:
            continue
        if check:
            print(f"{page.relative_to(ROOT)} is not what `python -m benchmarks report` makes of it")
            stale = 1
        else:
            page.write_text(after)
    if not show and not check:
        from .. import plots

        plots.draw(host.load(results / "growth.json"), IMAGES)
    return stale


def pages(results: Path) -> dict[Path, dict[str, str]]:
    """The blocks of each page, by their names."""
    every_speed = [
        host.load(path) for path in sorted(results.glob("speed*.json"), key=lambda path: path.stem)
    ]
    on_two = host.load(results / "speed-2-threads.json")
    of_losses = host.load(results / "losses-2-threads.json")
    errors = host.load(results / "accuracy.json")
    gpu, fits = results / "cuda.json", results / "calibration.json"
    return {
        ROOT / "README.md": {
            "accuracy": accuracy.in_brief(errors),
            "speed": speed.in_brief(on_two, of_losses),
        },
        DOCS / "comparison.md": {"accuracy": accuracy.largest(errors)},
        DOCS / "performance.md": {
            "means": speed.means([on_two, of_losses]),
            "speed": speed.beside_the_best(on_two),
            "losses": losses.beside_the_best(of_losses),
            "memory": memory.calls(host.load(results / "memory.json")),
            "import": memory.importing(host.load(results / "import.json")),
        },
        DOCS / "performance-log.md": {
            "means": speed.means(every_speed),
            "lost": "\n\n".join(map(speed.lost, every_speed)),
            "losses": losses.every(of_losses),
            "speed": "\n\n".join(map(speed.every, every_speed)),
        },
        DOCS / "arrays.md": {
            "speed": arrays.tables(host.load(results / "arrays.json")),
            "gpu": on_a_gpu(host.load(gpu) if gpu.exists() else None),
        },
        DOCS / "boosting.md": {"boosting": boosting.tables(host.load(results / "boosting.json"))},
        DOCS / "calibration.md": {
            "calibration": calibration.tables(host.load(fits) if fits.exists() else None)
        },
        DOCS / "linear.md": {"linear": linear.tables(host.load(results / "linear.json"))},
        DOCS / "scale.md": {
            name: getattr(scale, name)(host.load(results / f"{name}.json"))
            for name in ("dask", "vocab_parallel", "files")
        },
    }
