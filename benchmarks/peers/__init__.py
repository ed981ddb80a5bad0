"""What the service is compared with; the reasons for each are in its docstring."""
