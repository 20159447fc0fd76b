"""Parts of scripts/bench/gpu.py."""
