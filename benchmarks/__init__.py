"""Times and errors of onesum beside other libraries: `python -m benchmarks --help`.

`speed`, `accuracy` and `import` each measure and write a JSON file to benchmarks/results; `report`
makes the tables of the documents from those files.
"""

from pathlib import Path

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
TRIALS = ROOT / "build" / "benchmarks"  # results of --quick, which are not worth keeping
