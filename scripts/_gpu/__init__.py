"""Parts of scripts/bench/gpu.py and scripts/bench/preprocess_gpu.py."""
