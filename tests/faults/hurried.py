"""The daemon with short pauses between attempts to connect, for tests that need thousands of connections.

All else is the daemon's own; it is set before anything that takes these numbers over is imported.
"""

from edge_lstm.daemon import retry

PAUSE_S = 0.005
retry.SHORTEST_RETRY_S = retry._LONGEST_MEAN_S = retry.REFUSED_S = retry.RIVAL_S = PAUSE_S

from edge_lstm.daemon import service  # noqa: E402

service.CHORES_S = PAUSE_S

from edge_lstm.daemon.cli import main  # noqa: E402

if __name__ == "__main__":
    raise SystemExit(main())
