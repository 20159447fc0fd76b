"""The steps of scripts/jetson-acceptance."""
