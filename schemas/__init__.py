"""What the tables and the four formats must look like: the contracts that everything else is derived from."""
