"""PyTorch state_dicts, read without PyTorch."""
