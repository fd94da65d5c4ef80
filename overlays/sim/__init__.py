"""The Verilated core and a memory for it."""
