"""The tables of docs/scale.md: Dask, the sharded vocabulary, files."""

from typing import Any

from ..markdown import table

Result = dict[str, Any]


def dask(result: Result) -> str:
    heads = ["GB", "memory", "onesum", "natural expression", "times as long"]
    heads += ["peak of a worker", "spilled"]
    sizes: dict[tuple[float, str], dict[str, Result]] = {}
    for row in result["rows"]:
        sizes.setdefault((row["gigabytes"], row["memory"]), {})[row["expression"]] = row
    rows = []
    for (size, memory), of in sizes.items():
        ours, natural = of["onesum"], of["natural"]
        seconds = [
            f"{r['seconds']:.1f} s" if "seconds" in r else r["failed"] for r in (ours, natural)
        ]
        both = "seconds" in ours and "seconds" in natural
        ratio = f"{natural['seconds'] / ours['seconds']:.1f}" if both else "-"
        peaks = " / ".join(_most(r.get("peak MiB")) for r in (ours, natural))
        spilled = " / ".join(_mib(r.get("spilled MiB")) for r in (ours, natural))
        rows.append([f"{size:g}", memory, *seconds, ratio, peaks, spilled])
    what = f"{result['workers']} worker processes of {result['limit']}, medians of runs in turns"
    return f"{table(heads, rows)}\n\n{_told(result, what)}"


def vocab_parallel(result: Result) -> str:
    heads = ["rows x classes", "onesum", "`loss_parallel`", "times as long"]
    rows = []
    for row in result["rows"]:
        ours, theirs = row["times"]["onesum"][1], row["times"]["loss_parallel"][1]
        shape = "x".join(map(str, row["shape"]))
        times = [f"{t / 1000:.1f} ms" for t in (ours, theirs)]
        rows.append([shape, *times, f"{theirs / ours:.1f}"])
    what = f"{result['ranks']} processes, {result['threads']} thread each, medians"
    return f"{table(heads, rows)}\n\n{_told(result, what)}"


def files(result: Result) -> str:
    softmax, compare = result["softmax"], result["compare"]
    heads = ["", "seconds", "of `cp`", "memory of its own"]
    rows = []
    for end, until in (("", ""), (", sync", ", until it is on the disk")):
        of = {name: softmax["seconds"][f"{name}{end}"] for name in ("cp", "onesum")}
        gb = f"{softmax['bytes'] / 1e9:.1f} GB"
        rows.append([f"`cp`, {gb}{until}", f"{of['cp']:.1f}", "1", "-"])
        speed = f"{of['cp'] / of['onesum']:.2f}"
        memory = "" if end else _mib(softmax["resident MiB"])
        rows.append([f"`onesum softmax`{until}", f"{of['onesum']:.1f}", speed, memory])
    gb = f"2 x {compare['bytes'] / 1e9:.1f} GB"
    times = f"{compare['NumPy'] / compare['seconds']:.1f}"
    memory = _mib(compare["resident MiB"])
    rows.append([f"`onesum compare`, {gb}", f"{compare['seconds']:.1f}", "-", memory])
    numpy = f"the same by `scipy.special.log_softmax`, from a part: {times} times as long"
    rows.append([numpy, f"{compare['NumPy']:.0f}", "-", "-"])
    return f"{table(heads, rows)}\n\n{_told(result, 'medians of runs in turns')}"


def _most(peaks: list[float] | None) -> str:
    return "-" if peaks is None else _mib(max(peaks))


def _mib(size: float | None) -> str:
    return "-" if size is None else f"{size:.0f} MiB"


def _told(result: Result, what: str) -> str:
    machine = result["host"]
    return f"<sub>{machine['date']}, {machine['cpu']}, {what}</sub>"
