"""Tables as the documents have them, and where they stand in these."""

import re


def table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def filled(text: str, blocks: dict[str, str], name: str) -> str:
    """The text with each block between its markers."""
    for block, content in blocks.items():
        begin, end = f"<!-- begin: {block} -->", f"<!-- end: {block} -->"
        pattern = re.compile(f"(?<={re.escape(begin)}).*?(?={re.escape(end)})", re.DOTALL)
        if len(pattern.findall(text)) != 1:
            raise ValueError(f"{name}: expected one block {begin} ... {end}")
        new = f"\n{content}\n"
        text = pattern.sub(lambda _, new=new: new, text)
    return text
