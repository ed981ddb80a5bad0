"""What things are and what we decide: pure, without I/O, clock, table or setting."""
