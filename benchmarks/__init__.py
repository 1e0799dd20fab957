"""Times and errors of onesum beside other libraries: `python -m benchmarks --help`.

Each command but `report` measures and writes a JSON file to benchmarks/results; `report` makes the
tables and pictures of the documents from those files. What measures times is in `onesum.bench`, for
whoever has the package alone.
"""

from pathlib import Path

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
IMAGES = ROOT / "docs" / "images"
TRIALS = ROOT / "build" / "benchmarks"  # results of --quick, which are not worth keeping
