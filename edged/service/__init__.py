"""edged as a systemd service: what the manager is told, the journal, sockets that it hands over.

systemd-python (extra `systemd`, Debian's python3-systemd) is imported where systemd is met, and nowhere else.
"""
