"""What Hugging Face Spaces runs; everything else is in the package. On one's own machine: `python space/app.py`."""

import json
from pathlib import Path

from unlossy_space import launch

PUBLISHED = Path(__file__).with_name("published.json")  # `unlossy-train publish` writes it: model and revision

if __name__ == "__main__":
    launch(**json.loads(PUBLISHED.read_text()) if PUBLISHED.exists() else {})
