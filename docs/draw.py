"""Draw the pictures of the guide: run the code of its page on pictures, and keep what it draws.

python docs/draw.py [FOLDER]
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = HERE / "guide" / "pictures.md"


def main(target: Path) -> None:
    """Write the pictures that the page shows to a folder."""
    text = PAGE.read_text(encoding="utf-8")
    code = re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "SOURCE_DATE_EPOCH": "0"}
        program = [sys.executable, "-c", "\n".join(code)]
        subprocess.run(  # noqa: S603 - the code of our own page
            program, cwd=folder, env=environment, check=True
        )
        for name in re.findall(r"\]\(\.\./pictures/(.+?)\)", text):
            shutil.copyfile(Path(folder) / name, target / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "pictures")
