"""CUDA sources, compiled at first use (see compiled.py)."""
