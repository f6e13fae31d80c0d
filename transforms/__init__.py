"""Pure functions: frames in, frames out; Arrow batches in, Arrow batches out. No reads, writes, clocks or settings files."""
