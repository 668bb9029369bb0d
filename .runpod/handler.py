"""What the image runs. RunPod's Hub looks for a file of this name; the code is in engineroom."""

from __future__ import annotations

import sys

from engineroom.cli import main

if __name__ == "__main__":
    sys.argv[1:] = ["start"]
    main()
