"""Parts of scripts/demo: fetch a model and photographs, make a clip, run the daemon, show what it sends."""
