"""Training side, never imported on the device: from recordings of normal operation to a bundle."""
