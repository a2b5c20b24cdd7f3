"""The shipped bundles; installed as ``edge_lstm_weights``."""
