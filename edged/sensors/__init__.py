"""What the machine says of itself through sysfs: temperatures, power, load, clocks, throttling, fans."""
