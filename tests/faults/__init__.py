"""The fault suite: what the daemon promises while brokers, networks and machines break, held by tests.

    scripts/faults                       the quick set, minutes
    scripts/faults --full                the same tests with their full numbers, hours
    scripts/faults --figures FILE        appends a JSON line per test: what was lost, doubled, how long it took
    scripts/faults -k partition          arguments go to pytest

Every test publishes numbered samples and collects their scores (``ledger``), breaks something meanwhile, and closes the
books: nothing lost, nothing wrong, every message and every sample of the daemon's own counts accounted for. What breaks
things, one file each:

    broker      Mosquitto that keeps its sessions on disk: killed, stopped, started again
    namespace   a network of the daemon's own: packets dropped, one way or both, or let through slowly (root only)
    proxy       a relay between daemon and broker: late, slow, deaf, cut, in single bytes, with wrong bits
    scripted    a broker that says what a test tells it to, down to random bytes
    names       what host names mean to the daemon, and how long it takes to be told (root only)
    notify      systemd's side of the watchdog
    process     the daemon as a process, and what the system says of it
    cgroup      so much memory, or so much of a processor, and no more (root only)
    flood       a publisher that nobody keeps up with
    faulty      the daemon with a fault in one of its threads, or in its loop
    hurried     the daemon with short pauses between attempts, for thousands of connections
"""
