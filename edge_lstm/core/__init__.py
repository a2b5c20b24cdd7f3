"""The numeric heart: arrays and rows. Knows no messages, clocks, files or network."""
