"""``python -m edge_lstm``."""

import sys

from edge_lstm.daemon.cli import main

sys.exit(main())
