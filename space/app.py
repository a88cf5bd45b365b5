"""What Hugging Face Spaces runs; everything else is in the package. On one's own machine: `python space/app.py`."""

from unlossy_space import launch

if __name__ == "__main__":
    launch()
