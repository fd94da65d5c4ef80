"""Tables 2, 3 and 4 of arXiv 2507.01035, measured: `millrace paper`."""
