"""What the command line loads before it knows what it is asked."""

from __future__ import annotations

import subprocess
import sys


def test_only_a_worker_loads_polars():
    program = "import sys, pilotage.migration.__main__; sys.exit('polars' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
