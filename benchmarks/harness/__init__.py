"""What run.py is made of: cases (the tables), prepare, process, measure, report."""
