"""What run.py is made of: servers and cases (the tables); prepare, process and client; the ways to
measure, hello, idle, transfer, memory and beside, of which measure has the list; report."""
