"""The control API: HTTP on a Unix socket, in a thread and an event loop of its own; and a client for it.

It knows the daemon by steering.Steering alone. Only the modules of the server import aiohttp and prometheus_client.
"""
