"""Time counts while the broker is heard."""

from edge_lstm.daemon.hearing import MUTE_S, Hearing


def test_time_counts_once_the_broker_is_heard_again() -> None:
    hearing = Hearing()
    hearing.hear(100.0, 1e9)
    assert hearing.seconds == 0.0  # no subscription yet
    hearing.on = True
    for k in range(1, 6):
        hearing.hear(100.0 + 2 * k, 1e9 + 2 * k)
    assert (hearing.seconds, hearing.wall) == (10.0, 1e9 + 10)
    assert hearing.lull_s(111.0) == 1.0


def test_a_long_lull_does_not_count() -> None:
    hearing = Hearing()
    hearing.on = True
    hearing.hear(100.0, 1e9)
    hearing.hear(100.0 + MUTE_S + 0.1, 1e9)
    hearing.hear(100.0 + MUTE_S + 1.1, 1e9)
    assert hearing.seconds == 1.0
    hearing.on = False  # the connection is lost
    hearing.hear(100.0 + MUTE_S + 2.1, 1e9)
    assert hearing.seconds == 1.0
