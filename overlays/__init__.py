"""The FPGA aggregation core: its RTL, its simulation, and what describes it."""
