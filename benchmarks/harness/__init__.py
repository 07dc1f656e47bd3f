"""What run.py is made of: servers and cases (the tables); prepare, process and client; the ways to
measure, hello, idle, publish, transfer, memory and beside, which measure lists; report."""
