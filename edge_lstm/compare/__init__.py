"""How far apart two bundles are, or the ways to run one, on a recording; on a workstation."""
