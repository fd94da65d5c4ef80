"""How `millrace paper` looks: progress and tables in the terminal, a page with charts."""
