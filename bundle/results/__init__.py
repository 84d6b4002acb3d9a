"""A folder of results: names of files, the record of each case, who is doing it, and what a result was made of."""
