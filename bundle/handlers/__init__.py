"""What an engine writes while it runs."""
