"""What HTTP looks like."""
