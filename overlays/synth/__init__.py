"""Synthesis of the core with the open tools: what it takes, and how fast it may be clocked."""
