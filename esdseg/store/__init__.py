"""The processed store: its layout and manifest, its splits, and exact statistics of its channels."""
