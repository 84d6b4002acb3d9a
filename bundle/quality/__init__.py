"""What is known of a case once it is segmented: measurements, usual ranges, whether a person should look."""
