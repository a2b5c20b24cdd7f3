"""The original runtimes, run beside the imported model where they are installed."""
