"""Building plans: in a process of its own, which may be killed at any moment; never in the serving path."""
