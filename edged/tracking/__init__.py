"""Objects followed from frame to frame. Pure numpy: no thread, no clock, no library but numpy."""
