"""The main job in one minute: broker, simulated sensors, the daemon, and a live view of what comes back."""
