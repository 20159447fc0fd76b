"""Whether this machine can do what edged is asked for: `edged doctor`. checks.py is the table of what is looked at."""
