"""The board twin: a board's bus, memory and files around the Verilated core.

`serve` answers pynq's remote protocol, so that unmodified clients in other processes use it as
they would a board on the network; `device.TwinDevice` is the same board as a pynq device of this
process.
"""
