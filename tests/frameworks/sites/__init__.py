"""The sites that the tests visit, one for each framework."""
