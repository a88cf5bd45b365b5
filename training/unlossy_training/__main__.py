"""`python -m unlossy_training`, which is also the form that `torchrun -m` and `accelerate launch -m` take."""

import sys

from unlossy_training.command_line import main

if __name__ == "__main__":  # worker processes import this module again
    sys.exit(main())
