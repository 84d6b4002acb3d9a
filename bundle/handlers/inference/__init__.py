"""What the engine of inference writes while it runs: label maps, records, tables, pictures, the console."""
