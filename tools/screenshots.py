"""Write docs/images/explorer-{light,dark,phone}.png: the explorer's page in Chromium.

`python tools/screenshots.py`; Chromium and Playwright are those of the tests.
"""

import io
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from browser import Watched, chromium, drawn  # noqa: E402
from PIL import Image  # noqa: E402

from onesum.explorer import path  # noqa: E402

STATE = "x=1,2.5,3&t=1&g=1,-0.5,0.2&v=0,1,-0.4&y=0"
DESKTOP = {"viewport": {"width": 1280, "height": 1316}}
PICTURES = {
    "light": DESKTOP,
    "dark": {**DESKTOP, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 1150}, "device_scale_factor": 2},
}


def save(picture: bytes, file: Path) -> None:
    """With a palette, in a third of the bytes; the page has few colours."""
    with Image.open(io.BytesIO(picture)) as image:
        of_few = image.convert("RGB").quantize(128, dither=Image.Dither.NONE)
    of_few.save(file, optimize=True)


if __name__ == "__main__":
    with chromium() as browser:
        windows = Watched(browser)
        for name, options in PICTURES.items():
            page = windows.open(f"{path().as_uri()}#{STATE}", **options)
            page.emulate_media(reduced_motion="reduce")
            drawn(page)
            file = ROOT / "docs" / "images" / f"explorer-{name}.png"
            save(page.screenshot(), file)
            print(f"{file.relative_to(ROOT)}: {file.stat().st_size} bytes")
        if windows.complaints:
            sys.exit("\n".join(windows.complaints))
